"""Update rules: how a gradient moves the latent in one inner step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from ..config import GuidanceConfig, Optimizer
from .gradient_cache import GradientCache
from .gradient_source import Gradient
from .schedule import inner_learning_rates

POLYAK_FACTOR = 2.0
"""eta at most. The loss is a sum of squares, so that twice the step to the zero of its linearisation lands near the
minimum; more would leave it behind."""
LARGEST_POLYAK_RMS = 0.6
"""Of one step of a clip, latent units (pure noise has 1); where the gradient nearly vanishes, the step has no bound."""


class UpdateRule(Protocol):
    """The optimizer of one guided step."""

    rates: list[float]
    """The factor of each inner step: AdamW's learning rate, Polyak's eta."""
    gradient: Tensor | None
    """The gradient that is applied now."""
    cosine: float | None
    """Between the last two fresh gradients."""
    needs_gradient: bool
    """Whether the next inner step wants a fresh gradient."""

    def store(self, gradient: Gradient) -> None:
        """Take a fresh gradient."""
        ...

    def step(self, rate: float) -> None:
        """Move the point in place."""
        ...


class AdamW:
    """AdamW without weight decay, which applies a gradient again until its interval is over (FastVMT section 4).

    Args:
        point: moved in place.
        config: learning rates and interval.
        weight: the schedule's factor at this guided step.
        share: in [0, 1], of each step that each value takes. The loss alone does not confine a step: AdamW moves what
            has a gradient, however small, at the full rate.
    """

    def __init__(self, point: Tensor, config: GuidanceConfig, weight: float, share: Tensor | None) -> None:
        self.rates = inner_learning_rates(config, weight)
        self._cache = GradientCache.of(config)
        self._point, self._share = point, share
        self._optimizer = torch.optim.AdamW([point], lr=self.rates[0], weight_decay=0)

    @property
    def needs_gradient(self) -> bool:
        return self._cache.must_recompute

    @property
    def gradient(self) -> Tensor | None:
        return self._cache.state.gradient

    @property
    def cosine(self) -> float | None:
        return self._cache.state.cosine

    def store(self, gradient: Gradient) -> None:
        self._cache.store(gradient.value, gradient.loss)

    def step(self, rate: float) -> None:
        self._optimizer.param_groups[0]["lr"] = rate
        self._point.grad = self._cache.apply()
        before = None if self._share is None else self._point.detach().clone()
        self._optimizer.step()
        if before is not None:
            with torch.no_grad():
                self._point.copy_(torch.lerp(before, self._point, self._share))


class Polyak:
    """The Polyak step, x - eta L / ||g||^2 g for each clip, which has no learning rate; every gradient is a fresh one.

    L is the part of the loss that can fall to 0 (`MotionLoss.reducible`), g the gradient of the whole. Where each value
    takes a share s of the step, the movement is along s g and the denominator is g.(s g): to first order the loss falls
    by as much as without.

    Args: as for `AdamW`; of the configuration only inner_steps and strength count.

    Source: Polyak, Introduction to Optimization (1987), section 5.3, with the least value known to be 0.
    """

    needs_gradient = True
    cosine = None

    def __init__(self, point: Tensor, config: GuidanceConfig, weight: float, share: Tensor | None) -> None:
        self.rates = [POLYAK_FACTOR * min(1.0, config.strength * weight)] * config.inner_steps
        self._point, self._share = point, share
        self.gradient: Tensor | None = None
        self._reducible: Tensor | None = None

    def store(self, gradient: Gradient) -> None:
        self.gradient, self._reducible = gradient.value, gradient.reducible

    def step(self, rate: float) -> None:
        # The loss is the mean over the clips, so that each clip's own gradient is as many times larger.
        clips = len(self._reducible)
        own = (self.gradient * clips).reshape(clips, -1)
        share = 1.0 if self._share is None else self._share.expand_as(self.gradient).reshape(clips, -1)
        movement = share * own
        fall = (movement * own).sum(1, keepdim=True)
        length = rate * self._reducible.to(own).unsqueeze(1) / fall
        movement = movement * torch.where(fall > 0, length, 0)
        # Over what may move, and weaker with a weaker step.
        values = own.shape[1] if self._share is None else share.sum(1, keepdim=True).clamp(min=1)
        rms = (movement.square().sum(1, keepdim=True) / values).sqrt()
        largest = LARGEST_POLYAK_RMS * rate / POLYAK_FACTOR
        movement = movement * (largest / rms.clamp(min=largest))
        with torch.no_grad():
            self._point.sub_(movement.reshape(self._point.shape))


UPDATE_RULES: Mapping[Optimizer, Callable[[Tensor, GuidanceConfig, float, Tensor | None], UpdateRule]] = (
    MappingProxyType({"adamw": AdamW, "polyak": Polyak})
)
"""By `GuidanceConfig.optimizer`."""
