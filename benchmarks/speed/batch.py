"""What a batch costs: two workers beside one, killed workers, and the driver's own time and memory a job.

python -m benchmarks.speed.batch workers|kills|trivial|costs [--json benchmarks/results/batch.json]; scale-out.md shows
the figures. ``workers`` and ``kills`` run the tiny model; ``costs`` reads the manifest of a batch of it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from tools.batch.driver import Batch, Settings
from tools.batch.example import write_example
from tools.batch.files import digest_of_bytes, write_folder
from tools.batch.jobs import JobList
from tools.batch.manifest import NAME, Manifest, read
from tools.batch.pool import Pool, Share
from tools.batch.worker import SCRATCH, Order, Result
from tools.batch.workflow import read_workflow
from tools.host.layout import REPO, Layout
from tools.host.processes import is_running

RESULTS = REPO / "benchmarks" / "results" / "batch.json"
STEPS, LENGTH = 10, 9
"""Of the tiny model's jobs here: so long that a job takes seconds, and so short that a measurement takes minutes."""
TRIVIAL_JOBS = 10_000
KILL_SECONDS, KILLS = 20.0, 6
MOST_RATIO, MOST_MB, MOST_MS = 0.65, 500, 20.0
"""Two workers' time over one's; megabytes and milliseconds a job of the driver."""

Figures = dict[str, Any]


class TrivialBox:
    """A box whose jobs take no time: what is left is the driver and Ray."""

    def start(self) -> None:
        """Nothing to start."""

    def run(self, order: Order) -> Result:
        """A small file."""
        return Result("here", [("2", "image.png", json.dumps(order.graph).encode())])

    def stop(self) -> None:
        """Nothing to stop."""


def workers(folder: Path, rounds: int, jobs: int) -> Figures:
    """Seconds of the same batch with one worker and with two, one after the other, ``rounds`` times.

    ``work``: from the first job's begin to the last one's end, all motions made before; ``all``: the whole command.
    """
    figures: Figures = {"jobs": jobs, "work": {"1": [], "2": []}, "all": {"1": [], "2": []}, "load": []}
    motions = folder / "motions"
    first = write_example(folder / "example", jobs=4, steps=STEPS, length=LENGTH)
    assert _command(*first, folder / "first", "--workers", "2", "--cache", motions).wait() == 0
    example = write_example(folder / "example", jobs=jobs, steps=STEPS, length=LENGTH)
    for take in range(rounds):
        for count in ("1", "2"):
            out = folder / f"{take}-{count}"
            began = time.monotonic()
            _command(*example, out, "--workers", count, "--cache", motions).wait()
            figures["all"][count].append(round(time.monotonic() - began, 2))
            records = read(out / NAME)
            assert len(records) == jobs and all(record["kind"] == "job" for record in records)
            ends = [_seconds(record["at"]) for record in records]
            begins = [_seconds(record["began"]) for record in records]
            figures["work"][count].append(round(max(ends) - min(begins), 2))
            figures["load"].append(round(os.getloadavg()[0], 2))
            print(f"{count} workers: {figures['work'][count][-1]} s, load {figures['load'][-1]}", flush=True)
    figures["ratio"] = _ratio(figures["work"])
    figures["ratio_all"] = _ratio(figures["all"])
    figures["ok"] = figures["ratio"] <= MOST_RATIO
    return figures


def costs(out: Path) -> Figures:
    """Median seconds of a job and of a motion, and a motion's bytes, of a batch of the example that is in ``out``."""
    records = read(out / NAME)
    seconds = {
        kind: [record["seconds"]["all"] for record in records if record["kind"] == kind and "seconds" in record]
        for kind in ("job", "motion")
    }
    return {
        "jobs": len(seconds["job"]),
        "job_seconds": round(statistics.median(seconds["job"]), 2),
        "motion_seconds": round(statistics.median(seconds["motion"]), 2),
        "motion_bytes": max(path.stat().st_size for path in out.glob("motions/*/motion.safetensors")),
        "ok": True,
    }


def _ratio(seconds: dict[str, list[float]]) -> float:
    return round(statistics.median(seconds["2"]) / statistics.median(seconds["1"]), 3)


def kills(folder: Path, jobs: int) -> Figures:
    """What is left of a batch of which a worker was killed every ``KILL_SECONDS`` for two minutes."""
    out, chance, killed = folder / "out", random.Random(0), 0
    example = write_example(folder / "example", jobs=jobs, steps=STEPS, length=LENGTH)
    process = _command(*example, out, "--workers", "2")
    while killed < KILLS:
        try:
            process.wait(KILL_SECONDS)
            break
        except subprocess.TimeoutExpired:
            pids = [int(path.name.rpartition("-")[2]) for path in Layout.of().host.glob(f"{SCRATCH}*")]
            running = [pid for pid in pids if is_running(pid)]
            if running:
                os.kill(chance.choice(running), signal.SIGKILL)
                killed += 1
                print(f"killed {killed}", flush=True)
    code = process.wait()
    records = read(out / NAME)
    done = [record for record in records if record["kind"] == "job" and record["state"] == "done"]
    wrong = [
        f"{record['name']}/{name}"
        for record in done
        for name, file in record["files"].items()
        if digest_of_bytes((out / "jobs" / record["name"] / name).read_bytes()) != file["sha256"]
    ]
    figures: Figures = {
        "jobs": jobs,
        "killed": killed,
        "exit_code": code,
        "done": len({record["name"] for record in done}),
        "attempts_lost": sum(record["kind"] == "failure" for record in records),
        "done_twice": sum(count > 1 for count in Counter(record["name"] for record in done).values()),
        "half_written": len(wrong) + len(list(out.glob("jobs/.partial-*"))),
        "folders": len(list((out / "jobs").iterdir())),
    }
    whole = figures["done"] == figures["folders"] == jobs and not (figures["done_twice"] or figures["half_written"])
    figures["ok"] = whole and code == 0 and killed == KILLS
    return figures


def trivial(folder: Path, jobs: int, address: str) -> Figures:
    """The driver's seconds and memory with ``jobs`` jobs that take no time, on two workers."""
    workflow = folder / "workflow.json"
    image = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "image"}}
    workflow.write_text(json.dumps({"1": image, "2": save}), encoding="utf-8")
    lines = folder / "jobs.jsonl"
    lines.write_text("".join(f'{{"1.color": {number}}}\n' for number in range(jobs)), encoding="utf-8")
    began = time.monotonic()
    listed = JobList(lines, read_workflow(workflow))
    reading = time.monotonic() - began
    out = folder / "out"
    with Manifest(out) as manifest, Pool(TrivialBox, address, Share(0, 0), 2) as pool:
        batch = Batch(listed, Settings(out, out / "motions", workers=2), manifest)
        began, cpu = time.monotonic(), time.process_time()
        assert batch.run(pool) and batch.scheduler.done == jobs
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        append = _mean_ms(lambda: manifest.append({"kind": "none", "text": "x" * 900}))
    figures: Figures = {
        "jobs": jobs,
        "ms_a_job": round(1000 * seconds / jobs, 3),
        "cpu_ms_a_job": round(1000 * cpu / jobs, 3),
        "reading_ms_a_job": round(1000 * reading / jobs, 3),
        "manifest_ms": append,
        "folder_ms": _mean_ms(lambda: write_folder(out / "jobs" / "one", {"a": b"1" * 1000, "b": b"2"}, replace=True)),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "load": round(os.getloadavg()[0], 2),
    }
    figures["ok"] = figures["ms_a_job"] < MOST_MS and figures["peak_mb"] < MOST_MB
    return figures


def _mean_ms(call: Callable[[], None], times: int = 200) -> float:
    began = time.monotonic()
    for _ in range(times):
        call()
    return round(1000 * (time.monotonic() - began) / times, 3)


def _command(jobs: Path, workflow: Path, out: Path, *extra: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tools.batch", jobs, "--workflow", workflow, "--out", out, "--spacing", "8"]
    return subprocess.Popen([*map(str, command), "--gpus-per-worker", "0", *map(str, extra)], cwd=REPO)


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def main() -> int:
    """Measure one part, keep its figures beside the others', and print them; 0 if they are as good as promised."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.batch", description=__doc__)
    parser.add_argument("part", choices=("workers", "kills", "trivial", "costs"))
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--rounds", type=int, default=2, help="of workers")
    parser.add_argument("--jobs", type=int, help="default: 16 (workers), 48 (kills), 10000 (trivial)")
    parser.add_argument("--out", type=Path, help="costs: the output folder of a batch of tools.batch.example")
    parser.add_argument("--address", default="local", help="trivial: a Ray that runs already")
    options = parser.parse_args()
    measure = {
        "workers": partial(workers, rounds=options.rounds, jobs=options.jobs or 16),
        "kills": partial(kills, jobs=options.jobs or 48),
        "trivial": partial(trivial, jobs=options.jobs or TRIVIAL_JOBS, address=options.address),
    }
    with tempfile.TemporaryDirectory(prefix="batch-bench-") as folder:
        figures = costs(options.out) if options.part == "costs" else measure[options.part](Path(folder))
    known = json.loads(options.json.read_text(encoding="utf-8")) if options.json.exists() else {}
    options.json.write_text(json.dumps({**known, options.part: figures}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))
    return 0 if figures["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
