"""A server with the made models and the matrix's own nodes, and the record that the compatibility page is made from."""

import json
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.host.client import Client
from tools.host.layout import REPO, Layout, link
from tools.host.server import Server, has_cuda

RESULTS = REPO / "benchmarks" / "results" / "matrix"


KEEP_WEIGHTS = "--disable-dynamic-vram"
"""Hosts of 2026 stream weights through a card otherwise, which guidance refuses."""


def knows(flag):
    """Whether the host has a flag."""
    layout = Layout.of()
    command = [str(layout.python), str(layout.comfyui / "main.py"), "--help"]
    return flag in subprocess.run(command, capture_output=True, text=True, check=False).stdout


@contextmanager
def matrix_server(*flags, streamed=False):
    """A server that forgets every result; `flags` are further arguments for it."""
    layout = Layout.of()
    if has_cuda(layout.python) and not streamed and knows(KEEP_WEIGHTS):
        flags = (*flags, KEEP_WEIGHTS)
    layout.host.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.host, prefix="matrix-") as folder:
        base = Path(folder)
        (base / "custom_nodes").mkdir()
        link(base / "custom_nodes" / "fastvmt_matrix", Path(__file__).parent / "pack")
        command = [str(layout.python), "-m", "tools.host.made_models", str(base / "models")]
        subprocess.run(command, cwd=REPO, check=True)
        with Server(extra=["--cache-none", *flags], base=base, layout=layout) as running:
            yield running


@pytest.fixture(scope="session")
def server():
    """The matrix's own server, in place of the one of other tests."""
    with matrix_server() as running:
        yield running


@pytest.fixture(scope="session")
def record(server):
    """Row's key -> what came of it; written for the host and device once every row of the matrix was run."""
    from tests.matrix.rows import ROWS

    rows = {}
    yield rows
    if rows.keys() >= {row.key for row in ROWS}:
        with Client(server.url) as client:
            stats = client.system_stats()
        host, device = stats["system"]["comfyui_version"], stats["devices"][0]
        on_cpu = device["type"] == "cpu"
        about = {"host": host, "torch": stats["system"]["pytorch_version"]}
        about["device"] = "CPU" if on_cpu else device["name"]
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / (f"{host}.json" if on_cpu else f"{host}-{device['type']}.json")
        path.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n", encoding="utf-8")
