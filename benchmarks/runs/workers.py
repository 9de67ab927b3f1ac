"""Worker processes of the bench: each runs whole references, one run after another."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from benchmarks.runs.bench import Bench, Plan, RunKey
from benchmarks.runs.quick_cpu import quick_cpu
from tools.host.layout import REPO

_bench: Bench | None = None
"""Of this process, once its first run has begun."""


class WorkerError(RuntimeError):
    """A worker died; its own message is above on stderr."""


def run_all(plan: Plan, keys: Sequence[RunKey], workers: int) -> Iterator[dict[str, Any]]:
    """Each run as it is done; one that fails is {"variant", "reference", "seed", "error"}.

    The runs of a reference share one worker, which keeps what they have in common.

    Raises:
        ValueError: a variant does not fit the graph.
        WorkerError: a process ended by itself.
    """
    if not keys:
        return
    # Set before a child imports torch: each one has a core of its own.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    context = multiprocessing.get_context("spawn")
    references = list(dict.fromkeys(key.reference for key in keys))
    pools = [
        ProcessPoolExecutor(1, context, initializer=_end_with_parent) for _ in range(min(workers, len(references)))
    ]
    try:
        futures = [
            pools[place % len(pools)].submit(_run, plan, key)
            for place, reference in enumerate(references)
            for key in keys
            if key.reference == reference
        ]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise WorkerError(f"a worker ended by itself: {error}") from error
    finally:
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    logging.getLogger().setLevel(logging.WARNING)

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run(plan: Plan, key: RunKey) -> dict[str, Any]:
    global _bench
    with quick_cpu():
        _bench = _bench or Bench(plan)
        try:
            return _bench.run(key)
        except Exception as error:
            # One variant that the nodes refuse must not cost a night of others. Without this machine's folders.
            text = f"{type(error).__name__}: {error}".replace(str(REPO), ".").replace(str(Path.home()), "~")
            return {"variant": key.variant, "reference": key.reference, "seed": key.seed, "error": text}
