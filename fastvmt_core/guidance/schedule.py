"""When guidance acts, and how strongly: guided steps, the schedule over them, learning rates (FastVMT section 4)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor

from ..config import GuidanceConfig, Resolution, StepSchedule

_ROUNDING = 1e-5
"""Relative: a step that starts at the end sigma must not count as above it because one of them was float32."""
HALF_UNTIL = 0.5
"""The position at which `half then full` turns."""


def guided_steps(sigmas: Tensor | Sequence[float], end_sigma: float) -> tuple[int, ...]:
    """Indices of the denoising steps to guide: those that start above `end_sigma`; empty where none does.

    The rule looks at noise levels, never at the length of the list, so that a run cut into two samplers or started at
    denoise < 1 guides the same noise levels as the whole run. Where the noise rises, nothing is denoised: from the
    first such step on (all of a run that unsamples) none is guided.

    Args:
        sigmas: noise levels of this run, one more than its steps.
        end_sigma: the model's sigma at `end_percent`.

    Raises:
        ValueError: there are fewer than two sigmas, or one is not finite.
    """
    levels = [float(sigma) for sigma in sigmas]
    if len(levels) < 2 or not all(math.isfinite(level) for level in (*levels, end_sigma)):
        raise ValueError(
            f"sigmas: expected two or more finite noise levels and a finite end, got {levels!s:.200}, {end_sigma}; "
            "change the scheduler, the steps, or the shift of a node such as ModelSamplingSD3."
        )
    falling = itertools.takewhile(lambda index: levels[index + 1] <= levels[index], range(len(levels) - 1))
    return tuple(index for index in falling if is_above(levels[index], end_sigma))


def is_above(level: float, end_sigma: float) -> bool:
    """Whether a step that starts at this noise level comes before the end."""
    return level > end_sigma * (1 + _ROUNDING)


def step_weight(schedule: StepSchedule, position: float, curve: Sequence[tuple[float, float]] = ()) -> float:
    """The factor on the learning rate at `position`: 0 is pure noise, 1 is `end_percent`.

    The schedule's factor, times that of the curve of `LossWeights`.

    Raises:
        ValueError: the position is outside [0, 1] or the schedule is unknown.
    """
    if not 0 <= position <= 1:
        raise ValueError(f"position: expected 0 (pure noise) to 1 (end_percent), got {position!r}.")
    factors = {"constant": 1.0, "linear": 1 - position, "cosine": 0.5 * (1 + math.cos(math.pi * position))}
    if schedule not in factors:
        raise ValueError(f"schedule: expected one of {', '.join(factors)}, got {schedule!r}.")
    return factors[schedule] * curve_factor(curve, position)


def at_half_size(resolution: Resolution, position: float) -> bool:
    """Whether the gradients of a guided step at `position` are evaluated at half the latent's height and width.

    Args:
        resolution: of the guidance.
        position: in [0, 1]; 0 is pure noise, 1 is `end_percent`.
    """
    return resolution == "half" or (resolution == "half then full" and position < HALF_UNTIL)


def curve_factor(curve: Sequence[tuple[float, float]], position: float) -> float:
    """The factor at `position` of points (position, factor) that straight lines join; 1 without points."""
    for (left, before), (right, after) in itertools.pairwise(curve):
        if position <= right:
            return before + (after - before) * (position - left) / (right - left)
    return 1.0


def inner_learning_rates(config: GuidanceConfig, step_weight: float = 1.0) -> list[float]:
    """lr_j = strength * weight * (lr_start + (lr_end - lr_start) j / J) for the J inner steps of one guided step.

    Raises:
        ValueError: the weight is negative or not finite.
    """
    if not (math.isfinite(step_weight) and step_weight >= 0):
        raise ValueError(f"step_weight: expected a finite number of at least 0, got {step_weight!r}.")
    factor, steps = config.strength * step_weight, config.inner_steps
    return [factor * (config.lr_start + (config.lr_end - config.lr_start) * j / steps) for j in range(steps)]


def gradients_per_step(config: GuidanceConfig) -> int:
    """Gradient evaluations of one guided step, at most."""
    if config.optimizer == "polyak":
        return config.inner_steps
    interval = config.adaptive.shortest if config.adaptive else config.gradient_interval
    return math.ceil(config.inner_steps / interval)
