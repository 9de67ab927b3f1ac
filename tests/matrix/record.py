"""What came of each row on one host and device: kept while rows run, and merged into the file that the page reads."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tools.host.layout import REPO

RESULTS = REPO / "benchmarks" / "results" / "matrix"
LOCK = REPO / ".host" / "matrix.lock"
NOT_RUN = "not run"
ABSENT = "not in this ComfyUI"
FAILED = "failed"
STAND_IN = " (stand-in)"
"""Ends an outcome that another pack's stand-in had."""
LONGEST = 2000
"""Characters of a note."""


@dataclass
class Record:
    """Outcomes by a row's key; ``notes`` has the reason of those that failed or were left out."""

    minutes: float | None = None
    """After so many, rows are left out."""
    rows: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def leave_out(self, key: str, outcome: str, reason: str) -> None:
        """Keep why a row was not tried, and skip its test."""
        self.rows[key], self.notes[key] = outcome, reason
        pytest.skip(reason)

    def leave_out_late(self, key: str) -> None:
        """Leave a row out if the time is over."""
        if self.minutes is not None and time.monotonic() - self._began > 60 * self.minutes:
            self.leave_out(key, NOT_RUN, f"{self.minutes} minutes were over")

    @contextmanager
    def trying(self, key: str) -> Iterator[None]:
        """A row that has failed unless the block sets another outcome."""
        self.rows[key] = FAILED
        try:
            yield
        except Exception as error:
            self.notes[key] = str(error)[:LONGEST]
            raise

    def save(self, stats: dict[str, Any], known: Collection[str], folder: Path = RESULTS) -> Path:
        """Merge the known rows into the file of the server that ``stats`` describes; returns its path.

        Another process that runs other rows may do so at once.
        """
        host, device = stats["system"]["comfyui_version"], stats["devices"][0]
        on_cpu = device["type"] == "cpu"
        path = folder / (f"{host}.json" if on_cpu else f"{host}-{device['type']}.json")
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(LOCK):
            before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            rows = merged(before.get("rows", {}), self.rows, known)
            notes = {**before.get("notes", {}), **self.notes}
            about = {
                "host": host,
                "torch": stats["system"]["pytorch_version"],
                "device": "CPU" if on_cpu else device["name"],
                "rows": rows,
                "notes": {key: note for key, note in notes.items() if rows.get(key) == FAILED},
            }
            path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        return path


def merged(before: dict[str, str], now: dict[str, str], known: Collection[str]) -> dict[str, str]:
    """Each known row's outcome now; that of before where it was not run now, or only with a stand-in."""
    rows = {}
    for key in known:
        was, becomes = before.get(key, NOT_RUN), now.get(key, NOT_RUN)
        stays = becomes == NOT_RUN or (becomes.endswith(STAND_IN) and was not in (NOT_RUN, FAILED))
        rows[key] = was if stays else becomes
    return rows
