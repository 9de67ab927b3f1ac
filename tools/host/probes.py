"""What this machine has: Python, disk, network. Each question is a field, so that a test can answer it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.host.layout import SetupError

PYTHON_MINIMUM = (3, 10)
GIB = 1024**3
SPACE_GIB = 8.0
"""Space for the environment (5.5 GiB with PyTorch's CUDA packages), ComfyUI, and what pip unpacks meanwhile."""


def _has_ensurepip() -> bool:
    importlib.invalidate_caches()
    return importlib.util.find_spec("ensurepip") is not None


def _install_venv_package() -> bool:
    """Install Debian's package of venv for this interpreter; False where that can't be done."""
    root = os.geteuid() == 0
    if not shutil.which("apt-get") or not (root or shutil.which("sudo")):
        return False
    # Without a terminal nobody can type a password: fail at once instead of waiting.
    prefix = [] if root else ["sudo"] if sys.stdin.isatty() else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    commands = (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", venv_package()])
    done = [subprocess.run([*prefix, *command], env=environment, check=False) for command in commands]
    return done[-1].returncode == 0


def _reach(python: Path) -> str | None:
    """None if pip can download a small package, else the line in which pip says why not."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(python), "-m", "pip", "download", "-q", "--no-deps", "--no-cache-dir", "--retries", "1"]
        command += ["--timeout", "20", "--disable-pip-version-check", "-d", folder, "iniconfig"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return None
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"pip ended with code {result.returncode}"


@dataclass(frozen=True)
class Probes:
    """The questions asked before anything is downloaded or installed."""

    python_version: tuple[int, int] = sys.version_info[:2]
    has_ensurepip: Callable[[], bool] = _has_ensurepip
    install_venv_package: Callable[[], bool] = _install_venv_package
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    reach: Callable[[Path], str | None] = _reach


def venv_package() -> str:
    """The Debian package that carries venv's parts for the running interpreter."""
    return f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"


def check_python(probes: Probes) -> None:
    """Raise SetupError unless an environment can be made with the running interpreter."""
    if probes.python_version < PYTHON_MINIMUM:
        have, need = (".".join(map(str, version)) for version in (probes.python_version, PYTHON_MINIMUM))
        raise SetupError(f"Python {have} is too old: {need} or newer is needed. Install one (apt-get install python3).")
    if probes.has_ensurepip():
        return
    print(f"Python's venv is not complete; installing {venv_package()}", flush=True)
    if not probes.install_venv_package() or not probes.has_ensurepip():
        raise SetupError(
            "Python's venv is not complete, and could not be installed from here. "
            f"Run this first: sudo apt-get update && sudo apt-get install -y {venv_package()}"
        )


def check_space(probes: Probes, folder: Path, already_there: int) -> None:
    """Raise SetupError unless ``folder``'s disk has room for what is still missing (``already_there`` in bytes)."""
    # Half a GiB at the least: replacing a package needs room for both for a moment.
    need = max(SPACE_GIB * GIB - already_there, 0.5 * GIB)
    free = probes.free_bytes(folder)
    if free < need:
        raise SetupError(
            f"{folder} has {free / GIB:.1f} GiB free, and {need / GIB:.1f} GiB are needed. "
            "Free some space, or move the checkout to a larger disk."
        )


def check_network(probes: Probes, python: Path) -> None:
    """Raise SetupError unless pip reaches its package index."""
    problem = probes.reach(python)
    if problem:
        raise SetupError(f"pip can't download packages (network, proxy or pip settings?). It says: {problem}")
