"""ComfyUI's page in a headless Chromium, driven as a person would."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, BrowserContext, ElementHandle, Locator, Page, Route, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tools.host.patience import Patience, server_sign

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
SIZE = {"width": 1280, "height": 800}
CHECK_MS = 2_000
"""Milliseconds between two checks whether anything moves."""
ACTION_MS = 1_200_000
"""Milliseconds for one click on an element that was seen ready for it: only a browser that stands still needs them."""

STATE = """() => [
    document.readyState,
    document.getElementsByTagName('*').length,
    window.app?.graph?._nodes?.length,
    window.app?.ui?.lastQueueSize,
]"""
"""What changes in a page while it is being built or used."""

HOSTS_OWN = re.compile(
    r"api\.comfy\.org"  # The page looks packs up in a registry that our server's start options switch off.
    r"|/api/userdata|/user\.css"  # Files of a user that a fresh one has not got.
    r"|/docs/\w+/en\.md"  # The page tries a translation into English before the English page itself.
)
"""Errors in the console that a page without our pack has, too."""

QUIET = {
    # As for a user who has been here before: no tour, no news, no question which models to download.
    "Comfy.TutorialCompleted": True,
    "Comfy.InstalledVersion": "1.32.9",
    "Comfy.Release.Status": "what's new seen",
    "Comfy.Notification.ShowVersionUpdates": False,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Minimap.Visible": False,
}
FRESH = """
if (!sessionStorage.getItem('fresh')) {
    localStorage.clear()
    sessionStorage.setItem('fresh', 'yes')
}
localStorage.setItem('vueNodesBannerDismissed', 'true')
"""
"""Each page of a context starts as a new one does: without the workflows that another left there."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, gone afterwards."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class ComfyPage:
    """The page of one server, with the errors that it reported.

    Every wait goes on while the page changes, gets messages or files, or the server computes.
    """

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    _received: int = 0

    def __post_init__(self) -> None:
        self._patience = Patience([server_sign(self.url), lambda: self._received, self._state])

    @classmethod
    @contextmanager
    def open(cls, browser: Browser, url: str, **settings: object) -> Iterator[ComfyPage]:
        """Open the page in a context of its own, under a user's settings."""
        with new_context(browser) as context, cls.open_in(context, url, **settings) as opened:
            yield opened

    @classmethod
    @contextmanager
    def open_in(cls, context: BrowserContext, url: str, **settings: object) -> Iterator[ComfyPage]:
        """Open the page in a context, whose cache it uses; what other pages of the context kept is forgotten."""
        _set(url, {**QUIET, "Comfy.VueNodes.Enabled": False, "Comfy.ColorPalette": "dark", "Comfy.Locale": "en"})
        _set(url, settings)
        opened = cls(context.new_page(), url)
        opened._listen()
        try:
            opened.reload()
            yield opened
        finally:
            opened.page.close()

    @property
    def complaints(self) -> list[str]:
        """The errors that are not the host's own."""
        return [error for error in self.errors if not HOSTS_OWN.search(error)]

    def reload(self) -> None:
        """Load the page, and wait until its graph can be used."""
        self.go(self.url)
        self.until(
            "() => window.app?.graph && window.app?.extensionManager && !document.querySelector('#comfy-loading')"
        )
        self.until("() => Object.keys(window.LiteGraph?.registered_node_types ?? {}).length > 50")

    def go(self, address: str) -> None:
        """Open an address of the server."""
        self.page.goto(address, wait_until="commit", timeout=ACTION_MS)

    def do(self, script: str, argument: object = None) -> Any:  # noqa: ANN401  (any JSON)
        """Run a function of the page."""
        return self.page.evaluate(script, argument)

    def until(self, script: str, argument: object = None) -> None:
        """Wait until a function of the page is true. Raises StalledError once nothing has moved for long."""
        self._wait(script, lambda: self.page.wait_for_function(script, arg=argument, timeout=CHECK_MS))

    def idle(self) -> None:
        """Wait until the page asks the server for nothing more."""
        self._wait("an idle page", lambda: self.page.wait_for_load_state("networkidle", timeout=CHECK_MS))

    def appears(self, locator: Locator) -> ElementHandle:
        """Wait for an element to be visible; returns it."""
        self._wait(str(locator), lambda: locator.wait_for(timeout=CHECK_MS))
        return locator.element_handle(timeout=ACTION_MS)

    def click(self, locator: Locator) -> None:
        """Click an element, once it is ready for that."""
        # Tried first: a click itself is not done twice.
        self._wait(f"{locator}, to be clicked", lambda: locator.click(trial=True, timeout=CHECK_MS))
        locator.click(timeout=ACTION_MS)

    def _wait(self, awaited: str, attempt: Callable[[], object]) -> None:
        self._patience.start(awaited)
        while True:
            try:
                attempt()
                return
            except PlaywrightTimeout:
                self._patience.check()

    def load(self, workflow: dict[str, Any]) -> None:
        """Put a workflow on the canvas, as dropping its file there does, and show all of it."""
        self.do("workflow => window.app.loadGraphData(workflow)", workflow)
        self.settle()
        self.fit()

    def fit(self) -> None:
        """Show the whole graph."""
        self.do(
            """() => {
                const canvas = window.app.canvas, graph = window.app.graph
                const boxes = [...graph._nodes.map(node => node.getBounding()), ...graph._groups.map(g => g._bounding)]
                const left = Math.min(...boxes.map(b => b[0])), right = Math.max(...boxes.map(b => b[0] + b[2]))
                const top = Math.min(...boxes.map(b => b[1])), bottom = Math.max(...boxes.map(b => b[1] + b[3]))
                const width = window.innerWidth - 120, height = window.innerHeight - 220
                const scale = Math.min(1, width / (right - left), height / (bottom - top))
                canvas.ds.scale = scale
                canvas.ds.offset[0] = 80 / scale - left; canvas.ds.offset[1] = 150 / scale - top
                canvas.setDirty(true, true)
            }"""
        )
        self.settle()

    def look_at(self, title: str, scale: float = 1.0) -> None:
        """Bring a node to the middle of the window."""
        self.do(
            """([title, scale]) => {
                const node = window.app.graph._nodes.find(node => node.title === title)
                const ds = window.app.canvas.ds
                ds.scale = scale
                ds.offset[0] = window.innerWidth / 2 / scale - node.pos[0] - node.size[0] / 2
                ds.offset[1] = window.innerHeight / 2 / scale - node.pos[1] - node.size[1] / 2
                window.app.canvas.setDirty(true, true)
            }""",
            [title, scale],
        )
        self.settle()

    def run(self) -> None:
        """Press the page's Run button."""
        # In newer pages the menu beside it has the same name.
        self.click(self.page.get_by_role("button", name="Run", exact=True).first)

    def bounds_of(self, title: str) -> list[float]:
        """Left, top, width and height of a node on the screen, pixels."""
        return self.do(
            """title => {
                const node = window.app.graph._nodes.find(node => node.title === title)
                const { scale, offset } = window.app.canvas.ds
                const [x, y, width, height] = node.getBounding()
                return [(x + offset[0]) * scale, (y + offset[1]) * scale, width * scale, height * scale]
            }""",
            title,
        )

    def picture_of(self, title: str) -> bytes:
        """A node alone, as PNG; in a window that is large enough for any."""
        self.page.set_viewport_size({"width": SIZE["width"], "height": 1400})
        self.look_at(title)
        left, top, width, height = self.bounds_of(title)
        # Videos on the nodes have their first frame.
        self.until("() => [...document.querySelectorAll('video[src]')].every(video => video.readyState > 1)")
        edge = 6
        box = {"x": left - edge, "y": top - edge, "width": width + 2 * edge, "height": height + 2 * edge}
        image = self.page.screenshot(clip=box)
        self.page.set_viewport_size(SIZE)
        return image

    def settle(self) -> None:
        """Wait until the page has drawn a few times."""
        self.do(
            "() => new Promise(done => { let n = 8; const go = () => n-- ? requestAnimationFrame(go) : done(); go() })"
        )

    def shot(self, path: Path) -> Path:
        """Save what a person would see."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path))
        return path

    def _listen(self) -> None:
        # Nothing outside this machine is asked; a page that tries gets an empty answer.
        self.page.route(re.compile(rf"^https?://(?!{re.escape(self.url.removeprefix('http://'))})"), _answer_nothing)
        self.page.on("pageerror", lambda error: self.errors.append(f"page: {error}"))
        self.page.on(
            "console",
            lambda message: message.type == "error" and self.errors.append(f"{message.text} {message.location}"),
        )
        self.page.on("requestfinished", self._receive)
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._receive))

    def _receive(self, _: object) -> None:
        self._received += 1

    def _state(self) -> object:
        try:
            return self.page.evaluate(STATE)
        except PlaywrightError:
            return None  # Between two documents.


@contextmanager
def new_context(browser: Browser, **options: object) -> Iterator[BrowserContext]:
    """A context of Playwright's options with a cache of its own; in its pages nothing stands before the canvas."""
    context = browser.new_context(viewport=SIZE, reduced_motion="reduce", **options)
    context.set_default_timeout(ACTION_MS)
    context.add_init_script(FRESH)
    try:
        yield context
    finally:
        context.close()


def _answer_nothing(route: Route) -> None:
    route.fulfill(status=200, body="")


def _set(url: str, settings: dict[str, object]) -> None:
    session = requests.Session()
    session.trust_env = False
    call = partial(session.post, f"{url}/api/settings", json=settings, timeout=None)
    Patience([server_sign(url)]).during("the answer to the user's settings", call).raise_for_status()
