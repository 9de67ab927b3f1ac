"""Seconds of a guided run: estimated before it starts from counted work and a timed device, then what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from .memory import GuidedPass, MemoryPlan

ATTENTION_BACKWARD = 2.5
"""Times the work of attention's forward: its backward computes the scores again and makes four products of them."""
_SAMPLE = {"cpu": 128}
_SAMPLE_ELSEWHERE = 4096
"""Tokens that the device is timed at: enough to fill it, few enough to take no time."""


@dataclass(frozen=True)
class Rates:
    """What a device does in a second, FLOP."""

    product: float
    """At the linear layers' products."""
    attention: float
    """At attention over all the tokens."""


def measured_rates(sizes: GuidedPass, device: torch.device, dtype: torch.dtype) -> Rates:
    """Time a linear layer and one attention head of a pass on a device; takes milliseconds and little memory."""
    count = min(sizes.tokens, _SAMPLE.get(device.type, _SAMPLE_ELSEWHERE))

    def filled(*shape: int) -> Tensor:
        # Not drawn: the random numbers belong to the run.
        return torch.full(shape, 0.5, device=device, dtype=dtype)

    with torch.no_grad():
        rows, weight = filled(count, sizes.dim), filled(sizes.dim, sizes.dim)
        product = _seconds(lambda: rows @ weight, device)
        queries, keys = filled(1, 1, count, sizes.head_dim), filled(1, 1, sizes.tokens, sizes.head_dim)
        attention = _seconds(lambda: scaled_dot_product_attention(queries, keys, keys), device)
    return Rates(2 * count * sizes.dim**2 / product, 4 * count * sizes.tokens * sizes.head_dim / attention)


def block_flop(sizes: GuidedPass) -> tuple[float, float]:
    """FLOP of one block's forward: its linear layers (q, k, v, o, the prompt's q and o, feed-forward) and attention."""
    linear = 2.0 * sizes.tokens * (6 * sizes.dim**2 + 2 * sizes.dim * sizes.ffn_dim)
    return sizes.batch * linear, sizes.batch * 4.0 * sizes.tokens**2 * sizes.dim


def run_seconds(
    sizes: GuidedPass,
    plan: MemoryPlan,
    rates: Rates,
    gradients: int,
    evaluations: int,
    depth: int,
    half: GuidedPass | None = None,
    half_gradients: int = 0,
) -> float:
    """Seconds of a whole guided run.

    Args:
        sizes: of the guided pass at the latent's own size.
        plan: which of a pass's blocks are computed twice.
        rates: of the device.
        gradients: passes forward and backward through `sizes.blocks` blocks.
        evaluations: ordinary passes of the model, two a step with CFG.
        depth: blocks of the whole model.
        half: of the guided pass at half the latent's height and width; None where there is none.
        half_gradients: such passes.
    """
    gradient = gradients * _gradient_seconds(sizes, plan, rates)
    if half is not None:
        gradient += half_gradients * _gradient_seconds(half, plan, rates)
    return gradient + evaluations * _with_side_blocks(sizes) * depth * _forward_seconds(sizes, rates)


def _gradient_seconds(sizes: GuidedPass, plan: MemoryPlan, rates: Rates) -> float:
    linear, attention = block_flop(sizes)
    forward = _forward_seconds(sizes, rates)
    backward = linear / rates.product + ATTENTION_BACKWARD * attention / rates.attention
    return _with_side_blocks(sizes) * (sizes.blocks * (forward + backward) + plan.recomputed * forward)


def _forward_seconds(sizes: GuidedPass, rates: Rates) -> float:
    """Of one block."""
    linear, attention = block_flop(sizes)
    return linear / rates.product + attention / rates.attention


def _with_side_blocks(sizes: GuidedPass) -> float:
    return 1 + (sizes.side_blocks / sizes.blocks if sizes.blocks else 0.0)


class TimeLeft:
    """Seconds left of a run whose steps are of two kinds: guided first and then denoised, or only denoised.

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
        """Seconds left, rounded to tenths; None until one step of the run is done."""
        if self._step is None or not self._denoising_seconds:
            return None
        spent = self._clock() - self._since
        denoising, guidance = _mean(self._denoising_seconds), _mean(self._guidance_seconds)
        later = range(self._step + 1, self._steps)
        left = len(later) * denoising + sum(step in self._guided for step in later) * guidance
        present = denoising - spent
        if self._in_guidance:
            share = self._inner_done / self._inner_steps
            present = denoising + (spent * (1 - share) / share if share else guidance - spent)
        return round(left + max(0.0, present), 1)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of `work`: the better of two runs after a first one that warms up."""
    times = []
    for _ in range(3):
        _wait(device)
        since = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - since)
    return max(min(times[1:]), 1e-9)


def _wait(device: torch.device) -> None:
    """Until the device has done what it was given: accelerators work while the program goes on."""
    synchronize = getattr(getattr(torch, device.type, None), "synchronize", None)
    if synchronize is not None:
        # Apple's takes none, for there is one device of it.
        synchronize(*() if device.type == "mps" else (device,))


def _mean(seconds: list[float]) -> float:
    return sum(seconds) / len(seconds) if seconds else 0.0
