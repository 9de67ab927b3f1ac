"""Which task a free worker gets. Pure: no clock, no Ray; the driver and the simulation run this same code.

Workers pull: one that is slow asks less often, and holds nobody up. A motion is a task of its own, done once; the jobs
that need it wait for it. A worker stays with the motions that it has while there are jobs for them.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

Needs = tuple[str, ...]
"""Keys of the motions that a job uses."""
ATTEMPTS = 2


@dataclass(frozen=True)
class Task:
    """One attempt: ``identity`` is a motion's key, or a job's name."""

    identity: str
    is_motion: bool
    attempt: int = 1


class Scheduler:
    """Hands out ``jobs``, each a name and the motions that it needs; ``ready`` are the motions that exist.

    A task that fails is tried once more, by another worker if one is free first, and then set aside with its error.
    ``set_aside`` are the errors of jobs and motions by their name; a job whose motion is set aside goes with it.
    """

    def __init__(
        self, jobs: Iterable[tuple[str, Needs]], ready: Collection[str] = (), attempts: int = ATTEMPTS
    ) -> None:
        self._attempts = attempts
        self._needs: dict[str, Needs] = {}
        self._missing: dict[str, set[str]] = {}
        self._waiting: dict[str, list[str]] = {}
        self._motions: deque[str] = deque()
        self._groups: dict[Needs, deque[str]] = defaultdict(deque)
        self._rotation: deque[Needs] = deque()
        self._retries: deque[tuple[Task, str]] = deque()
        self._last: dict[str, Needs] = {}
        self.running: dict[str, Task] = {}
        self.set_aside: dict[str, str] = {}
        self.done = 0
        self.failed = 0
        for name, needs in jobs:
            self._add(name, needs, ready)
        self.total = len(self._needs)

    def _add(self, name: str, needs: Needs, ready: Collection[str]) -> None:
        self._needs[name] = needs
        missing = {key for key in needs if key not in ready}
        for key in needs:
            if key in missing and key not in self._waiting:
                self._waiting[key] = []
                self._motions.append(key)
        for key in missing:
            self._waiting[key].append(name)
        if missing:
            self._missing[name] = missing
        else:
            self._offer(name)

    @property
    def over(self) -> bool:
        """Whether every job is done or set aside."""
        return self.done + self.failed == self.total

    def next(self, worker: str) -> Task | None:
        """The task for a free worker; None while there is none for it."""
        assert worker not in self.running, f"{worker} is at work"
        task = (
            self._retry(worker, others_alone=True)
            or self._job(self._last.get(worker))
            or self._motion()
            or self._job(self._turn())
            or self._retry(worker, others_alone=False)
        )
        if task is not None:
            self.running[worker] = task
            if not task.is_motion:
                self._last[worker] = self._needs[task.identity]
        return task

    def finish(self, worker: str) -> None:
        """Note that a worker's task is done."""
        task = self.running.pop(worker)
        if not task.is_motion:
            self.done += 1
            return
        names = self._waiting.pop(task.identity)
        self._last[worker] = self._needs[names[0]]
        for name in names:
            self._missing[name].discard(task.identity)
            if not self._missing[name] and name not in self.set_aside:
                del self._missing[name]
                self._offer(name)

    def fail(self, worker: str, error: str) -> bool:
        """Note that a worker's task has failed; True if it will be tried again."""
        task = self.running.pop(worker)
        if task.attempt < self._attempts:
            self._retries.append((Task(task.identity, task.is_motion, task.attempt + 1), worker))
            return True
        self.set_aside[task.identity] = error
        if not task.is_motion:
            self.failed += 1
            return False
        for name in self._waiting.pop(task.identity):
            if name not in self.set_aside:
                self.set_aside[name] = f"its motion could not be extracted: {error}"
                self.failed += 1
        return False

    def leave(self, worker: str, error: str) -> bool | None:
        """Forget a worker that is gone. Its task has failed: as for ``fail``; None if it had none."""
        self._last.pop(worker, None)
        return self.fail(worker, error) if worker in self.running else None

    def _offer(self, name: str) -> None:
        needs = self._needs[name]
        if not self._groups[needs]:
            self._rotation.append(needs)
        self._groups[needs].append(name)

    def _turn(self) -> Needs | None:
        """The next group of jobs, in turn: workers spread over the motions."""
        while self._rotation:
            needs = self._rotation.popleft()
            if self._groups[needs]:
                self._rotation.append(needs)
                return needs
        return None

    def _job(self, needs: Needs | None) -> Task | None:
        group = None if needs is None else self._groups[needs]
        return Task(group.popleft(), False) if group else None

    def _motion(self) -> Task | None:
        return Task(self._motions.popleft(), True) if self._motions else None

    def _retry(self, worker: str, others_alone: bool) -> Task | None:
        for place, (task, failed_at) in enumerate(self._retries):
            if not others_alone or failed_at != worker:
                del self._retries[place]
                return task
        return None
