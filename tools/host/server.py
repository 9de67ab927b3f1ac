"""A ComfyUI server as a context manager: it is up inside the ``with`` block and gone after it, come what may."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from tools.host.layout import Layout, make_base
from tools.host.patience import Patience, StalledError, cpu_sign
from tools.host.processes import ending_with_owner

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 5.0
LOG_LINES = 25


class ServerError(RuntimeError):
    """The server did not start, or ended by itself; the message ends with the last lines of its log."""


class Server:
    """ComfyUI on a free port of 127.0.0.1.

    ``base`` is ComfyUI's base directory (models, input, output, user); without one, a fresh folder is used and
    removed afterwards, so that servers don't see each other. ``extra`` are further arguments for ComfyUI, such as
    ``["--cache-none"]``. ``log`` is the file that its output goes to. ``patience`` decides when a start has failed; by
    default once the server has neither written to its log nor used the CPU for long. ``ends_with_owner``: on Linux the
    server is killed with the thread that starts it, also where that is killed and cannot end it.
    """

    def __init__(
        self,
        extra: Sequence[str] = (),
        base: Path | None = None,
        layout: Layout | None = None,
        patience: Patience | None = None,
        ends_with_owner: bool = False,
    ) -> None:
        self._ends_with_owner = ends_with_owner
        self._layout = layout or Layout.of()
        self._extra = list(extra)
        self._keep = base is not None
        self._base = base
        self._process: subprocess.Popen[bytes] | None = None
        self._patience = patience or Patience([cpu_sign(lambda: self.pid), self._logged])
        self._old_handlers: dict[int, Any] = {}
        self.url = ""

    @property
    def base(self) -> Path:
        """The base directory; it exists once the server has been started."""
        if self._base is None:
            raise ServerError("the server has not been started")
        return self._base

    @property
    def pid(self) -> int | None:
        """The server's process; None before its start and after its end."""
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> Path:
        """The file with ComfyUI's output."""
        return self.base / "server.log"

    def __enter__(self) -> Server:
        self._catch_signals()
        try:
            self._start()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self) -> None:
        """Return when the server has ended by itself, with ServerError if that was a failure."""
        assert self._process is not None
        if self._process.wait():
            raise ServerError(self._ended())

    def log_tail(self) -> str:
        """The last lines of the log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])

    def stop(self) -> None:
        """End the server and every process that it started; does nothing the second time."""
        try:
            if self._process is not None:
                self._end(self._process)
                self._process = None
        finally:
            if not self._keep and self._base is not None:
                shutil.rmtree(self._base, ignore_errors=True)
            self._release_signals()

    def _start(self) -> None:
        self._layout.host.mkdir(parents=True, exist_ok=True)
        if self._base is None:
            self._base = Path(tempfile.mkdtemp(dir=self._layout.host, prefix="run-"))
        make_base(self._base, self._layout)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(port),
                cwd=self._base,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own group: we end all of it, and a Ctrl-C at the terminal reaches us alone.
                start_new_session=True,
                preexec_fn=ending_with_owner() if self._ends_with_owner else None,
            )

    def _command(self, port: int) -> list[str]:
        command = [str(self._layout.python), "-u", str(self._layout.comfyui / "main.py")]
        command += ["--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch", "--disable-api-nodes"]
        command += ["--base-directory", str(self.base)]
        command += ["--extra-model-paths-config", str(self.base / "extra_model_paths.yaml")]
        # Both would otherwise be in ComfyUI's own folder, or too small for a user's clip.
        command += ["--database-url", f"sqlite:///{self.base / 'user' / 'comfyui.db'}", "--max-upload-size", "4096"]
        return command + ([] if has_cuda(self._layout.python) else ["--cpu"]) + self._extra

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        # Ours holds the repository's root, whose nodes/ would shadow ComfyUI's module of that name.
        environment.pop("PYTHONPATH", None)
        if not self._layout.own_comfyui:
            # Python would write its caches into a checkout that is not ours.
            environment["PYTHONPYCACHEPREFIX"] = str(self._layout.host / "pycache")
        return environment

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        self._patience.start("ComfyUI's start")
        while True:
            if self._process.poll() is not None:
                raise ServerError(self._ended())
            with contextlib.suppress(urllib.error.URLError, OSError, json.JSONDecodeError):
                # No proxies: a proxy for the outside knows nothing of this machine's loopback.
                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                with opener.open(f"{self.url}/system_stats", timeout=5) as answer:
                    json.load(answer)
                return
            try:
                self._patience.check()
            except StalledError as error:
                raise ServerError(f"{error}. Its log ends:\n{self.log_tail()}") from error
            time.sleep(0.2)

    def _logged(self) -> int:
        """The size of the log, bytes."""
        return self.log.stat().st_size if self._base is not None and self.log.exists() else 0

    def _ended(self) -> str:
        assert self._process is not None
        return f"ComfyUI ended with code {self._process.poll()}. Its log ends:\n{self.log_tail()}"

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        try:
            _signal_group(process, signal.SIGTERM)
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Also after a second Ctrl-C in the wait above, and for children that outlived the server.
            _signal_group(process, signal.SIGKILL)
            process.wait()

    def _catch_signals(self) -> None:
        """Turn the signals that would end us into exceptions, so that ``with`` blocks are left properly.

        SIGINT too: a shell starts background commands with SIGINT ignored, and Python then leaves it so.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in STOP_SIGNALS:
            self._old_handlers[number] = signal.signal(number, _raise)

    def _release_signals(self) -> None:
        while self._old_handlers:
            number, handler = self._old_handlers.popitem()
            signal.signal(number, handler)


def has_cuda(python: Path) -> bool:
    """Whether PyTorch in ``python`` can use an NVIDIA GPU; quick where there is none."""
    if not shutil.which("nvidia-smi"):
        return False
    program = "import torch; raise SystemExit(not torch.cuda.is_available())"
    return subprocess.run([str(python), "-c", program], capture_output=True, check=False).returncode == 0


def _raise(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
