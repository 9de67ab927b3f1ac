"""The video in a latent that holds more (LTX-2's sound). Trap: the host hands a sampler all of it in a single row,
(B, 1, N), and only the conditions say where in it the video ends.

A gradient is that of the video alone, as a reference is read without sound, too.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .video_model import VideoModel, positive_conditions

if TYPE_CHECKING:
    from comfy.samplers import CFGGuider, KSamplerX0Inpaint

    from .family import Condition

SHAPES = "latent_shapes"
"""The condition that holds the shape of each part of the row; the video's is the first."""


@dataclass(frozen=True, eq=False)
class VideoPart:
    """Where the video is in the latents of a run."""

    shape: torch.Size | None
    """(C, F, h, w); None: the latents are the video."""
    other_conditions: frozenset[str]
    """What a run's conditions hold for the other parts."""

    @classmethod
    def of_run(cls, guider: CFGGuider) -> VideoPart:
        """That of the run of a guider, whose conditions are processed."""
        shapes = getattr(positive_conditions(guider)[0].get("model_conds", {}).get(SHAPES), "cond", ())
        others = VideoModel.of_run(guider).family.other_conditions
        return cls(torch.Size(shapes[0][1:]) if len(shapes) > 1 else None, others)

    def of(self, latent: torch.Tensor | None) -> torch.Tensor | None:
        """The video (B, C, F, h, w) of a latent; a view, so that what is written into it is in the latent."""
        if self.shape is None or latent is None:
            return latent
        return latent[:, 0, : math.prod(self.shape)].unflatten(-1, self.shape)

    def mask(self, denoise_mask: torch.Tensor | None) -> torch.Tensor | None:
        """The video's part of a run's mask; None where it keeps nothing of the video, as one of the sound alone."""
        mask = self.of(denoise_mask)
        return None if mask is not None and bool((mask == 1).all()) else mask

    def guider(self, guider: CFGGuider) -> CFGGuider | _VideoGuider:
        """The guider with conditions of the video alone."""
        return guider if self.shape is None else _VideoGuider(guider, self.other_conditions)

    def model(self, model: KSamplerX0Inpaint) -> KSamplerX0Inpaint:
        """What the host gives a sampler function, for the video alone."""
        if self.shape is None:
            return model
        alone = copy.copy(model)
        alone.inner_model = self.guider(model.inner_model)
        vars(alone).update({name: self.of(getattr(model, name, None)) for name in ("latent_image", "noise")})
        return alone

    def arguments(self, extra_args: dict[str, Any]) -> dict[str, Any]:
        """A sampler function's, with the mask of the video alone."""
        if self.shape is None:
            return extra_args
        return {**extra_args, "denoise_mask": self.mask(extra_args.get("denoise_mask"))}


VIDEO_ALONE = VideoPart(None, frozenset())
"""Of latents that hold nothing else."""


class _VideoGuider:
    """Stands where the guider stands, with conditions of the video alone."""

    def __init__(self, guider: CFGGuider, others: frozenset[str]) -> None:
        self._guider = guider
        self.conds = {name: [_of_the_video(each, others) for each in conds] for name, conds in guider.conds.items()}

    def __getattr__(self, name: str) -> object:
        return getattr(self._guider, name)


def _of_the_video(condition: Condition, others: frozenset[str]) -> Condition:
    held = condition.get("model_conds", {})
    values = {name: held[name] for name in held.keys() - others}
    if SHAPES in values:
        values[SHAPES] = values[SHAPES]._copy_with(values[SHAPES].cond[:1])
    return {**condition, "model_conds": values}
