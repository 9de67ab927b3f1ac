"""When the gradient is recomputed: fixed and adaptive intervals, bounds, reset."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastvmt_core.config import AdaptiveInterval, GuidanceConfig
from fastvmt_core.guidance.gradient_cache import GradientCache


def fresh_steps(cache, steps, gradients, losses):
    """Indices of the inner steps that recomputed, with gradient and loss given step by step."""
    fresh = []
    for step in range(steps):
        if cache.must_recompute:
            cache.store(gradients(step), losses(step))
            fresh.append(step)
        cache.apply()
    return fresh


@given(steps=st.integers(1, 25), interval=st.integers(1, 8))
def test_fixed_interval_takes_every_nth(steps, interval):
    fresh = fresh_steps(GradientCache(interval), steps, lambda step: torch.ones(2), lambda step: 1.0)
    assert fresh == list(range(0, steps, interval))
    assert len(fresh) == math.ceil(steps / interval)


def test_it_hands_out_the_last_true_gradient():
    cache = GradientCache(2)
    cache.store(torch.tensor([1.0, 0.0]), 3.0)
    assert cache.apply().tolist() == cache.apply().tolist() == [1, 0]
    assert cache.must_recompute
    cache.store(torch.tensor([1.0, 1.0]), 2.0)
    assert cache.apply().tolist() == [1, 1]
    assert cache.state.cosine == pytest.approx(math.sqrt(0.5))


def test_adaptive_grows_while_gradients_agree_and_the_loss_falls():
    cache = GradientCache(1, AdaptiveInterval(cosine=0.9, shortest=1, longest=3))
    fresh = fresh_steps(cache, 13, lambda step: torch.ones(2), lambda step: -float(step))
    assert fresh == [0, 1, 3, 6, 9, 12]


def test_adaptive_falls_back_when_gradients_disagree_or_the_loss_stalls():
    bounds = AdaptiveInterval(cosine=0.9, shortest=1, longest=5)
    turning = fresh_steps(
        GradientCache(1, bounds),
        8,
        lambda step: torch.tensor([1.0, 0.0] if step < 6 else [0.0, 1.0]),
        lambda step: -float(step),
    )
    assert turning == [0, 1, 3, 6, 7]
    stalling = fresh_steps(GradientCache(1, bounds), 8, lambda step: torch.ones(2), lambda step: -float(min(step, 3)))
    assert stalling == [0, 1, 3, 6, 7]


@given(
    seed=st.integers(0, 99),
    shortest=st.integers(1, 4),
    more=st.integers(0, 4),
    cosine=st.floats(-1, 1, allow_nan=False),
)
def test_adaptive_stays_inside_its_bounds(seed, shortest, more, cosine):
    generator = torch.Generator().manual_seed(seed)
    cache = GradientCache(1, AdaptiveInterval(cosine, shortest, shortest + more))
    gradients = lambda step: torch.randn(3, generator=generator)  # noqa: E731
    fresh = fresh_steps(cache, 30, gradients, lambda step: float(torch.rand((), generator=generator)))
    gaps = [after - before for before, after in zip(fresh[:-1], fresh[1:], strict=True)]
    assert all(shortest <= gap <= shortest + more for gap in gaps)


def test_reset_forgets_everything():
    cache = GradientCache.of(GuidanceConfig(adaptive=AdaptiveInterval(shortest=2, longest=4)))
    for loss in (3.0, 2.0, 1.0):
        cache.store(torch.ones(2), loss)
    assert cache.state.interval == 4
    cache.reset()
    assert (
        cache.must_recompute and cache.state.interval == 2 and cache.state.loss is None and cache.state.cosine is None
    )


def test_applying_nothing_is_refused():
    with pytest.raises(ValueError, match="store one when must_recompute"):
        GradientCache(3).apply()
