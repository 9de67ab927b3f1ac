"""How long a guided run still takes, from what its steps took so far."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeLeft:
    """Seconds that are left of a run whose steps are of two kinds: guided first and then denoised, or only denoised.

    Args:
        steps: denoising steps of the run.
        guided: which of them are guided.
        inner_steps: J of each.
        clock: seconds, from any start.
    """

    def __init__(
        self, steps: int, guided: tuple[int, ...], inner_steps: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._steps, self._guided, self._inner_steps, self._clock = steps, frozenset(guided), inner_steps, clock
        self._step: int | None = None
        self._inner_done = 0
        self._in_guidance = False
        self._since = clock()
        self._guidance_seconds: list[float] = []
        self._denoising_seconds: list[float] = []

    def step_begins(self, step: int) -> None:
        """A step begins; the one before it is done."""
        now = self._clock()
        if self._step is not None:
            self._denoising_seconds.append(now - self._since)
        self._step, self._since, self._inner_done, self._in_guidance = step, now, 0, step in self._guided

    def inner_step_done(self) -> None:
        """One inner step of the present guided step is done."""
        self._inner_done += 1

    def guidance_done(self) -> None:
        """The present step has been guided; its denoising begins."""
        now = self._clock()
        self._guidance_seconds.append(now - self._since)
        self._since, self._in_guidance = now, False

    @property
    def seconds(self) -> float | None:
        """Seconds left, rounded to tenths; None until one step of the run is done, since nobody knows before."""
        if self._step is None or not self._denoising_seconds:
            return None
        spent = self._clock() - self._since
        denoising, guidance = _mean(self._denoising_seconds), _mean(self._guidance_seconds)
        later = range(self._step + 1, self._steps)
        left = len(later) * denoising + sum(step in self._guided for step in later) * guidance
        here = denoising - spent
        if self._in_guidance:
            share = self._inner_done / self._inner_steps
            here = denoising + (spent * (1 - share) / share if share else guidance - spent)
        return round(left + max(0.0, here), 1)


def _mean(seconds: list[float]) -> float:
    return sum(seconds) / len(seconds) if seconds else 0.0
