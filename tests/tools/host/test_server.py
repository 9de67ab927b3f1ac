"""The server is gone after its ``with`` block, however that is left. A stand-in for ComfyUI keeps this quick."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.host.layout import Layout
from tools.host.patience import Patience
from tools.host.processes import is_running
from tools.host.server import Server, ServerError

STAND_IN = """
import http.server, json, os, pathlib, subprocess, sys
print("arguments:", sys.argv[1:], flush=True)
if "--fail" in sys.argv:
    sys.exit("torch is broken")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[sys.argv.index("--base-directory") + 1], "pids").write_text(f"{os.getpid()} {child.pid}")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(json.dumps({}).encode())
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""

USER = """
import sys, time
from pathlib import Path
from tools.host.layout import Layout
from tools.host.server import Server
repo, comfyui, base = map(Path, sys.argv[1:])
layout = Layout.of(repo, {"COMFYUI_DIR": str(comfyui), "FASTVMT_PYTHON": sys.executable})
with Server(layout=layout, base=base):
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def layout(tmp_path):
    comfyui = tmp_path / "comfyui"
    comfyui.mkdir()
    (comfyui / "main.py").write_text(STAND_IN)
    return Layout.of(tmp_path / "repo", {"COMFYUI_DIR": str(comfyui), "FASTVMT_PYTHON": sys.executable})


def gone(pid):
    """Whether the process ends; one that is dead and not collected counts as gone."""
    patience = Patience([lambda: is_running(pid)])
    patience.start(f"the end of process {pid}")
    while is_running(pid):
        patience.check()
        time.sleep(0.05)
    return True


def pids(base):
    return [int(pid) for pid in (base / "pids").read_text().split()]


def test_the_server_and_its_children_end_with_the_block(layout, tmp_path):
    base = tmp_path / "base"
    with Server(layout=layout, base=base, extra=["--cache-none"]) as server:
        running = pids(base)
        assert all(Path(f"/proc/{pid}").exists() for pid in running)
        assert "--cache-none" in server.log_tail() and server.url.startswith("http://127.0.0.1:")
    assert all(gone(pid) for pid in running)


def test_the_server_ends_with_an_exception(layout, tmp_path):
    base = tmp_path / "base"
    with pytest.raises(ZeroDivisionError), Server(layout=layout, base=base):
        running = pids(base)
        raise ZeroDivisionError
    assert all(gone(pid) for pid in running)


def test_a_folder_of_its_own_is_removed(layout):
    with Server(layout=layout) as server:
        base = server.base
        assert base.is_dir()
    assert not base.exists()


def test_a_server_that_dies_shows_its_log_and_leaves_no_signal_handler(layout):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ServerError, match="torch is broken"), Server(layout=layout, extra=["--fail"]):
        pytest.fail("it can't be up")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_server_that_does_nothing_is_given_up_with_its_log(layout):
    (layout.comfyui / "main.py").write_text("import time; print('waiting for nobody', flush=True); time.sleep(600)")
    impatient = Patience(quiet=1.0, checks=5)
    with (
        pytest.raises(ServerError, match="(?s)ComfyUI's start: nothing has moved for .*waiting for nobody"),
        Server(layout=layout, patience=impatient),
    ):
        pytest.fail("it can't be up")


@pytest.mark.parametrize("ignored", [False, True], ids=["", "sigint-ignored-as-in-a-background-job"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_server_and_its_children(layout, tmp_path, number, ignored):
    base = tmp_path / "base"
    user = subprocess.Popen(
        [sys.executable, "-c", USER, str(layout.repo), str(layout.comfyui), str(base)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,
    )
    assert user.stdout.readline() == b"up\n"
    running = pids(base)
    os.kill(user.pid, number)
    assert user.wait() != 0
    assert all(gone(pid) for pid in running)
