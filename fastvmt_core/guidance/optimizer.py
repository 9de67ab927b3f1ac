"""The inner loop of one guided step: an optimizer on the latent, with step-skipping (FastVMT section 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import GuidanceConfig
from .gradient_source import Attempt, Gradient, GradientSource, LossFunction, LossScale
from .rules import UPDATE_RULES, UpdateRule


@dataclass(frozen=True)
class InnerStep:
    """One optimizer iteration, as logged."""

    loss: float | None
    """Total loss; None where a cached gradient was applied, because nothing was evaluated."""
    terms: dict[str, float] | None
    """Each term of the loss before its weight, likewise."""
    fresh: bool
    """Whether the gradient was evaluated in this step."""
    gradient_norm: float
    """L2 norm of the gradient that was applied."""
    cosine: float | None
    """Cosine between this gradient and the one evaluated before; None for cached steps and the first."""
    learning_rate: float
    """Learning rate that was applied, latent units a step; eta of a Polyak step."""
    step_rms: float = 0.0
    """Root mean square of what the latent moved by, latent units."""
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
        """Inner steps with a fresh gradient."""
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
    step_share: Tensor | None = None,
) -> tuple[Tensor, GuidanceLog]:
    """The latent of one guided step, moved towards the reference's motion, and the log.

    Args:
        latent: any shape, any floating-point dtype, model space; it is not changed. It is optimised in float32
            (float64 stays) by a new optimizer.
        loss_fn: the loss of a latent of that shape, in the optimised dtype. Called under autograd, outside inference
            mode; tensors made under inference mode that it closes over are the caller's to replace.
        config: optimizer, inner steps, learning rates, gradient interval, strength.
        step_weight: the schedule's factor on the step at this guided step.
        on_inner_step: called after each inner step; what it raises ends the optimisation.
        retry_loss_fn, attempt, scale: what follows where a gradient fails; see `GradientSource`.
        step_share: in [0, 1], broadcastable to the latent: the share of each step that each of its values takes.

    Returns:
        The latent in its own dtype, and the log. A gradient that is not finite is never applied: guidance of this step
        ends there and the log gives the reason. A learning rate of 0 evaluates nothing.

    Raises:
        ValueError: the latent is not floating-point or not finite, or the loss does not depend on it.
    """
    _require_latent(latent)
    source = GradientSource(loss_fn, retry_loss_fn, attempt, scale or LossScale())
    with torch.inference_mode(False), torch.enable_grad():
        dtype = torch.float64 if latent.dtype == torch.float64 else torch.float32
        point = latent.detach().to(dtype, copy=True).requires_grad_(True)
        share = None if step_share is None else step_share.to(point.detach())
        rule = UPDATE_RULES[config.optimizer](point, config, step_weight, share)
        if not any(rule.rates):
            return latent.clone(), GuidanceLog()
        log = _inner_loop(point, source, rule, on_inner_step)
        return point.detach().to(latent.dtype), log


def _require_latent(latent: Tensor) -> None:
    if not latent.is_floating_point():
        raise ValueError(f"latent: expected a floating-point dtype, got {latent.dtype}.")
    if not bool(torch.isfinite(latent).all()):
        raise ValueError("latent: expected finite numbers, got NaN or infinity; an earlier step already broke it.")


def _inner_loop(
    point: Tensor, source: GradientSource, rule: UpdateRule, on_inner_step: Callable[[InnerStep], None] | None
) -> GuidanceLog:
    """The log of all inner steps; `point` is moved in place."""
    steps: list[InnerStep] = []
    for rate in rule.rates:
        fresh = None
        if rule.needs_gradient:
            fresh = source.evaluate(point)
            if fresh is None:
                return GuidanceLog(tuple(steps), _reason(len(steps), source))
            rule.store(fresh)
        before = point.detach().clone()
        rule.step(rate)
        steps.append(_logged(fresh, rule, rate, point.detach() - before))
        if on_inner_step is not None:
            on_inner_step(steps[-1])
    return GuidanceLog(tuple(steps))


def _reason(step: int, source: GradientSource) -> str:
    also = ", in the float32 retry too" if source.retry_loss is not None else ""
    return f"inner step {step}: the gradient is not finite{also}"


def _logged(fresh: Gradient | None, rule: UpdateRule, rate: float, movement: Tensor) -> InnerStep:
    # Together, as a card is waited for at each number that is read.
    norm, rms = torch.stack([torch.linalg.vector_norm(rule.gradient), movement.square().mean().sqrt()]).cpu().tolist()
    if fresh is None:
        return InnerStep(None, None, False, norm, None, rate, rms)
    return InnerStep(fresh.loss, fresh.terms, True, norm, rule.cosine, rate, rms, fresh.retried)
