"""The manifest: what a batch has done, one JSON object a line, appended and synced, so that a kill loses no line."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

NAME = "manifest.jsonl"
LOCK = ".lock"

Record = dict[str, Any]
"""``kind`` is "job" (done, or set aside with ``error``), "motion" (extracted) or "failure" (an attempt)."""


class ManifestError(RuntimeError):
    """The output folder cannot be used; the message says why."""


class Manifest:
    """The manifest of an output folder, held by one driver at a time.

    Raises:
        ManifestError: another driver holds it, or a line in its middle is damaged.
    """

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / NAME
        self._lock = (out / LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise ManifestError(f"{out}: another batch is writing there; wait for its end, or choose another") from None
        self._file = self.path.open("ab")
        self._file.truncate(_whole_lines(self.path))

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._lock.close()

    def append(self, record: Record) -> None:
        """Add a record. Once this returns, no kill and no power cut takes it away."""
        self._file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def records(self) -> list[Record]:
        """All records, in the order of writing."""
        return read(self.path)


def read(path: Path) -> list[Record]:
    """The records of a manifest; a last line that is not whole is left out.

    Raises:
        ManifestError: another line is damaged.
    """
    records = []
    for number, line in enumerate(path.read_bytes()[: _whole_lines(path)].splitlines(), start=1):
        try:
            records.append(json.loads(line))
        except ValueError:
            raise ManifestError(f"{path}, line {number}: expected JSON; mend or remove that line") from None
    return records


def _whole_lines(path: Path) -> int:
    """Bytes up to the end of the last line that ends; a kill in the middle of a write leaves one that does not."""
    return path.read_bytes().rfind(b"\n") + 1


def finished(records: list[Record], out: Path) -> dict[str, Record]:
    """The records of jobs that are done and whose files are still there, by the jobs' digests."""
    done = {}
    for record in records:
        if record["kind"] == "job" and record["state"] == "done" and _has_files(record, out):
            done[record["digest"]] = record
    return done


def _has_files(record: Record, out: Path) -> bool:
    folder = out / "jobs" / record["name"]
    try:
        return all((folder / name).stat().st_size == file["bytes"] for name, file in record["files"].items())
    except OSError:
        return False
