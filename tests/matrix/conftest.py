"""A server with the made models, the matrix's own nodes and other people's packs, and the record of what came of it."""

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.matrix.packs import PACKS
from tests.matrix.record import Record
from tests.matrix.rows import FLAGGED, ROWS
from tools.host.client import Client
from tools.host.layout import REPO, Layout, link
from tools.host.server import Server


def pytest_addoption(parser):
    parser.addoption("--minutes", type=float, help="rows of the matrix are left out after so many")


@cache
def flags_of_the_host():
    """The host's help on its flags."""
    layout = Layout.of()
    command = [str(layout.python), str(layout.comfyui / "main.py"), "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The folder of the made models."""
    layout = Layout.of()
    folder = tmp_path_factory.mktemp("made") / "models"
    command = [str(layout.python), "-m", "tools.host.made_models", str(folder)]
    subprocess.run(command, cwd=REPO, check=True)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def matrix_server(models, *flags):
    """A server that forgets every result; `flags` are further arguments for it."""
    layout = Layout.of()
    layout.host.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.host, prefix="matrix-") as folder:
        base = Path(folder)
        link(base / "models", models)
        (base / "custom_nodes").mkdir()
        link(base / "custom_nodes" / "fastvmt_matrix", Path(__file__).parent / "pack")
        for pack in PACKS:
            used = pack.stand_in if pack.lacks(layout) else pack.folder
            if used.is_dir():
                link(base / "custom_nodes" / pack.name, used)
        with Server(extra=["--cache-none", *flags], base=base, layout=layout) as running:
            yield running


@pytest.fixture(scope="session")
def server(models):
    """The matrix's own server, in place of the one of other tests."""
    with matrix_server(models) as running:
        yield running


@pytest.fixture(scope="session")
def offered(server):
    """What the host reports of its nodes, and of node ids that it replaces."""
    with Client(server.url) as client:
        return client.object_info(), client.node_replacements()


@pytest.fixture(scope="session")
def record(request, server):
    """What came of the rows that were run, merged into the record of all."""
    kept = Record(request.config.getoption("minutes"))
    yield kept
    with Client(server.url) as client:
        stats = client.system_stats()
    known = [row.key for row in ROWS] + [flagged.row.key for flagged in FLAGGED]
    kept.save(stats, known)
