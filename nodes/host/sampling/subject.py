"""What Place Subject hangs onto a model. Trap: which prompts of a run are positive and how many frames it has is known
once it samples, so that the model's clone holds settings only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from comfy.model_patcher import create_model_options_clone
from comfy.patcher_extension import WrapperExecutor, WrappersMP, add_wrapper_with_key

from ....fastvmt_core.motion.blend import token_mask
from ..attention.prompts import KEY, PlacedPrompts
from ..models.video_model import VideoModel, positive_conditions

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import CFGGuider

Conditioning = list[list[Any]]
"""The host's CONDITIONING: [text features, extras] of each prompt."""
COVERED = 0.05
"""A token is the subject's above this value of the mask, which is softened as it shrinks to tokens: half a token beyond
the white area, since a subject needs more room than it fills."""


def place_subject(
    model: ModelPatcher, background: Conditioning, mask: torch.Tensor, strength: float, end_percent: float
) -> ModelPatcher:
    """A clone of `model` that draws the subject inside a mask; the user's model stays as it is.

    Args:
        model: of a family whose blocks read the text by a cross-attention.
        background: the prompt that is read outside the mask; the first one counts.
        mask: (T, h, w) or (h, w) in [0, 1], of the video's frames.
        strength: as of `PlacedPrompts`.
        end_percent: part of the noise schedule in which prompts are placed.

    Raises:
        ValueError: an input cannot be used; the message names it.
    """
    video_model = VideoModel.of(model)
    if not video_model.family.reads_text_apart(video_model.network):
        raise ValueError(
            "model: expected one whose blocks read the text by an attention of its own, as most of Wan's do, got "
            f"{type(video_model.network).__name__}; load another model, or leave Place Subject out."
        )
    if model.get_wrappers(WrappersMP.SAMPLER_SAMPLE, KEY):
        raise ValueError(
            "model: expected one without a placed subject, got one from another Place Subject; wire the model from "
            "before that node, and draw all subjects into one mask."
        )
    if len(background) != 1:
        raise ValueError(f"background: expected one prompt, got {len(background)}; connect a single CLIP Text Encode.")
    features = background[0][0]
    if not torch.is_tensor(features) or features.ndim != 3 or not features.shape[1]:
        got = tuple(features.shape) if torch.is_tensor(features) else type(features).__name__
        raise ValueError(
            f"background: expected text features (1, tokens, channels), got {got}; connect CLIP Text Encode."
        )
    if not bool((mask > 0).any()):
        raise ValueError("mask: expected a white area where the subject is, got none; draw one.")
    placed = model.clone()
    wrapper = SubjectPlacing(features[:1], mask, strength, end_percent).wrap_sampler
    placed.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, wrapper)
    return placed


@dataclass(frozen=True, eq=False)
class SubjectPlacing:
    """What Place Subject attaches to a model: settings only, nothing that a run changes."""

    background: torch.Tensor
    mask: torch.Tensor
    strength: float
    end_percent: float

    def wrap_sampler(
        self,
        executor: WrapperExecutor,
        guider: CFGGuider,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Callable | None,
        noise: torch.Tensor,
        *how: object,
        **named: object,
    ) -> torch.Tensor:
        """Run the sampler on a model that is evaluated with placed prompts (a SAMPLER_SAMPLE wrapper)."""
        options = create_model_options_clone(extra_args["model_options"])
        wrapper = self._prompts(guider, noise).wrap
        add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, wrapper, options, is_model_options=True)
        return executor(guider, sigmas, {**extra_args, "model_options": options}, callback, noise, *how, **named)

    def _prompts(self, guider: CFGGuider, noise: torch.Tensor) -> PlacedPrompts:
        """The prompts of a run.

        Raises:
            ValueError: the background's is of another text encoder, or the mask is empty on the tokens; the message
                names the input.
        """
        video_model, positive = VideoModel.of_run(guider), positive_conditions(guider)
        text, channels = positive[0].get("model_conds", {}).get("c_crossattn"), self.background.shape[-1]
        if text is not None and text.cond.shape[-1] != channels:
            raise ValueError(
                f"background: expected text features of {text.cond.shape[-1]} channels as the sampler's positive has, "
                f"got {channels}; connect CLIP Text Encode with the same CLIP."
            )
        whole = video_model.grid(noise)
        leading = video_model.leading_frames(positive)
        grid = dataclasses.replace(whole, frames=whole.frames - leading)
        inside = token_mask(self.mask, grid) > COVERED
        if not bool(inside.any()):
            raise ValueError("mask: expected a white area of at least half a token, got a smaller one; draw it larger.")
        return PlacedPrompts(
            background=self.background,
            inside=inside,
            strength=self.strength,
            first=video_model.first_token(positive[0], noise, grid),
            leading=leading,
            end_sigma=float(guider.inner_model.model_sampling.percent_to_sigma(self.end_percent)),
            positive={each["uuid"] for each in positive},
            patch=video_model.sizes.patch,
        )
