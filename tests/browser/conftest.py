"""The server's page in a headless Chromium. Without one these tests are skipped, loudly; in CI they fail."""

import importlib.util
import os
import shutil

import pytest

from tools.host.layout import REPO

SHOTS = REPO / ".host" / "screenshots"
"""Where each test leaves what it saw, to be looked at."""


def missing():
    """The reason why there is no browser, or None."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed in this environment (pip install playwright)"
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        return "there is no Chromium on this machine (apt-get install chromium)"
    return None


@pytest.fixture(scope="module")
def browser():
    """A Chromium for a file: Playwright runs an event loop in this thread, which other tests must not meet."""
    reason = missing()
    if reason and os.environ.get("CI"):
        pytest.fail(f"browser tests must run in CI, but {reason}")
    if reason:
        pytest.skip(f"BROWSER TESTS SKIPPED: {reason}")
    from tools.browser.page import chromium

    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def page_server(browser, server):
    """The server, with the files that the templates of big models name. It forgets every result: a node whose result
    is remembered is not run, and then has nothing to show on a fresh page.
    """
    from PIL import Image

    folder = server.base / "input"
    Image.new("RGB", (832, 480), "#456").save(folder / "example.png")
    shutil.copy(REPO / "assets" / "reference.mp4", folder / "reference.mp4")
    return server


@pytest.fixture(scope="module")
def context(browser):
    """One browser context for a file: its pages load ComfyUI's own files from the cache."""
    from tools.browser.page import new_context

    with new_context(browser) as opened:
        yield opened


@pytest.fixture
def open_page(context, page_server):
    """Opens the page under a user's settings; at the end it must not have complained about anything of ours."""
    from contextlib import ExitStack

    from tools.browser.page import ComfyPage

    with ExitStack() as stack:
        opened = []

        def open_with(**settings):
            page = stack.enter_context(ComfyPage.open_in(context, page_server.url, **settings))
            # What a fresh page reports of itself before anything was done on it.
            page.errors.clear()
            opened.append(page)
            return page

        yield open_with
        assert [complaint for page in opened for complaint in page.complaints] == []


@pytest.fixture(scope="module")
def one_page(context, page_server):
    """One page for a whole file, in the classic canvas and the dark theme; to be asked for its `complaints`."""
    from tools.browser.page import ComfyPage

    with ComfyPage.open_in(context, page_server.url) as page:
        yield page


@pytest.fixture
def shots(request):
    """Where this test puts its screenshots."""
    folder = SHOTS / request.node.name.replace("[", "-").replace("]", "").replace("/", "-")
    shutil.rmtree(folder, ignore_errors=True)
    return folder
