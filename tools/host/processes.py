"""What running processes use, read from /proc; where a system has none (macOS, Windows), every answer is empty."""

from __future__ import annotations

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
    seconds, parents = {}, {}
    for folder in proc.glob("[0-9]*"):
        try:
            # The name before the last bracket may hold blanks and brackets of its own.
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # It has ended meanwhile.
        parents[int(folder.name)] = int(fields[1])
        # User and system time, and both again of children that have ended.
        seconds[int(folder.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    total, family = 0.0, [pid]
    while family:
        member = family.pop()
        total += seconds.get(member, 0.0)
        family += [child for child, parent in parents.items() if parent == member]
    return total


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
