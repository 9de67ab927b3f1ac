"""How far a batch is, as a line: done, failed, rate, and the time that is left."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW = 100
"""Ends of jobs that the rate is taken over: the first minutes load models, and boxes come and go."""


@dataclass
class Progress:
    """Counts of a run. ``total`` jobs, ``before`` of them done by earlier runs; times are seconds of any one clock."""

    total: int
    before: int
    started: float
    done: int = 0
    failed: int = 0
    motions: int = 0
    retries: int = 0
    _ends: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW + 1))

    def job_done(self, now: float) -> None:
        """Count a job that ended well."""
        self.done += 1
        self._ends.append(now)

    def per_second(self, now: float) -> float:
        """Jobs a second over the last ``WINDOW`` of them, up to now; 0 before the first end."""
        if not self._ends:
            return 0.0
        whole = len(self._ends) <= WINDOW
        since = self.started if whole else self._ends[0]
        return (len(self._ends) - (not whole)) / max(now - since, 1e-9)

    def eta(self, now: float) -> float | None:
        """Seconds to the end at that rate; None before the first end of a job."""
        left = self.total - self.before - self.done - self.failed
        rate = self.per_second(now)
        return left / rate if rate else (0.0 if not left else None)

    def line(self, now: float, running: int, workers: int) -> str:
        """The line that a person sees."""
        left = self.total - self.before - self.done - self.failed
        rate, eta = self.per_second(now), self.eta(now)
        speed = f"{rate:.1f} jobs/s" if rate >= 1 else f"{rate * 60:.1f} jobs/min"
        parts = [
            f"{self.before + self.done}/{self.total} done",
            f"{running} of {workers} workers at work" if running else f"{workers} workers starting" if left else "",
            speed if rate else "",
            f"ETA {clock(eta)}" if eta is not None else "",
            f"{self.motions} motions extracted" if self.motions else "",
            f"{self.retries} tried again" if self.retries else "",
            f"{self.failed} FAILED" if self.failed else "",
        ]
        return ", ".join(part for part in parts if part)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"
