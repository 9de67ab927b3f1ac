"""Waits that follow progress: they go on while something moves, however slow the machine, and end when nothing does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar
from urllib.parse import urlsplit

from tools.host.processes import cpu_seconds, listener

Result = TypeVar("Result")
Sign = Callable[[], object]
"""A value that changes while there is progress."""

QUIET_SECONDS = 120.0
CHECKS = 60
CPU_STEP = 1.0
"""CPU seconds that count as progress. A server that waits for work uses less than that in ``QUIET_SECONDS``; one that
works uses more, even with many other programs beside it."""


class StalledError(TimeoutError):
    """A wait in which nothing has moved for a long time."""


class Patience:
    """Decides when a wait has become hopeless: once nothing has moved for ``quiet`` seconds.

    Movement is a call of ``moved``, or another value of one of ``signs``. Whoever waits calls ``start`` once and
    ``check`` again and again. ``checks`` of them without movement are needed too: a program that was itself stopped or
    starved has not checked, and may not conclude from its clock that nothing moved.
    """

    def __init__(
        self,
        signs: Iterable[Sign] = (),
        quiet: float = QUIET_SECONDS,
        checks: int = CHECKS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signs = tuple(signs)
        self._quiet = quiet
        self._checks = checks
        self._clock = clock
        self.start("anything")

    def start(self, awaited: str) -> None:
        """Begin a wait; ``awaited`` names its end in the error."""
        self._awaited = awaited
        self._seen = self._values()
        self.moved()

    def moved(self) -> None:
        """Note progress."""
        self._since = self._clock()
        self._checked = 0

    def check(self) -> None:
        """Look at the signs. Raises StalledError if nothing has moved for long."""
        values = self._values()
        if values != self._seen:
            self._seen = values
            self.moved()
            return
        self._checked += 1
        quiet = self._clock() - self._since
        if quiet >= self._quiet and self._checked >= self._checks:
            raise StalledError(f"waited for {self._awaited}: nothing has moved for {quiet:.0f} s")

    def during(self, awaited: str, call: Callable[[], Result], every: float = 1.0) -> Result:
        """The result of ``call``, or its error. It runs in a thread, which is left alone if the wait is given up.

        Raises:
            StalledError: nothing has moved for long, and ``call`` has not returned.
        """
        results: list[Result] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(call())
            except BaseException as error:  # noqa: BLE001  (raised again below, in the thread that waits)
                errors.append(error)

        self.start(awaited)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(every)
            if thread.is_alive():
                self.check()
        if errors:
            raise errors[0]
        return results[0]

    def _values(self) -> tuple[object, ...]:
        return tuple(sign() for sign in self._signs)


def cpu_sign(pid: Callable[[], int | None]) -> Sign:
    """A sign that changes with each ``CPU_STEP`` seconds of CPU time that a process and its children use."""
    return lambda: int(cpu_seconds(pid()) / CPU_STEP)


def server_sign(url: str) -> Sign:
    """The ``cpu_sign`` of the server at ``url``, if it runs on this machine; otherwise a sign that never changes."""
    known: list[int] = []

    def pid() -> int | None:
        if not known and (process := listener(urlsplit(url).port or 80)) is not None:
            known.append(process)
        return known[0] if known else None

    return cpu_sign(pid)
