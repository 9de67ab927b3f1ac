"""Job lists: a CSV or JSONL file, checked whole against a workflow before anything starts."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.batch.files import digest_of, digest_of_file
from tools.batch.motions import files_of, keys_of
from tools.batch.workflow import MOTION_FOLDER, JobText, Value, WorkflowError, checked_override, filled
from tools.host.client import Graph

COLUMNS = ("name", "reference", "motion", "prompt", "seed")
"""What a job may name, beside overrides; all of it is optional."""
NAME = re.compile(r"[\w][\w.-]{0,99}")
MOST_SEED = 2**64 - 1
Row = dict[str, Value | None]
SUFFIX = re.compile(r"\.\w{1,8}")
INPUT_FOLDER = "input"


class BadJobs(ValueError):
    """A job list with faults: ``faults`` has one text for each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Job:
    """One line. ``digest`` stands for everything that decides its outputs; ``needs`` are keys of motions."""

    line: int
    name: str
    text: JobText
    digest: str
    needs: tuple[str, ...]


class JobList:
    """The jobs of ``path`` for a workflow; paths in it are relative to its folder.

    Raises:
        BadJobs: every fault of every line.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, workflow: Graph) -> None:
        self._workflow = workflow
        self._folder = path.resolve().parent
        self._digests: dict[Path, str] = {}
        self.jobs: list[Job] = []
        self._read(path)

    def _read(self, path: Path) -> None:
        faults, lines = [], {}
        for number, row in _rows(path):
            try:
                if isinstance(row, str):
                    raise WorkflowError(row)
                job = self._job(number, row)
                for what, value in (("job", job.digest), ("name", job.name)):
                    first = lines.setdefault((what, value), number)
                    if first != number:
                        raise WorkflowError(f"the same {what} as line {first}; remove one, or change its seed or name")
                self.jobs.append(job)
            except (WorkflowError, OSError) as error:
                faults.append(f"{path.name} line {number}: {error}")
        if not self.jobs and not faults:
            faults.append(f"{path.name}: expected at least one job, found none")
        if faults:
            raise BadJobs(faults)

    def _job(self, number: int, row: Row) -> Job:
        given = {key: value for key, value in row.items() if value is not None}
        overrides = {key: value for key, value in given.items() if "." in key}
        unknown = [key for key in row if key not in COLUMNS and "." not in key]
        if unknown:
            raise WorkflowError(
                f'{", ".join(map(repr, unknown))}: expected {", ".join(COLUMNS)}, or an input such as "12.cfg"'
            )
        text = JobText(
            reference=self._path("reference", given),
            motion=self._path("motion", given),
            prompt=_text("prompt", given),
            seed=_seed(given.get("seed")),
            overrides={place: checked_override(self._workflow, place, value) for place, value in overrides.items()},
        )
        if text.reference and text.motion:
            raise WorkflowError("reference, motion: expected one of the two, got both")
        graph, _ = self.graph(text)
        digest, name = digest_of(graph), _text("name", given)
        if name is not None and not NAME.fullmatch(name):
            raise WorkflowError(f"name: expected letters, digits, and . _ - after the first, 100 at most, got {name!r}")
        return Job(number, name or _name(text, digest), text, digest, tuple(sorted(set(keys_of(graph).values()))))

    def graph(self, text: JobText) -> tuple[Graph, dict[str, Path]]:
        """(a job's whole graph with files named by their content, where each file goes below ComfyUI -> its path).

        Raises:
            WorkflowError: it does not fit the workflow, or names a file that is not there.
        """
        graph, files = filled(self._workflow, text), {}
        for (identity, name), value in files_of(graph).items():
            path = self._folder / value
            is_motion = name == "motion"
            if not path.is_file():
                if is_motion and text.motion is None:
                    continue  # One that ComfyUI knows, as the shipped ones.
                kind = graph[identity]["class_type"]
                raise WorkflowError(f"no such file: {path} ({identity}.{name} of {kind})")
            suffix = path.suffix.lower() if SUFFIX.fullmatch(path.suffix) else ""
            known_as = f"{self._digest(path)[:32]}{suffix}"
            graph[identity]["inputs"][name] = known_as
            files[f"{MOTION_FOLDER if is_motion else INPUT_FOLDER}/{known_as}"] = path
        return graph, files

    def shown_graph(self, text: JobText) -> Graph:
        """A job's whole graph with files by their plain names: to be opened in ComfyUI."""
        graph = filled(self._workflow, text)
        for (identity, name), value in files_of(graph).items():
            graph[identity]["inputs"][name] = Path(value).name
        return graph

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = digest_of_file(path)
        return self._digests[path]

    def _path(self, name: str, given: Row) -> Path | None:
        value = _text(name, given)
        if value is None:
            return None
        path = self._folder / value
        if not path.is_file():
            raise WorkflowError(f"{name}: expected a file, found none at {path}")
        return path


def _text(name: str, given: Row) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise WorkflowError(f"{name}: expected a text, got {value!r}")
    return value


def _seed(value: Value | None) -> int | None:
    if value is None:
        return None
    try:
        seed = int(value) if isinstance(value, str) or type(value) is int else -1
    except ValueError:
        seed = -1
    if not 0 <= seed <= MOST_SEED:
        raise WorkflowError(f"seed: expected a whole number from 0 to 2^64 - 1, got {value!r}")
    return seed


def _name(text: JobText, digest: str) -> str:
    """A name for a job that brings none: clip, seed, and enough of the digest to be its own."""
    source = text.reference or text.motion
    stem = re.sub(r"[^\w-]+", "_", source.stem)[:40].lstrip("-") if source else "job"
    seed = "" if text.seed is None else f"-{text.seed}"
    return f"{stem or 'job'}{seed}-{digest[:8]}"


def _rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    """(line number, what the line names, or what is wrong with it)."""
    if path.suffix.lower() == ".csv":
        yield from _csv_rows(path)
    elif path.suffix.lower() in (".jsonl", ".ndjson"):
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            if line.strip():
                yield number, _json_row(line)
    else:
        raise BadJobs([f"{path.name}: expected a name that ends in .csv or .jsonl"])


def _csv_rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) != len(header):
            raise BadJobs([f"{path.name} line 1: expected every column once, got {', '.join(header)}"])
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                yield reader.line_num, f"expected {len(header)} cells, got {len(cells)}; quote texts that hold a comma"
            else:
                yield (
                    reader.line_num,
                    {name: cell.strip() or None for name, cell in zip(header, cells, strict=True)},
                )


def _json_row(line: str) -> Row | str:
    try:
        row = json.loads(line)
    except ValueError as error:
        return f"expected one JSON object, got something else: {error}"
    return row if isinstance(row, dict) else f"expected one JSON object, got {line[:80]}"
