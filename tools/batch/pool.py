"""Workers on Ray, the only file that imports it: an actor for each box, files through the object store."""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol

from tools.batch.worker import Order, Result

KEPT_FILES = 64
"""Files kept in Ray's object store for boxes that come to need them; others are put there again when asked for."""
STOP_SECONDS = 20.0

for _variable, _value in (
    ("RAY_USAGE_STATS_ENABLED", "0"),
    # A cluster of Ray's own making asks for its token, and whoever joins has to be willing to show it.
    ("RAY_AUTH_MODE", "token"),
    # Ray would run workers at priority 15, behind everything else on the machine: the ComfyUIs too.
    ("RAY_worker_niceness", "0"),
):
    os.environ.setdefault(_variable, _value)


class PoolError(RuntimeError):
    """Ray is missing, or the cluster cannot hold a single worker; the message says what to do."""


class BoxLike(Protocol):
    """What a worker runs orders on: see ``tools.batch.worker.Box``."""

    def start(self) -> None: ...
    def run(self, order: Order) -> Result: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class Share:
    """What each worker takes of a machine. Without any GPU in the cluster, ``gpus`` counts for nothing."""

    gpus: float = 1.0
    cpus: float = 1.0


@dataclass(frozen=True)
class Event:
    """What became of a worker's call: it is up (no result), has run an order (a result), or is lost (an error)."""

    worker: str
    result: Result | None = None
    lost: str | None = None


class Pool:
    """Workers of a Ray cluster at ``address`` ("auto"), or of this machine alone ("local").

    ``box`` makes a worker's box, in the worker's own process. Raises PoolError.
    """

    def __init__(
        self, box: Callable[[], BoxLike], address: str = "local", share: Share | None = None, cpus: int | None = None
    ) -> None:
        self._ray = _ray()
        self._box = box
        self._share = share or Share()
        self._connect(address, cpus)
        self._actors: dict[str, Any] = {}
        self._calls: dict[Any, str] = {}
        self._files: OrderedDict[str, Any] = OrderedDict()
        self._count = 0

    def _connect(self, address: str, cpus: int | None) -> None:
        own = {"num_cpus": cpus, "include_dashboard": False} if address == "local" else {}
        try:
            self._ray.init(address=address, log_to_driver=False, logging_level="error", **own)
        except ConnectionError as error:
            start = "start one by: ray start --head"
            raise PoolError(f"--address {address}: no Ray cluster was found ({error}); {start}") from None
        except Exception as error:  # noqa: BLE001  (Ray has no class for it)
            # Ray gives its processes 30 seconds, which a machine that is busy with other work may not keep.
            raise PoolError(
                f"--address {address}: Ray did not start; try again, or free the machine: {error}"
            ) from error

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def capacity(self) -> int:
        """How many workers the cluster's machines can hold now."""
        alive = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        with_gpus = self._share.gpus > 0 and any(node.get("GPU") for node in alive)
        return sum(self._fits(node, with_gpus) for node in alive)

    def _fits(self, node: dict[str, float], with_gpus: bool) -> int:
        fits = math.floor(node.get("CPU", 0) / self._share.cpus) if self._share.cpus else math.inf
        if with_gpus:
            fits = min(fits, math.floor(node.get("GPU", 0) / self._share.gpus))
        return int(fits) if math.isfinite(fits) else 1

    def start(self) -> str:
        """Ask for one more worker; an Event tells when it is up."""
        with_gpus = self._share.gpus > 0 and self._ray.cluster_resources().get("GPU", 0) > 0
        actor = self._ray.remote(num_cpus=self._share.cpus, num_gpus=self._share.gpus if with_gpus else 0)(_Actor)
        self._count += 1
        worker = f"w{self._count}"
        self._actors[worker] = actor.remote(self._box)
        self._calls[self._actors[worker].start.remote()] = worker
        return worker

    def submit(self, worker: str, order: Order, files: dict[str, Callable[[], bytes]]) -> None:
        """Give a worker an order; ``files``: as ``Order.files``, read here only if they are not in the object store."""
        references = {name: self._reference(name, content) for name, content in files.items()}
        self._calls[self._actors[worker].run.remote(order, references)] = worker

    def _reference(self, name: str, content: Callable[[], bytes]) -> Any:  # noqa: ANN401  (Ray's ObjectRef)
        if name not in self._files:
            self._files[name] = self._ray.put(content())
        self._files.move_to_end(name)
        if len(self._files) > KEPT_FILES:
            self._files.popitem(last=False)
        return self._files[name]

    def wait(self, seconds: float) -> list[Event]:
        """The events since the last call, after ``seconds`` at most."""
        if not self._calls:
            time.sleep(seconds)
            return []
        ended, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=seconds)
        return [self._event(call) for call in ended]

    def _event(self, call: Any) -> Event:  # noqa: ANN401  (Ray's ObjectRef)
        worker = self._calls.pop(call)
        try:
            return Event(worker, result=self._ray.get(call))
        except Exception as error:  # noqa: BLE001  (whatever it is, that box is of no more use)
            self._kill(worker)
            return Event(worker, lost=_reason(error))

    def _kill(self, worker: str) -> None:
        self._ray.kill(self._actors.pop(worker))

    def close(self) -> None:
        """End all workers, those that are idle in order, and leave the cluster."""
        busy = set(self._calls.values())
        stops = [actor.stop.remote() for worker, actor in self._actors.items() if worker not in busy]
        if stops:
            self._ray.wait(stops, num_returns=len(stops), timeout=STOP_SECONDS)
        for worker in list(self._actors):
            self._kill(worker)
        self._ray.shutdown()


class _Actor:
    """A box in a process of Ray's."""

    def __init__(self, box: Callable[[], BoxLike]) -> None:
        self._box = box()

    def start(self) -> None:
        self._box.start()

    def run(self, order: Order, references: dict[str, Any]) -> Result:
        import ray

        files = {name: lambda reference=reference: ray.get(reference) for name, reference in references.items()}
        return self._box.run(replace(order, files=files))

    def stop(self) -> None:
        self._box.stop()


def _reason(error: Exception) -> str:
    """The last line of what Ray tells: the error itself, after a traceback."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"the worker was lost: {lines[-1].strip() if lines else type(error).__name__}"


def _ray() -> Any:  # noqa: ANN401  (a module)
    try:
        import ray
    except ImportError:
        raise PoolError("Ray is missing: python -m pip install -r requirements-cluster.txt") from None
    return ray
