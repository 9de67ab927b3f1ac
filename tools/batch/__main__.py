"""``python -m tools.batch JOBS.{csv,jsonl} --workflow API.json --out DIR``; docs/scale-out.md is its manual."""

from __future__ import annotations

import argparse
import math
import signal
import sys
from functools import partial
from pathlib import Path
from types import FrameType

from tools.batch.driver import Batch, BatchError, Settings
from tools.batch.jobs import BadJobs, JobList
from tools.batch.manifest import Manifest, ManifestError
from tools.batch.motions import SPACING
from tools.batch.page import write_page
from tools.batch.pool import Pool, PoolError, Share
from tools.batch.worker import Box
from tools.batch.workflow import WorkflowError, read_workflow

DONE, SET_ASIDE, WRONG, STOPPED = 0, 1, 2, 130
"""Exit codes: all jobs done; some set aside; nothing begun or no worker; drained or killed by Ctrl-C."""


def main(arguments: list[str] | None = None) -> int:
    """Run a batch; one of the exit codes."""
    options = _options(arguments)
    try:
        jobs = JobList(options.jobs, read_workflow(options.workflow))
    except BadJobs as error:
        faults = len(error.faults)
        print(
            f"{error}\nfastvmt: {faults} {'fault' if faults == 1 else 'faults'}; nothing was started", file=sys.stderr
        )
        return WRONG
    except (WorkflowError, OSError) as error:
        print(f"fastvmt: {error}", file=sys.stderr)
        return WRONG
    try:
        with Manifest(options.out) as manifest:
            return _run(options, jobs, manifest)
    except (ManifestError, PoolError, BatchError, WorkflowError, OSError) as error:
        print(f"fastvmt: {error}", file=sys.stderr)
        return WRONG


def _run(options: argparse.Namespace, jobs: JobList, manifest: Manifest) -> int:
    settings = Settings(
        out=options.out,
        cache=options.cache or options.out / "motions",
        workers=options.workers,
        spacing=None if options.no_fidelity else options.spacing,
    )
    batch = Batch(jobs, settings, manifest)
    try:
        whole = batch.scheduler.over or _run_on_ray(options, batch)
    finally:
        page = write_page(options.out, jobs.jobs)
    failed = batch.scheduler.failed
    print(f"fastvmt: {batch.progress.before + batch.progress.done} of {len(jobs.jobs)} jobs are done: {page}")
    for name, error in batch.scheduler.set_aside.items() if failed else ():
        print(f"fastvmt: set aside: {name}: {error}", file=sys.stderr)
    return STOPPED if not whole else SET_ASIDE if failed else DONE


def _run_on_ray(options: argparse.Namespace, batch: Batch) -> bool:
    """Whether the batch came to its end."""
    box = partial(Box, threads=max(1, int(options.cpus_per_worker)), comfyui_base=options.comfyui_base)
    # The number of workers that was asked for has to fit, however many cores Ray counts on this machine.
    cores = None if options.workers is None else math.ceil(options.workers * options.cpus_per_worker)
    with Pool(box, options.address, Share(options.gpus_per_worker, options.cpus_per_worker), cores) as pool:
        try:
            with _draining(batch):
                return batch.run(pool)
        except KeyboardInterrupt:
            return False


class _draining:  # noqa: N801  (a context manager)
    """The first Ctrl-C, or SIGTERM, lets what is running end; the second ends it."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._asked = False

    def __enter__(self) -> None:
        self._old = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *error: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self._batch.drain()
        print("\nfastvmt: finishing what is running; once more stops it at once", file=sys.stderr, flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.batch", description="Run many jobs of one workflow on Ray.")
    parser.add_argument("jobs", type=Path, help="a .csv or .jsonl: name, reference or motion, prompt, seed, 12.cfg ...")
    parser.add_argument("--workflow", type=Path, required=True, help="a workflow in API format")
    parser.add_argument("--out", type=Path, required=True, help="folder for videos, manifest.jsonl and index.html")
    parser.add_argument("--cache", type=Path, help="folder of motions, to be shared by batches (default: OUT/motions)")
    parser.add_argument("--address", default="local", help="local: this machine (default); auto: the Ray cluster here")
    parser.add_argument("--workers", type=_positive(int), help="how many (default: as many as the machines hold)")
    parser.add_argument("--gpus-per-worker", type=_positive(float, zero=True), default=1.0, help="default: 1; 0: none")
    parser.add_argument("--cpus-per-worker", type=_positive(float), default=1.0, help="cores and threads (default: 1)")
    parser.add_argument("--comfyui-base", help="on each machine: a folder with your models/ and custom_nodes/")
    parser.add_argument("--spacing", type=_positive(int), default=SPACING, help="of Motion Fidelity, pixels")
    parser.add_argument("--no-fidelity", action="store_true", help="do not compare movement; needs no OpenCV")
    return parser.parse_args(arguments)


def _positive(kind: type, zero: bool = False) -> partial:
    return partial(_number, kind, zero)


def _number(kind: type, zero: bool, text: str) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not (value > 0 or (zero and value == 0)):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
