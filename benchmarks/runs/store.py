"""The file of a bench's runs: each run is kept as it comes, so that a bench that was stopped resumes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Store:
    """Runs as they come in ``<file>.partial``, one JSON a line, and the finished report in ``file``."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._partial = file.with_name(f"{file.name}.partial")

    def read(self) -> list[dict[str, Any]]:
        """All runs of the report and of a bench that was stopped, without a line that the stop has cut off."""
        runs = json.loads(self._file.read_text(encoding="utf-8"))["runs"] if self._file.exists() else []
        for line in self._partial.read_text(encoding="utf-8").splitlines() if self._partial.exists() else []:
            try:
                runs.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return runs

    def add(self, run: dict[str, Any]) -> None:
        """The run is kept."""
        with self._partial.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")

    def finish(self, report: dict[str, Any]) -> None:
        """The report replaces the file and the runs that were kept."""
        written = self._file.with_name(f"{self._file.name}.new")
        written.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        os.replace(written, self._file)
        self._partial.unlink(missing_ok=True)
