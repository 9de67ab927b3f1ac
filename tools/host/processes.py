"""What running processes use, read from /proc; where a system has none (macOS, Windows), every answer is empty."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

PROC = Path("/proc")
LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""
PR_SET_PDEATHSIG = 1
"""Of <linux/prctl.h>."""


def cpu_seconds(pid: int | None, proc: Path = PROC) -> float:
    """CPU seconds that a process, its children and theirs have used so far; 0 without such a process."""
    # User and system time, and both again of children that have ended.
    table = _table(proc)
    ticks = sum(sum(map(int, table[member][11:15])) for member in _family(pid, table) if member in table)
    return ticks / os.sysconf("SC_CLK_TCK")


def descendants(pid: int, proc: Path = PROC) -> set[int]:
    """The children of a process, theirs, and so on."""
    return set(_family(pid, _table(proc))) - {pid}


def _table(proc: Path) -> dict[int, list[str]]:
    """The fields of each process's stat, from its state on, by its id."""
    table = {}
    for folder in proc.glob("[0-9]*"):
        # It may have ended meanwhile. The name before the last bracket may hold blanks and brackets of its own.
        with contextlib.suppress(OSError):
            text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            table[int(folder.name)] = text.rpartition(")")[2].split()
    return table


def _family(pid: int | None, table: dict[int, list[str]]) -> list[int]:
    members: list[int] = [] if pid is None else [pid]
    for member in members:
        members += [child for child, fields in table.items() if int(fields[1]) == member]
    return members


def ending_with_owner() -> Callable[[], None] | None:
    """What a new process calls, in itself, to be killed when the thread that made it is gone; None where Linux is not.

    Nothing else ends it when its owner is killed outright, and it would hold its memory and its card.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def is_running(pid: int, proc: Path = PROC) -> bool:
    """Whether a process runs; one that is dead and not collected does not."""
    try:
        return (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2][1] != "Z"
    except OSError:
        return False


def listener(port: int, proc: Path = PROC) -> int | None:
    """The process that listens on a TCP port of this machine, or None where that cannot be seen."""
    sockets = set()
    for table in (proc / "net" / "tcp", proc / "net" / "tcp6"):
        if table.exists():
            rows = [line.split() for line in table.read_text(encoding="utf-8").splitlines()[1:]]
            sockets |= {row[9] for row in rows if row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port}
    names = {f"socket:[{inode}]" for inode in sockets}
    for folder in proc.glob("[0-9]*") if names else ():
        try:
            if any(os.readlink(entry) in names for entry in (folder / "fd").iterdir()):
                return int(folder.name)
        except OSError:
            continue  # Another user's, or it has ended meanwhile.
    return None
