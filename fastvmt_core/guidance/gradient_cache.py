"""Step-skipping: when to recompute the gradient, and which one to apply in between (FastVMT section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import AdaptiveInterval, GuidanceConfig


@dataclass
class GradientCacheState:
    """What the cache remembers within one guided step."""

    interval: int
    """Inner steps that the present gradient serves, the one that computed it included."""
    served: int = 0
    """Inner steps that it has served."""
    gradient: Tensor | None = None
    """The last evaluated gradient."""
    loss: float | None = None
    """The loss that it was taken from."""
    cosine: float | None = None
    """Cosine between the last two evaluated gradients."""


class GradientCache:
    """Gives the last evaluated gradient until its interval is over.

    With a fixed interval Delta, J inner steps take ceil(J / Delta) gradient evaluations. Adaptive: the interval
    starts at its shortest, grows by one inner step each time that two evaluated gradients in a row agree and the loss
    fell, and falls back to its shortest otherwise.

    Args:
        interval: Delta, inner steps.
        adaptive: bounds and threshold that replace the fixed interval.
    """

    def __init__(self, interval: int, adaptive: AdaptiveInterval | None = None) -> None:
        self._first_interval = interval if adaptive is None else adaptive.shortest
        self._adaptive = adaptive
        self.reset()

    @classmethod
    def of(cls, config: GuidanceConfig) -> GradientCache:
        """The cache that `config` asks for."""
        return cls(config.gradient_interval, config.adaptive)

    def reset(self) -> None:
        """Forget everything: the state is as after construction."""
        self.state = GradientCacheState(interval=self._first_interval)

    @property
    def must_recompute(self) -> bool:
        """Whether this inner step needs a fresh gradient."""
        return self.state.gradient is None or self.state.served >= self.state.interval

    def store(self, gradient: Tensor, loss: float) -> None:
        """Take a fresh gradient and the loss it came from; the next `apply` serves it for the first time."""
        before = self.state
        cosine = None if before.gradient is None else _cosine(before.gradient, gradient)
        interval = self._next_interval(cosine, before.loss is None or loss < before.loss)
        self.state = GradientCacheState(interval, gradient=gradient, loss=loss, cosine=cosine)

    def apply(self) -> Tensor:
        """The gradient for this inner step.

        Raises:
            ValueError: no gradient was stored since the last reset.
        """
        if self.state.gradient is None:
            raise ValueError("gradient cache: expected a gradient, got none; store one when must_recompute is true.")
        self.state.served += 1
        return self.state.gradient

    def _next_interval(self, cosine: float | None, loss_fell: bool) -> int:
        if self._adaptive is None or cosine is None:
            return self._first_interval
        if cosine >= self._adaptive.cosine and loss_fell:
            return min(self.state.interval + 1, self._adaptive.longest)
        return self._adaptive.shortest


def _cosine(first: Tensor, second: Tensor) -> float:
    return float(torch.cosine_similarity(first.flatten(), second.flatten(), dim=0))
