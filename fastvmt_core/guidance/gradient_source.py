"""Gradients of a loss that never come back broken: the loss's scale, the float32 retry, room in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..objectives.protocol import MotionLoss

LossFunction = Callable[[Tensor], MotionLoss]
"""The loss of a latent, differentiable in it."""
Attempt = Callable[[Callable[[], Any]], Any]
"""Calls a function and returns what it returns; may call it again where it raised."""

FIRST_LOSS_SCALE = 2.0**16
"""Half-precision gradients of a mean over tokens underflow without it; a power of two changes no other bit."""
LEAST_LOSS_SCALE, SCALE_DIVISOR = 2.0**-4, 2.0**5
"""How far the scale falls, and by what factor each time."""


@dataclass
class LossScale:
    """What a loss is multiplied by before its backward; falls where gradients overflow, and stays there.

    A loss that differentiates its parts by itself reads it while it is evaluated.
    """

    value: float = FIRST_LOSS_SCALE


@dataclass(frozen=True)
class Gradient:
    """A finite gradient and the loss that it was taken from."""

    value: Tensor
    loss: float
    """Total loss."""
    terms: dict[str, float]
    """Each term before its weight."""
    reducible: Tensor
    """(clips,), of each clip the part of its loss that can fall to 0."""
    retried: bool
    """Whether it came from the float32 retry."""


@dataclass(frozen=True)
class GradientSource:
    """Evaluates gradients of a loss. What follows a failure:

    | failure | what follows |
    | --- | --- |
    | the loss is finite, its gradient is not | once more with the loss scale divided by 32, down to 1/16 |
    | the loss is not finite, or no scale helped | `retry_loss`, the same loss by a float32 forward, once |
    | that is not finite either, or there is none | None: the caller ends guidance of this step |
    | an exception | `attempt` decides: it may make room in memory and call again |
    """

    loss: LossFunction
    retry_loss: LossFunction | None = None
    attempt: Attempt | None = None
    scale: LossScale = field(default_factory=LossScale)
    """To be handed to the next guided step too, so that it need not learn the scale again."""

    def evaluate(self, point: Tensor) -> Gradient | None:
        """The gradient at `point`, or None where it is not finite.

        Raises:
            ValueError: the loss does not depend on the point.
        """
        if self.attempt is None:
            return self._evaluate(point)
        return self.attempt(lambda: self._evaluate(point))

    def _evaluate(self, point: Tensor) -> Gradient | None:
        before = self.scale.value
        while self.scale.value >= LEAST_LOSS_SCALE:
            loss = self.loss(point)
            if not bool(torch.isfinite(loss.total)):
                break
            gradient = _gradient(point, loss, self.scale.value, retried=False)
            if gradient is not None:
                return gradient
            self.scale.value /= SCALE_DIVISOR
        # Only a scale that helped is kept: where none did, it was not the scale.
        self.scale.value = before
        if self.retry_loss is None:
            return None
        # The graph that failed is let go before a larger one is built.
        loss = None
        loss = self.retry_loss(point)
        return _gradient(point, loss, scale=1.0, retried=True)


def _gradient(point: Tensor, loss: MotionLoss, scale: float, retried: bool) -> Gradient | None:
    """The unscaled gradient of a scaled loss, or None where it is not finite."""
    if not loss.total.requires_grad:
        raise ValueError(
            "loss: expected one that depends on the latent through autograd, got a constant; the forward pass detached "
            "its input or ran without gradients."
        )
    (gradient,) = torch.autograd.grad(loss.total * scale, point)
    gradient = gradient / scale
    finite = torch.isfinite(gradient).all() & torch.isfinite(loss.total)
    # Together, as a card is waited for at each number that is read.
    finite, total, *terms = torch.stack([finite.to(loss.total), loss.total, *loss.terms.values()]).cpu().tolist()
    if not finite:
        return None
    return Gradient(gradient, total, dict(zip(loss.terms, terms, strict=True)), loss.clips_reducible.detach(), retried)
