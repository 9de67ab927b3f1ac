"""How a model counts noise. Trap: a flow model's sigma is the noise's share of the latent, from 1 to 0; that of others
(Cosmos) is the noise's standard deviation, up to 80, and the latent that is sampled is as large.

With s the standard deviation of a clip's latent x_0, both are the same path:

    x = x_0 + sigma n      x / (sigma + s) = (1 - level) x_0 / s + level n      level = sigma / (sigma + s)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import comfy.model_sampling
import torch

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

SHIFT = 5.0
"""Of Wan's schedule, as its nodes have it for 480p."""


def level_of(sampling: object, sigma: torch.Tensor) -> torch.Tensor:
    """The noise's share in [0, 1] at the host's sigma, of any shape; `sampling` is the model's `model_sampling`."""
    return sigma if is_flow(sampling) else sigma / (sigma + sampling.sigma_data)


def sigma_of(sampling: object, level: torch.Tensor) -> torch.Tensor:
    """The host's sigma at which the noise has this share in [0, 1]; at most the largest that the model knows."""
    if is_flow(sampling):
        return level
    return (sampling.sigma_data * level / (1 - level)).clamp(max=float(sampling.sigma_max))


def sigma_at(sampling: object, percent: float) -> float:
    """The host's sigma at a share of the schedule, from pure noise (0) to none (1).

    The host's own share of others than flow models runs evenly in log sigma: its .6 is a clip almost without noise.
    Theirs is the share of a flow whose shift is SHIFT, so that the same settings guide through the same noise.
    """
    if is_flow(sampling):
        return float(sampling.percent_to_sigma(percent))
    level = SHIFT * (1 - percent) / (1 + (SHIFT - 1) * (1 - percent))
    return float(sigma_of(sampling, torch.tensor(level)))


def size_of(sampling: object, sigma: torch.Tensor) -> torch.Tensor | float:
    """By how much a latent at sigma (B,) is larger than a flow model's, (B, 1, 1, 1, 1) float32; 1 of a flow model."""
    return 1.0 if is_flow(sampling) else (sigma.float() + sampling.sigma_data).reshape(-1, 1, 1, 1, 1)


def levels_of(model: ModelPatcher, sigmas: Sequence[float] | None) -> list[float] | None:
    """The noise's shares at the noise levels of one of the host's schedules for this model; None for None."""
    if sigmas is None:
        return None
    return level_of(model.get_model_object("model_sampling"), torch.as_tensor(sigmas)).tolist()


def is_flow(sampling: object) -> bool:
    """Whether sigma is the noise's share of the latent."""
    return isinstance(sampling, comfy.model_sampling.CONST)
