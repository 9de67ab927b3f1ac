"""CPU time, life and ports of processes, of a /proc that is written here and of the real one."""

import os
import socket
import sys

import pytest

from tools.host.processes import cpu_seconds, is_running, listener

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def proc(tmp_path):
    """A server (10), its child (11) whose name has brackets, the child's child (12), a stranger (20)."""
    for pid, name, state, parent, times in (
        (10, "python", "S", 1, (1, 2, 3, 4)),
        (11, "a) (b", "R", 10, (10, 0, 0, 0)),
        (12, "c", "Z", 11, (0, 100, 0, 0)),
        (20, "d", "S", 1, (1000, 0, 0, 0)),
    ):
        folder = tmp_path / str(pid)
        folder.mkdir()
        ticks = " ".join(str(time * TICKS) for time in times)
        (folder / "stat").write_text(f"{pid} ({name}) {state} {parent} 1 1 0 -1 0 0 0 0 0 {ticks} 20 0")
    (tmp_path / "self").mkdir()
    (tmp_path / "13").mkdir()
    return tmp_path


def test_a_family_is_counted_together(proc):
    assert cpu_seconds(10, proc) == 120
    assert cpu_seconds(12, proc) == 100
    assert cpu_seconds(99, proc) == cpu_seconds(None, proc) == 0


def test_the_dead_do_not_run(proc):
    assert is_running(10, proc) and is_running(11, proc)
    assert not is_running(12, proc) and not is_running(13, proc) and not is_running(99, proc)


def test_a_system_without_proc_knows_nothing(tmp_path):
    assert cpu_seconds(10, tmp_path / "none") == 0 and listener(80, tmp_path / "none") is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_listener_is_found_by_its_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert listener(port) is None
        server.listen()
        assert listener(port) == os.getpid()
    assert cpu_seconds(os.getpid()) > 0 and is_running(os.getpid())
