"""A batch on a thousand machines, simulated: the scheduler's own code, at costs that were measured.

python -m benchmarks.speed.batch_simulation writes its table into docs/scale-out.md.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.speed.batch import RESULTS
from tools.batch.scheduler import Scheduler, Task
from tools.host.layout import REPO

PAGE = REPO / "docs" / "scale-out.md"
MARKS = "<!-- {}: begin -->\n", "<!-- {}: end -->\n"
WORKERS, JOBS = 1_000, 100_000
MOTION_BYTES = 20e6
"""Of a motion of Wan 2.1 at 832x480, 81 frames, with its reference latent: counted, then rounded up."""


@dataclass(frozen=True)
class Costs:
    """Seconds, bytes and chances of one cluster. ``driver`` is the driver's time for one task, manifest included."""

    driver: float
    job: float
    motion: float
    start: float = 60.0
    motion_bytes: float = MOTION_BYTES
    result_bytes: float = 5e6
    bytes_per_second: float = 1.25e9
    """Of the driver's network: 10 Gbit/s."""
    spread: float = 0.2
    """Sigma of the logarithm of a job's time."""
    slow_share: float = 0.05
    slow_factor: float = 4.0
    """This part of the machines takes that many times as long."""
    failure: float = 0.005
    """Chance that an attempt ends with an error."""
    hours_to_loss: float = 48.0
    """Mean time until a machine is lost; another takes its place after ``start``."""


@dataclass(frozen=True)
class Outcome:
    """``used``: work done over the machines' time; shares of the time that driver and network are busy; ``tail``:
    seconds that the last hundredth of the jobs took, as a share of all."""

    hours: float
    used: float
    driver: float
    network: float
    tail: float
    motions: int
    fetches: int
    lost: int
    set_aside: int


class Queue:
    """Something that does one piece of work at a time, in the order of asking."""

    def __init__(self) -> None:
        self.free_at = self.busy = 0.0

    def done_at(self, asked: float, seconds: float) -> float:
        """When a piece of work that is asked for at a time is done."""
        self.busy += seconds
        self.free_at = max(self.free_at, asked) + seconds
        return self.free_at


def simulate(costs: Costs, workers: int = WORKERS, jobs: int = JOBS, references: int = 500, seed: int = 0) -> Outcome:
    """What became of ``jobs`` over ``references`` clips on ``workers`` machines.

    Each end of a task waits for the network (its result), then for the driver, which hands out the next; a motion that
    the machine lacks waits for the network again.
    """
    chance, ticket = random.Random(seed), itertools.count()
    scheduler = Scheduler((f"job{number}", (f"motion{number % references}",)) for number in range(jobs))
    driver, network = Queue(), Queue()
    factor, has = {}, {}
    events: list[tuple[float, int, str, Task | None, bool]] = []
    waiting: list[str] = []
    fetches = motions = lost = 0
    worked = now = almost = 0.0

    def arrive(at: float) -> None:
        name = f"m{next(ticket)}"
        factor[name] = costs.slow_factor if chance.random() < costs.slow_share else 1.0
        has[name] = set()
        heapq.heappush(events, (at, next(ticket), name, None, True))

    def hand_out(name: str, at: float) -> None:
        nonlocal fetches, worked
        task = scheduler.next(name)
        if task is None:
            waiting.append(name)
            return
        begin = driver.done_at(at, costs.driver)
        if not task.is_motion and (key := f"motion{int(task.identity[3:]) % references}") not in has[name]:
            has[name].add(key)
            fetches += 1
            begin = network.done_at(begin, costs.motion_bytes / costs.bytes_per_second)
        if task.is_motion:
            has[name].add(task.identity)
        seconds = (
            (costs.motion if task.is_motion else costs.job) * factor[name] * chance.lognormvariate(0, costs.spread)
        )
        loss = chance.expovariate(1 / (3600 * costs.hours_to_loss))
        worked += min(seconds, loss)
        heapq.heappush(events, (begin + min(seconds, loss), next(ticket), name, task, loss > seconds))

    for _ in range(workers):
        arrive(costs.start * chance.uniform(1, 2))
    while not scheduler.over:
        now, _, name, task, well = heapq.heappop(events)
        if task is not None:
            if not well:
                lost += 1
                scheduler.leave(name, "lost")
                arrive(now + costs.start)
            elif chance.random() < costs.failure:
                scheduler.fail(name, "error")
            else:
                now = network.done_at(
                    now, (costs.motion_bytes if task.is_motion else costs.result_bytes) / costs.bytes_per_second
                )
                scheduler.finish(name)
                motions += task.is_motion
        if scheduler.done >= 0.99 * jobs and not almost:
            almost = now
        idle, waiting = waiting, []
        for other in idle:
            hand_out(other, now)
        if well:
            hand_out(name, now)
    end = max(now, driver.free_at)
    return Outcome(
        hours=end / 3600,
        used=worked / (workers * end),
        driver=driver.busy / end,
        network=network.busy / end,
        tail=(end - almost) / end,
        motions=motions,
        fetches=fetches,
        lost=lost,
        set_aside=scheduler.failed,
    )


def rows(measured: dict[str, Any]) -> list[tuple[str, Outcome]]:
    """The cases of the page."""
    driver = measured["trivial"]["ms_a_job"] / 1000
    tiny = Costs(driver, measured["costs"]["job_seconds"], measured["costs"]["motion_seconds"], start=10.0)
    tiny = replace(tiny, motion_bytes=measured["costs"]["motion_bytes"], result_bytes=1e4)
    minute, long = (Costs(driver, seconds, seconds / 4) for seconds in (60.0, 300.0))
    sound = replace(minute, slow_share=0.0, failure=0.0, hours_to_loss=1e9)
    return [
        ("tiny model, jobs as measured", simulate(tiny)),
        ("the same, 100 machines", simulate(tiny, workers=100)),
        ("jobs of 60 s", simulate(minute)),
        ("60 s, no slow machine, no failure, no loss", simulate(sound)),
        ("60 s, every job its own clip", simulate(minute, references=JOBS)),
        ("60 s, a network of 1 Gbit/s", simulate(replace(minute, bytes_per_second=1.25e8))),
        ("jobs of 300 s", simulate(long)),
        ("tiny model, ten drivers of 100 machines each", simulate(tiny, workers=100, jobs=JOBS // 10, references=50)),
    ]


def table(cases: list[tuple[str, Outcome]]) -> str:
    """The cases in Markdown."""
    columns = ("case", "hours", "machines used", "driver busy", "network busy", "last 1% of jobs")
    columns += ("motions", "fetched", "lost", "set aside")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, each in cases:
        shares = " | ".join(f"{share:.0%}" for share in (each.used, each.driver, each.network, each.tail))
        counts = " | ".join(f"{count:,}" for count in (each.motions, each.fetches, each.lost, each.set_aside))
        lines.append(f"| {name} | {each.hours:.2f} | {shares} | {counts} |")
    return "\n".join(lines) + "\n"


def measured_table(measured: dict[str, Any]) -> str:
    """What benchmarks/speed/batch.py measured, in Markdown."""
    trivial, workers, kills, costs = (measured.get(part) for part in ("trivial", "workers", "kills", "costs"))
    lines = ["| measured | figure |", "|---|---|"]
    if workers:
        one, two = (min(workers["work"][count]) for count in ("1", "2"))
        load = f"{min(workers['load']):.1f} to {max(workers['load']):.1f}"
        lines += [
            f"| {workers['jobs']} jobs with one worker, then with two (load of the machine's two cores {load}) | "
            f"{one:.0f} s, {two:.0f} s; two take {workers['ratio']:.2f} of the time |",
        ]
    if costs:
        lines.append(
            f"| a job of the example, and a motion (median of {costs['jobs']} jobs) | "
            f"{costs['job_seconds']:.1f} s, {costs['motion_seconds']:.1f} s |"
        )
    if kills:
        lines.append(
            f"| {kills['killed']} workers killed, one every 20 s, in {kills['jobs']} jobs | {kills['done']} "
            f"done, {kills['attempts_lost']} attempts lost, {kills['half_written']} files half written, "
            f"{kills['done_twice']} jobs done twice |"
        )
    if trivial:
        lines += [
            f"| {trivial['jobs']:,} jobs that take no time, on two workers (load {trivial['load']:.1f}) | "
            f"{trivial['ms_a_job']:.1f} ms a job, {trivial['cpu_ms_a_job']:.1f} of it the driver's own CPU time |",
            f"| the driver's memory after them, Ray's client included | {trivial['peak_mb']:.0f} MB |",
            f"| one line of the manifest, synced; one job's folder, synced | {trivial['manifest_ms']:.2f} ms, "
            f"{trivial['folder_ms']:.2f} ms |",
            f"| reading and checking the job list | {trivial['reading_ms_a_job']:.2f} ms a job |",
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the tables of what was measured and of what follows from it into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.batch_simulation", description=__doc__)
    parser.add_argument("--measured", type=Path, default=RESULTS)
    measured = json.loads(parser.parse_args().measured.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    for name, text in (("measured", measured_table(measured)), ("simulated", table(rows(measured)))):
        begin, end = (mark.format(name) for mark in MARKS)
        before, after = page.partition(begin)[0], page.partition(end)[2]
        page = before + begin + text + end + after
        print(text)
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
