"""Measuring: time and peak memory of a run, and the process that is measured."""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tools.host.layout import REPO

Measured = dict[str, Any]
LEAN = {"MALLOC_MMAP_THRESHOLD_": "262144", "PYTHONPATH": str(REPO)}
"""Blocks that malloc takes from the system one by one are returned when freed: the peak is then that of tensors."""


class Peak:
    """The peak of allocated memory since the last reset, bytes."""

    def reset(self) -> int:
        """The bytes held now, from which the next peak counts."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated()
        # "5" resets the process's high-water mark (proc(5)).
        Path("/proc/self/clear_refs").write_text("5")
        return self._status("VmRSS")

    def read(self) -> int:
        """The peak since the reset."""
        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else self._status("VmHWM")

    def _status(self, name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def now() -> float:
    """Seconds: of the process on a CPU, which other programs disturb less, and of the clock with a card."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


class Meter:
    """Time, peak memory and how many blocks of a network are entered, from `begin` to `end`."""

    def __init__(self, network: torch.nn.Module) -> None:
        self._blocks, self._hooks = network.blocks, []
        self._peak, self._entered, self._before, self._since = Peak(), 0, 0, 0.0

    def _enters(self, *_: object) -> None:
        self._entered += 1

    def begin(self, compiled: bool = False) -> None:
        """Measure from here; compiled blocks are not counted, as their compiler would compile them anew each time."""
        self._stop_counting()
        gc.collect()
        # A block that backward computes again is entered past its own hooks.
        attentions = [] if compiled else [block.self_attn for block in self._blocks]
        self._hooks = [attention.register_forward_pre_hook(self._enters) for attention in attentions]
        self._entered, self._before, self._since = 0, self._peak.reset(), now()

    def end(self) -> Measured:
        """Seconds, MiB above the memory held at `begin`, blocks entered."""
        seconds = now() - self._since
        entered = self._entered if self._hooks else None
        self._stop_counting()
        return {
            "seconds": seconds,
            "peak_mib": (self._peak.read() - self._before) / 2**20,
            "blocks_entered": entered,
        }

    def _stop_counting(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


def machine(threads: int) -> str:
    """The machine, device and torch of a measurement."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {threads} thread(s)"
    return f"{platform.machine()}, {name}, torch {torch.__version__}"


def report(module: str, arguments: list[str], options: argparse.Namespace, measure: Callable) -> None:
    """Print and write what is measured, in the environment LEAN: a new process takes this one's place if it must."""
    if not os.environ.items() >= LEAN.items():
        os.execve(sys.executable, [sys.executable, "-m", module, *arguments], {**os.environ, **LEAN})
    torch.set_num_threads(options.threads)
    text = json.dumps(measure(options), indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
