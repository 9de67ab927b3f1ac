"""The inner loop of one guided step: AdamW on the latent, with step-skipping (FastVMT section 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..config import GuidanceConfig
from ..objectives.fastvmt import MotionLoss
from .gradient_cache import GradientCache
from .schedule import inner_learning_rates

LossFunction = Callable[[Tensor], MotionLoss]
Attempt = Callable[[Callable[[], Any]], Any]
"""Calls a function and returns what it returns; may call it again where it raised."""

_FIRST_LOSS_SCALE = 2.0**16
"""Half-precision gradients of a mean over tokens underflow without it; a power of two changes no other bit."""
_LEAST_LOSS_SCALE, _SMALLER = 2.0**-4, 2.0**5
"""Down to where the scale falls, and by how much each time, where the gradient is not finite."""


@dataclass
class LossScale:
    """What a loss is multiplied by before its backward; falls where gradients overflow, and stays there."""

    value: float = _FIRST_LOSS_SCALE


@dataclass(frozen=True)
class InnerStep:
    """One inner step, as logged."""

    loss: float | None
    """Total loss; None where a cached gradient was applied, because nothing was evaluated."""
    amf: float | None
    """L_AMF, likewise."""
    consistency: float | None
    """L_window, likewise."""
    fresh: bool
    """Whether the gradient was computed in this step."""
    gradient_norm: float
    """L2 norm of the gradient that was applied."""
    cosine: float | None
    """Cosine between this true gradient and the one before; None for cached steps and the first."""
    learning_rate: float
    """Learning rate that was applied, latent units a step."""
    retried: bool = False
    """Whether the gradient came from the float32 retry."""


@dataclass(frozen=True)
class GuidanceLog:
    """What happened in one guided step."""

    steps: tuple[InnerStep, ...] = ()
    stopped: str | None = None
    """Why guidance of this step ended early; None where it did not."""

    @property
    def gradient_evaluations(self) -> int:
        """Inner steps with a true gradient."""
        return sum(step.fresh for step in self.steps)

    @property
    def losses(self) -> list[float | None]:
        """Total loss of each inner step; None where cached."""
        return [step.loss for step in self.steps]


def optimize_latent(
    latent: Tensor,
    loss_fn: LossFunction,
    config: GuidanceConfig,
    step_weight: float = 1.0,
    on_inner_step: Callable[[InnerStep], None] | None = None,
    *,
    retry_loss_fn: LossFunction | None = None,
    attempt: Attempt | None = None,
    scale: LossScale | None = None,
    where: Tensor | None = None,
) -> tuple[Tensor, GuidanceLog]:
    """Move the latent of one guided step towards the reference's motion.

    Args:
        latent: any shape, any floating-point dtype, model space; it is not changed. It is optimised in float32
            (float64 stays) by a new AdamW without weight decay.
        loss_fn: the loss of a latent of that shape, in the optimised dtype. Called under autograd, outside inference
            mode; tensors made under inference mode that it closes over are the caller's to replace.
        config: inner steps, learning rates, gradient interval, strength.
        step_weight: the schedule's factor on the learning rate at this guided step.
        on_inner_step: called after each inner step; what it raises ends the optimisation.
        retry_loss_fn: the same loss with a float32 forward, asked once where `loss_fn` gives no finite gradient.
        attempt: runs each evaluation of the gradient; the place to make room and try again when memory runs out.
        where: in [0, 1], broadcastable to the latent: the share of each step that each of its numbers takes. The loss
            alone does not confine a step: AdamW moves what has a gradient, however small, at the full rate.
        scale: of the loss, to be handed to the next guided step too, so that what one learns the next need not.

    Returns:
        The latent in its own dtype, and the log. A gradient that is not finite is never applied: where the retry fails
        too (or there is none), guidance of this step stops and the log says so. A learning rate of 0 evaluates nothing.

    Raises:
        ValueError: the latent is not floating-point or not finite, or the loss does not depend on it.
    """
    _require_latent(latent)
    rates = inner_learning_rates(config, step_weight)
    if not any(rates):
        return latent.clone(), GuidanceLog()
    with torch.inference_mode(False), torch.enable_grad():
        dtype = torch.float64 if latent.dtype == torch.float64 else torch.float32
        point = latent.detach().to(dtype, copy=True).requires_grad_(True)
        evaluate = _Evaluator(loss_fn, retry_loss_fn, attempt, scale or LossScale())
        where = None if where is None else where.to(point.detach())
        log = _inner_loop(point, evaluate, GradientCache.of(config), rates, on_inner_step, where)
        return point.detach().to(latent.dtype), log


def _require_latent(latent: Tensor) -> None:
    if not latent.is_floating_point():
        raise ValueError(f"latent: expected a floating-point dtype, got {latent.dtype}.")
    if not bool(torch.isfinite(latent).all()):
        raise ValueError("latent: expected finite numbers, got NaN or infinity; an earlier step already broke it.")


def _inner_loop(
    point: Tensor,
    evaluate: _Evaluator,
    cache: GradientCache,
    rates: list[float],
    on_inner_step: Callable[[InnerStep], None] | None,
    where: Tensor | None,
) -> GuidanceLog:
    optimizer = torch.optim.AdamW([point], lr=rates[0], weight_decay=0)
    steps: list[InnerStep] = []
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        fresh = None
        if cache.must_recompute:
            fresh = evaluate(point)
            if fresh is None:
                reason = f"inner step {len(steps)}: the gradient is not finite, in the float32 retry too"
                reason = reason if evaluate.can_retry else f"inner step {len(steps)}: the gradient is not finite"
                return GuidanceLog(tuple(steps), reason)
            cache.store(fresh.gradient, fresh.loss)
        point.grad = cache.apply()
        before = None if where is None else point.detach().clone()
        optimizer.step()
        if before is not None:
            with torch.no_grad():
                point.copy_(torch.lerp(before, point, where))
        steps.append(_logged(fresh, cache, rate))
        if on_inner_step is not None:
            on_inner_step(steps[-1])
    return GuidanceLog(tuple(steps))


def _logged(fresh: _Evaluation | None, cache: GradientCache, rate: float) -> InnerStep:
    norm = float(torch.linalg.vector_norm(cache.state.gradient))
    if fresh is None:
        return InnerStep(None, None, None, False, norm, None, rate)
    return InnerStep(fresh.loss, fresh.amf, fresh.consistency, True, norm, cache.state.cosine, rate, fresh.retried)


@dataclass(frozen=True)
class _Evaluation:
    """A finite gradient and the losses it came from."""

    gradient: Tensor
    loss: float
    amf: float
    consistency: float
    retried: bool


class _Evaluator:
    """Takes true gradients by a loss scale that the host's precision bears."""

    def __init__(
        self, loss_fn: LossFunction, retry_loss_fn: LossFunction | None, attempt: Attempt | None, scale: LossScale
    ) -> None:
        self._loss_fn = loss_fn
        self._retry_loss_fn = retry_loss_fn
        self._attempt = attempt or (lambda evaluate: evaluate())
        self._scale = scale

    @property
    def can_retry(self) -> bool:
        """Whether there is a float32 forward to fall back to."""
        return self._retry_loss_fn is not None

    def __call__(self, point: Tensor) -> _Evaluation | None:
        """The true gradient at `point`, or None where it is not finite."""
        return self._attempt(lambda: self._evaluate(point))

    def _evaluate(self, point: Tensor) -> _Evaluation | None:
        scale = self._scale.value
        while scale >= _LEAST_LOSS_SCALE:
            loss = self._loss_fn(point)
            if not bool(torch.isfinite(loss.total)):
                break
            found = _gradient(point, loss, scale, retried=False)
            if found is not None:
                # Only a scale that helped is kept: where none did, it was not the scale.
                self._scale.value = scale
                return found
            scale /= _SMALLER
        if self._retry_loss_fn is None:
            return None
        # The graph that failed is let go before a larger one is built.
        loss = None
        loss = self._retry_loss_fn(point)
        return _gradient(point, loss, 1.0, retried=True)


def _gradient(point: Tensor, loss: MotionLoss, scale: float, retried: bool) -> _Evaluation | None:
    """The unscaled gradient of a scaled loss, or None where it is not finite."""
    if not loss.total.requires_grad:
        raise ValueError(
            "loss_fn: expected a loss that depends on the latent through autograd, got a constant; the forward "
            "detached its input or ran without gradients."
        )
    (gradient,) = torch.autograd.grad(loss.total * scale, point)
    gradient = gradient / scale
    if not bool(torch.isfinite(gradient).all() & torch.isfinite(loss.total)):
        return None
    return _Evaluation(gradient, *(float(part.detach()) for part in (loss.total, loss.amf, loss.consistency)), retried)
