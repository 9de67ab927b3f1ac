"""Model + background prompt + mask -> a model that draws the subject inside the mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..fastvmt_core.checks import require_number
from .host.sampling.subject import place_subject
from .schema import GUIDANCE, node_schema

if TYPE_CHECKING:
    import torch
    from comfy.model_patcher import ModelPatcher

    from .host.sampling.subject import Conditioning

MOST_STRENGTH = 20.0


class FastVMTPlaceSubject(io.ComfyNode):
    """Patch a model so that the subject is drawn where a mask is white."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return node_schema(
            node_id="FastVMTPlaceSubject",
            display_name="FastVMT Place Subject",
            category=GUIDANCE,
            search_aliases=["regional prompt", "masked prompt", "subject mask", "motion transfer low VRAM"],
            description="Draws the subject where a moving mask is white: outside it the video reads the background's "
            "prompt. Costs next to no time and memory. It leads a subject roughly along the mask; add Apply Motion to "
            "follow a motion closely.",
            inputs=[
                io.Model.Input("model", tooltip="A Wan model, before or after Apply Motion."),
                io.Conditioning.Input(
                    "background",
                    tooltip="The sampler's positive prompt without the subject, by the same CLIP. Read where the mask "
                    "is black.",
                ),
                io.Mask.Input(
                    "mask",
                    tooltip="White where the subject is: one mask for all frames or one for each, of any size; from "
                    "Draw Motion, or a segmentation of the reference.",
                ),
                io.Float.Input(
                    "strength",
                    default=3.0,
                    min=1.0,
                    max=MOST_STRENGTH,
                    step=0.5,
                    tooltip="How strongly the subject's words count inside the mask. 1: as without this node there; "
                    "higher places it more surely until it breaks. 3 beside Apply Motion, 6 alone were chosen on the "
                    "demo's tiny model, never on real Wan.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=0.6,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Part of the noise schedule in which the mask counts. Tried: 0.8 alone, 0.4 to 0.6 beside "
                    "Apply Motion.",
                ),
            ],
            outputs=[io.Model.Output(tooltip="The model that draws the subject there, for any sampler.")],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        background: Conditioning,
        mask: torch.Tensor,
        strength: float,
        end_percent: float,
    ) -> io.NodeOutput:
        """Patch a clone of the model."""
        require_number("strength", strength, 1.0, MOST_STRENGTH)
        require_number("end_percent", end_percent, high=1.0)
        return io.NodeOutput(place_subject(model, background, mask, strength, end_percent))
