"""How long a guided run will take, before it starts: its arithmetic counted, and the device timed at a little of it."""

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
HEAD_DIM = 128
"""Channels of one attention head, in every Wan."""
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
        asked, keys = filled(1, 1, count, HEAD_DIM), filled(1, 1, sizes.tokens, HEAD_DIM)
        attention = _seconds(lambda: scaled_dot_product_attention(asked, keys, keys), device)
    return Rates(2 * count * sizes.dim**2 / product, 4 * count * sizes.tokens * HEAD_DIM / attention)


def block_flop(sizes: GuidedPass) -> tuple[float, float]:
    """FLOP of one block's forward: its linear layers (q, k, v, o, the prompt's q and o, feed-forward) and attention."""
    linear = 2.0 * sizes.tokens * (6 * sizes.dim**2 + 2 * sizes.dim * sizes.ffn_dim)
    return sizes.batch * linear, sizes.batch * 4.0 * sizes.tokens**2 * sizes.dim


def run_seconds(
    sizes: GuidedPass, plan: MemoryPlan, rates: Rates, gradients: int, evaluations: int, depth: int
) -> float:
    """Seconds of a whole guided run.

    Args:
        sizes: of the guided pass.
        plan: which of its blocks are computed twice.
        rates: of the device.
        gradients: passes forward and backward through `sizes.blocks` blocks.
        evaluations: ordinary passes of the model, two a step with CFG.
        depth: blocks of the whole model.
    """
    linear, attention = block_flop(sizes)
    linear, attention = linear / rates.product, attention / rates.attention
    forward, backward = linear + attention, linear + ATTENTION_BACKWARD * attention
    share = 1 + (sizes.side_blocks / sizes.blocks if sizes.blocks else 0.0)
    gradient = share * (sizes.blocks * (forward + backward) + plan.recomputed * forward)
    return gradients * gradient + evaluations * share * depth * forward


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of `work`, the better of two after a first that warms up."""
    found = []
    for _ in range(3):
        _wait(device)
        since = time.perf_counter()
        work()
        _wait(device)
        found.append(time.perf_counter() - since)
    return max(min(found[1:]), 1e-9)


def _wait(device: torch.device) -> None:
    """Until the device has done what it was given: accelerators work while the program goes on."""
    synchronize = getattr(getattr(torch, device.type, None), "synchronize", None)
    if synchronize is not None:
        synchronize()
