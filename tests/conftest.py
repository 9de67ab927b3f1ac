"""What all tests share: marks, the worker that each runs on, one thread a process, one ComfyUI server."""

import os
from pathlib import Path

import pytest

# Before torch or OpenCV is imported; servers and other programs that tests start get it too.
for variable in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ.setdefault(variable, "1")

from hypothesis import settings  # noqa: E402

TESTS = Path(__file__).parent

# Tests set no numbers of their own, or the thorough profile would not reach them; one that needs more scales this.
settings.register_profile("quick", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("thorough", derandomize=True, deadline=None, max_examples=200)
settings.register_profile("soak", derandomize=True, deadline=None, max_examples=16000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

ORDER = ("server", "browser", "host", "tools", "benchmarks", "core")
"""Folders, those that take longest first: no worker then begins a long one when the other is about to end."""
MARKED_BY_FOLDER = ("host", "server", "browser", "matrix")
ONE_SERVER = frozenset(("server", "browser"))
"""The tests of one of these folders share a server, and so run on one worker."""
OWN_SERVER = frozenset(("tests/server/test_demo_command.py", "tests/browser/test_serve.py"))
"""Files of those folders that start their own instead."""
SLOW = frozenset(("tools/train/test_training.py::test_the_command_makes_files_that_the_host_loads",))
"""Tests, below tests/, that scripts/test.sh leaves to .ci/run, beside those that are marked where they stand."""


def pytest_configure(config):
    for mark, meaning in (
        ("host", "ComfyUI's modules in the test's process"),
        ("server", "a real ComfyUI server"),
        ("browser", "ComfyUI's page in a headless Chromium"),
        ("matrix", "what people combine us with, on a real server"),
        ("slow", "left out by scripts/test.sh; .ci/run runs it"),
        ("gpu", "needs an NVIDIA card"),
    ):
        config.addinivalue_line("markers", f"{mark}: {meaning}")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(config))


def pytest_collection_modifyitems(items):
    for item in items:
        path = item.path.relative_to(TESTS)
        folder = path.parts[0]
        if folder in MARKED_BY_FOLDER:
            item.add_marker(folder)
        if f"{path.as_posix()}::{item.originalname}" in SLOW:
            item.add_marker("slow")
        if item.get_closest_marker("gpu") and not _has_cuda():
            item.add_marker(pytest.mark.skip(reason="there is no NVIDIA card on this machine"))
    items.sort(key=lambda item: _rank(item.path.relative_to(TESTS).parts[0]))


class FailuresAtOnce:
    """Prints a failure when it happens: a run that is cut off then shows what failed."""

    def __init__(self, config):
        self._plugins = config.pluginmanager

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report):
        if report.failed:
            terminal = self._plugins.get_plugin("terminalreporter")
            terminal.write_line(f"\n{report.nodeid}, {report.when}:\n{report.longreprtext}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A scheduler that keeps on one worker the tests of a file, or of a folder in ONE_SERVER: they share fixtures.

    The matrix's rows, each a job of its own, go wherever a worker is free.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFixtures(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            folder = Path(file).parts[1]
            if file.endswith("matrix/matrix.py"):
                return nodeid
            return folder if folder in ONE_SERVER and file not in OWN_SERVER else file

    return ByFixtures(config, log)


def _rank(folder):
    return ORDER.index(folder) if folder in ORDER else len(ORDER)


def _has_cuda():
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def server():
    """A ComfyUI server with this checkout as a node pack, that forgets every result: each job really runs."""
    from tools.host.server import Server

    with Server(extra=["--cache-none"]) as running:
        yield running


@pytest.fixture
def client(server):
    """A client of the server."""
    from tools.host.client import Client

    with Client(server.url) as connected:
        yield connected
