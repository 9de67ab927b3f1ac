"""One run of a batch: hands tasks to workers, keeps what they bring, writes the manifest."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tools.batch import motions
from tools.batch.files import digest_of_bytes, digest_of_file, drop_partial, write_file, write_folder
from tools.batch.jobs import Job, JobList
from tools.batch.manifest import Manifest, finished
from tools.batch.motions import CLIP, MOTION, Motion
from tools.batch.pool import Event, Pool
from tools.batch.progress import Progress
from tools.batch.scheduler import Scheduler, Task
from tools.batch.worker import Order, Result
from tools.batch.workflow import ADDED, MOTION_FOLDER

WAIT_SECONDS = 0.5
TELL_SECONDS = 10.0
"""Between two lines of progress where there is no terminal."""
GROW_SECONDS = 15.0
"""Between two looks whether the cluster has grown."""
FAILED_STARTS = 3
"""Starts that fail in a row, none having worked, before a batch is given up."""

JOBS, REFERENCES, GRAPH = "jobs", "references", "graph.json"
Files = dict[str, Callable[[], bytes]]


class BatchError(RuntimeError):
    """A batch that cannot go on; what is finished is kept."""


@dataclass(frozen=True)
class Settings:
    """``workers``: how many, None for all that the cluster holds. ``spacing``: of Motion Fidelity, None for none."""

    out: Path
    cache: Path
    workers: int | None = None
    spacing: int | None = motions.SPACING


class Batch:
    """The jobs of a list that ``manifest`` does not have as done."""

    def __init__(self, jobs: JobList, settings: Settings, manifest: Manifest) -> None:
        self._list, self._settings, self._manifest = jobs, settings, manifest
        for folder in (settings.out / JOBS, settings.out / REFERENCES, settings.cache):
            folder.mkdir(parents=True, exist_ok=True)
        drop_partial(settings.out / JOBS)
        done = finished(manifest.records(), settings.out)
        self._jobs = {job.name: job for job in jobs.jobs if job.digest not in done}
        self._source = {key: job for job in reversed(jobs.jobs) for key in job.needs}
        self._motions = {key: motion for key in self._source if (motion := motions.find(settings.cache, key))}
        self.scheduler = Scheduler(((job.name, job.needs) for job in self._jobs.values()), self._motions)
        self.progress = Progress(len(jobs.jobs), len(jobs.jobs) - len(self._jobs), time.monotonic())
        self._idle: list[str] = []
        self._starting: set[str] = set()
        self._begun: dict[str, float] = {}
        self._failed_starts = 0
        self._drains = False
        self._told = self._grown = 0.0

    def drain(self) -> None:
        """Hand out nothing more; ``run`` returns once what is running has ended."""
        self._drains = True

    def run(self, pool: Pool) -> bool:
        """Run on the workers of ``pool``; True once every job is done or set aside, False after ``drain``.

        Raises:
            BatchError: no worker starts, or the folders cannot be written.
        """
        self._pool = pool
        while not self.scheduler.over:
            if self._drains and not self.scheduler.running:
                return False
            self._grow()
            self._hand_out()
            for event in self._pool.wait(WAIT_SECONDS):
                self._take(event)
            self._tell()
        self._tell(last=True)
        return True

    def _grow(self) -> None:
        """Start workers up to the number asked for, or that the cluster holds; never more than there are jobs."""
        now = time.monotonic()
        if self._drains or (self._grown and now < self._grown + GROW_SECONDS):
            return
        self._grown = now
        holds = self._settings.workers or self._pool.capacity()
        left = self.scheduler.total - self.scheduler.done - self.scheduler.failed
        for _ in range(min(holds, left) - self._workers()):
            self._starting.add(self._pool.start())
        if not self._workers():
            print("fastvmt: the cluster holds no worker at present; waiting for one", file=sys.stderr)

    def _workers(self) -> int:
        return len(self._starting) + len(self._idle) + len(self.scheduler.running)

    def _hand_out(self) -> None:
        """Give every idle worker a task, if there is one for it."""
        for worker in () if self._drains else list(self._idle):
            task = self.scheduler.next(worker)
            if task is None:
                continue
            self._idle.remove(worker)
            self._begun[worker] = time.time()
            order, files = self._motion_order(task.identity) if task.is_motion else self._job_order(task.identity)
            self._pool.submit(worker, order, files)

    def _motion_order(self, key: str) -> tuple[Order, Files]:
        job = self._source[key]
        graph, files = self._list.graph(job.text)
        inverter = next(identity for identity, made in motions.keys_of(graph).items() if made == key)
        part = motions.extraction(graph, inverter, key)
        used = set(motions.files_of(part).values())
        needed = {place: path.read_bytes for place, path in files.items() if Path(place).name in used}
        return Order(part, fetch=(f"{MOTION_FOLDER}/{key}.safetensors",)), needed

    def _job_order(self, name: str) -> tuple[Order, Files]:
        job = self._jobs[name]
        graph, paths = self._list.graph(job.text)
        made = {inverter: self._motions[key] for inverter, key in motions.keys_of(graph).items()}
        files = {place: path.read_bytes for place, path in paths.items()}
        whole = motions.with_motions(graph, made)
        for motion in made.values():
            files[f"{MOTION_FOLDER}/{motion.key}.safetensors"] = (motion.folder / MOTION).read_bytes
        clip = self._clip(job)
        if clip is not None and self._settings.spacing is not None:
            whole = motions.with_fidelity(whole, f"{self._clip_motion(job).key}.mp4", self._settings.spacing)
            files[f"input/{self._clip_motion(job).key}.mp4"] = clip.read_bytes
        return Order(whole), files

    def _clip_motion(self, job: Job) -> Motion:
        return self._motions[job.needs[0]]

    def _clip(self, job: Job) -> Path | None:
        """The reference that a job is judged beside; none if it has several, or none."""
        return self._clip_motion(job).clip if len(job.needs) == 1 else None

    def _take(self, event: Event) -> None:
        """Note what became of a worker's call."""
        if event.worker in self._starting:
            self._starting.discard(event.worker)
            self._take_start(event)
            return
        began = self._begun.pop(event.worker)
        task = self.scheduler.running[event.worker]
        if event.lost is None and event.result.error is None:
            try:
                self._keep(event.worker, task, event.result, began)
                self.scheduler.finish(event.worker)
            except OSError as error:
                raise BatchError(
                    f"{self._settings.out} or {self._settings.cache} cannot be written: {error}"
                ) from error
        else:
            self._failed(event, task, event.lost or event.result.error)
        if event.lost is None:
            self._idle.append(event.worker)
        else:
            self._grown = 0.0

    def _take_start(self, event: Event) -> None:
        if event.lost is None:
            self._failed_starts = 0
            self._idle.append(event.worker)
            return
        self._failed_starts += 1
        print(f"fastvmt: worker {event.worker} did not start: {event.lost}", file=sys.stderr)
        if self._failed_starts >= FAILED_STARTS and self._workers() == len(self._starting):
            raise BatchError(f"{FAILED_STARTS} workers in a row did not start; the last: {event.lost}")
        self._grown = 0.0

    def _failed(self, event: Event, task: Task, error: str) -> None:
        before = set(self.scheduler.set_aside)
        again = self.scheduler.leave(event.worker, error) if event.lost else self.scheduler.fail(event.worker, error)
        record = {"kind": "failure", "of": task.identity, "attempt": task.attempt, "error": error, "at": _now()}
        self._manifest.append(record)
        self.progress.retries += bool(again)
        for name in self.scheduler.set_aside.keys() - before:
            if name in self._jobs:
                state = {"state": "set aside", "error": self.scheduler.set_aside[name]}
                self._manifest.append({**self._described(self._jobs[name]), **state, "at": _now()})
        self.progress.failed = self.scheduler.failed

    def _keep(self, worker: str, task: Task, result: Result, began: float) -> None:
        """Write what a task brought, then its line in the manifest: whatever has a line is there."""
        about = {
            "worker": worker,
            "host": result.host,
            "attempt": task.attempt,
            "began": datetime.fromtimestamp(began, timezone.utc).isoformat(timespec="milliseconds"),
            "at": _now(),
            "seconds": {"all": round(time.time() - began, 3), "nodes": dict(result.seconds)},
        }
        if task.is_motion:
            self._keep_motion(task.identity, result, about)
        else:
            self._keep_job(self._jobs[task.identity], result, about)
            self.progress.job_done(time.monotonic())

    def _keep_motion(self, key: str, result: Result, about: dict[str, Any]) -> None:
        files = {MOTION: next(iter(result.fetched.values()))}
        clips = [content for node, _, content in result.files if node == f"{ADDED}clip"]
        files |= {CLIP: clips[0]} if clips else {}
        sizes = motions.sizes_of(result.texts)
        self._motions[key] = motions.keep(self._settings.cache, key, files, sizes)
        source = self._source[key].text.reference
        record = {
            "kind": "motion",
            "key": key,
            "reference": source and source.name,
            "sizes": sizes,
            "sha256": digest_of_bytes(files[MOTION]),
            **about,
        }
        self._manifest.append(record)
        self.progress.motions += 1

    def _keep_job(self, job: Job, result: Result, about: dict[str, Any]) -> None:
        graph = self._list.shown_graph(job.text)
        saver, named, video = motions.main_saver(graph), {}, None
        for node, name, content in result.files:
            name = name if name not in named else f"{node}_{name}"
            named[name] = content
            if node == saver and video is None:
                video = name
        named[GRAPH] = json.dumps(graph, indent=1).encode()
        write_folder(self._settings.out / JOBS / job.name, named, replace=True)
        files = {name: {"sha256": digest_of_bytes(content), "bytes": len(content)} for name, content in named.items()}
        report = motions.fidelity_of(result.texts)
        record = {
            **self._described(job),
            "state": "done",
            "clip": self._shown_clip(job),
            "video": video,
            "files": files,
            "fidelity": report["motion_fidelity"] if report and math.isfinite(report["motion_fidelity"]) else None,
            "fidelity_report": report,
            **about,
        }
        self._manifest.append(record)

    def _described(self, job: Job) -> dict[str, Any]:
        text = dataclasses.asdict(job.text)
        paths = {name: text[name] and text[name].name for name in ("reference", "motion")}
        return {
            "kind": "job",
            "name": job.name,
            "digest": job.digest,
            "line": job.line,
            **text,
            **paths,
            "motions": job.needs,
        }

    def _shown_clip(self, job: Job) -> str | None:
        """The name below ``references/`` of the clip to be shown beside a job."""
        source = self._clip(job) if job.needs else job.text.reference
        if source is None:
            return None
        name = f"{self._clip_motion(job).key}.mp4" if job.needs else f"{digest_of_file(source)[:32]}{source.suffix}"
        target = self._settings.out / REFERENCES / name
        if not target.exists():
            write_file(target, source.read_bytes())
        return name

    def _tell(self, last: bool = False) -> None:
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if not last and now < self._told + (WAIT_SECONDS if terminal else TELL_SECONDS):
            return
        self._told = now
        line = f"fastvmt: {self.progress.line(now, len(self.scheduler.running), self._workers())}"
        width = shutil.get_terminal_size().columns - 1
        text = f"\r{line[:width]:<{width}}" if terminal else f"{line}\n"
        sys.stderr.write(text + ("\n" if terminal and last else ""))
        sys.stderr.flush()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
