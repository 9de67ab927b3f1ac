"""A pass at half the latent's height and width. Trap: the host makes the conditions for the latent's own size, once,
before the sampler begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from comfy.model_base import BaseModel
from comfy.patcher_extension import WrappersMP

from ....fastvmt_core.grid import TokenGrid
from ....fastvmt_core.motion.half_size import FEWEST_TOKENS, halved, halved_level, onto_the_path, shows_motion
from .noise_levels import level_of, sigma_of, size_of
from .video_model import VideoModel, positive_conditions

if TYPE_CHECKING:
    from comfy.samplers import CFGGuider

    from ....fastvmt_core.objectives.protocol import Needs
    from .family import Condition, Family

LIMITS = frozenset(("timestep_start", "timestep_end", "mask", "mask_strength"))
"""Entries of a condition that hold for the latent's own size and level, and decide nothing before block b's q and k."""
OF_THE_WHOLE_SIZE = {"area": "a conditioning area", "control": "a ControlNet", "gligen": "GLIGEN's boxes"}
"""Entries that a pass at half size would apply at the wrong place."""
INFINITE_TALK = "infinite_talk_outer_sample"
"""By which InfiniteTalk's node puts frames and masks of the latent's own size into every evaluation."""
FULL = "set resolution to full"
MASK = "denoise_mask"
"""By which some models are given the mask of the frames that are kept."""


def require_half_size(
    guider: CFGGuider, latent: torch.Tensor, grid: TokenGrid, needs: Needs, denoise_mask: torch.Tensor | None
) -> None:
    """Refuse a run that cannot be guided at half size.

    Args:
        guider: of the run.
        latent: (B, C, F, h, w), of the video's own size.
        grid: tokens of the video at its own size.
        needs: of the objective.
        denoise_mask: of the latent's frames that are kept.

    Raises:
        ValueError: the grid is too small or half of it no whole number of tokens, the objective reads the whole model,
            InfiniteTalk's node patches it, or a start image's frame cannot be distinguished from the others.
    """
    if not shows_motion(grid):
        raise ValueError(
            f"resolution: expected full for so small a video, as half of it has {grid.halved}, fewer than "
            f"{FEWEST_TOKENS} a side; {FULL}, or generate a larger one."
        )
    if needs.velocity:
        raise ValueError(
            f"resolution: expected full for an objective that follows what the whole model predicts; {FULL}."
        )
    if guider.model_patcher.get_wrappers(WrappersMP.OUTER_SAMPLE, INFINITE_TALK):
        raise ValueError(
            "resolution: expected full beside InfiniteTalk, whose frames and masks are of the video's own size; "
            f"{FULL}."
        )
    model = VideoModel.of_run(guider)
    sides = zip(latent.shape[-2:], model.sizes.patch[1:], strict=True)
    if model.family.whole_patches and any(side // 2 % step for side, step in sides):
        raise ValueError(
            f"resolution: expected full for this size, as half of it is no whole number of tokens; {FULL}, or make "
            "width and height multiples of 32."
        )
    keeps_clean = type(guider.inner_model).scale_latent_inpaint is not BaseModel.scale_latent_inpaint
    masked = all(MASK in condition["model_conds"] for condition in positive_conditions(guider))
    if denoise_mask is not None and keeps_clean and not masked:
        raise ValueError(
            "resolution: expected full with a start image or a noise mask of this model, whose kept frames hold no "
            f"noise; {FULL}."
        )


def halved_condition(family: Family, condition: Condition) -> Condition:
    """A processed condition for a pass at half size; it counts at every noise level.

    Raises:
        ValueError: it holds something that cannot be halved.
    """
    for entry, name in OF_THE_WHOLE_SIZE.items():
        if condition.get(entry) is not None:
            raise ValueError(f"positive: expected no {name} beside a resolution of half; take it out, or {FULL}.")
    values = {name: _halved_value(family, name, value) for name, value in condition["model_conds"].items()}
    return {**{entry: condition[entry] for entry in condition.keys() - LIMITS}, "model_conds": values}


def _halved_value(family: Family, name: str, value: Any) -> Any:  # noqa: ANN401  (the host's CONDRegular and its kin)
    held = value.cond
    tensors = held if isinstance(held, (list, tuple)) else [held]
    # Tokens (B, L, C), numbers and names have no height and width.
    sized = any(torch.is_tensor(each) and each.ndim > 3 for each in tensors)
    if not sized or name in family.sizeless_conditions:
        return value
    if name not in family.pictures:
        raise ValueError(
            f"positive: expected conditions whose size is known beside a resolution of half, got {name}; {FULL}."
        )
    smaller = [halved(each) if torch.is_tensor(each) else each for each in tensors]
    return value._copy_with(type(held)(smaller) if isinstance(held, (list, tuple)) else smaller[0])


def halved_latent(
    condition: Condition, x: torch.Tensor, sigma: torch.Tensor, sampling: object
) -> tuple[torch.Tensor, torch.Tensor]:
    """A latent (B, C, F, h, w) at half size, and the host's sigma for it (B,).

    Args:
        condition: processed, of the latent's own size.
        x: in model space; the result is differentiable in it.
        sigma: (B,).
        sampling: the model's `model_sampling`.
    """
    level = level_of(sampling, sigma)
    lower = sigma_of(sampling, halved_level(level))
    each = level.view(-1, 1, 1, 1, 1)
    # Where a model is given the mask (Wan 2.2 5B, Cosmos Predict 2), the frames that it keeps hold no noise.
    mask = condition["model_conds"].get(MASK)
    if mask is not None:
        each = each * mask.cond.to(each)
    return halved(onto_the_path(each) / size_of(sampling, sigma) * x) * size_of(sampling, lower), lower
