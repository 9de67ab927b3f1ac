"""Motion -> another motion."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..fastvmt_core.grid import first_video_frame, latent_frame_of
from ..fastvmt_core.motion import blend as motion_blend
from ..fastvmt_core.motion.edit import EDITS, EditSettings
from .io_types import Motion
from .schema import MOTION, node_schema, require_choice

if TYPE_CHECKING:
    import torch

    from ..fastvmt_core.motion.embedding import MotionEmbedding

BLENDS: dict[str, Callable[..., MotionEmbedding]] = {
    "weight": lambda a, b, weight, mask, feather: motion_blend.blend(a, b, weight),
    "mask": lambda a, b, weight, mask, feather: motion_blend.blend(a, b, _required(mask, a, feather) * weight),
    "subject of a, camera of b": lambda a, b, weight, mask, feather: motion_blend.subject_and_camera(a, b),
}
"""Choices of the blend widget, which saved workflows hold by name, too."""
REFRESH = "Refresh Motion after it makes the video follow more closely."


class FastVMTEditMotion(io.ComfyNode):
    """Change a motion without its clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return node_schema(
            node_id="FastVMTEditMotion",
            display_name="FastVMT Edit Motion",
            category=MOTION,
            search_aliases=[
                "motion transfer",
                "mirror motion",
                "reverse motion",
                "motion speed",
                "slow motion",
                "remove camera motion",
            ],
            description="Changes a motion: larger or smaller, mirrored, reversed, faster or slower, held for a while, "
            "cut to a part, without its camera or with its camera alone. Chain nodes for several edits.",
            inputs=[
                Motion.Input(
                    "motion", tooltip="The motion to change, from Invert Motion, Load Motion or another edit."
                ),
                io.Combo.Input(
                    "edit",
                    options=list(EDITS),
                    default="amplify",
                    tooltip="What is changed. amplify scales each path about its middle. speed above 1 ends early and "
                    "holds, below 1 it shows the beginning only.",
                ),
                io.Float.Input(
                    "amount",
                    default=1.5,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="Factor of amplify (0.5: half as far) and of speed (2: twice as fast); 0.5 to 2 works. "
                    "Other edits ignore it.",
                ),
                io.Int.Input(
                    "freeze_from",
                    default=0,
                    min=0,
                    max=4096,
                    tooltip="With freeze: the frame of the clip that is held, counted from 0. With trim: the first "
                    "frame that is kept.",
                ),
                io.Int.Input(
                    "freeze_to",
                    default=0,
                    min=0,
                    max=4096,
                    tooltip="With freeze: the frame until which it is held; the motion then goes on. With trim: the "
                    "last frame that is kept.",
                ),
            ],
            outputs=[Motion.Output(display_name="motion", tooltip=f"The changed motion. {REFRESH}")],
        )

    @classmethod
    def execute(
        cls, motion: MotionEmbedding, edit: str, amount: float, freeze_from: int, freeze_to: int
    ) -> io.NodeOutput:
        """Do the edit."""
        require_choice("edit", edit, EDITS)
        if edit not in ("freeze", "trim"):
            return io.NodeOutput(EDITS[edit](motion, EditSettings(amount)))
        stride = motion.fingerprint.temporal_stride
        end = first_video_frame(motion.grid.frames, stride) - 1
        if not 0 <= freeze_from <= freeze_to <= end:
            raise ValueError(
                f"freeze_from, freeze_to: expected frames of the clip in order, from 0 to {end}, got "
                f"{freeze_from} and {freeze_to}."
            )
        first, last = latent_frame_of(freeze_from, stride), latent_frame_of(freeze_to, stride)
        if edit == "trim" and first == last:
            raise ValueError(
                f"freeze_to: expected at least frame {first_video_frame(first + 1, stride)} with trim from "
                f"{freeze_from}, got {freeze_to}: a single frame of the latent shows no motion."
            )
        return io.NodeOutput(EDITS[edit](motion, EditSettings(amount, first, last)))


class FastVMTBlendMotion(io.ComfyNode):
    """Make two motions into one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return node_schema(
            node_id="FastVMTBlendMotion",
            display_name="FastVMT Blend Motion",
            category=MOTION,
            search_aliases=["motion transfer", "mix motion", "combine motion", "merge motion", "camera and subject"],
            description="Makes two motions into one: by a weight, by a mask (left from a, right from b), or with the "
            "subject of one and the camera of the other.",
            inputs=[
                Motion.Input("motion_a", tooltip="The first motion; the result has its size, length and settings."),
                Motion.Input(
                    "motion_b", tooltip="The second motion, from the same kind of model; it is fitted to the first."
                ),
                io.Combo.Input(
                    "blend",
                    options=list(BLENDS),
                    default="weight",
                    tooltip="How the two become one. weight: both everywhere. mask: b where the mask is white. subject "
                    "of a, camera of b: what moves in a, seen by the camera of b.",
                ),
                io.Float.Input(
                    "weight",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of motion_b, from 0 to 1. With mask: its share where the mask is white, usually 1.",
                ),
                _feather_input(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Needed by blend mask: white is motion_b. One for all frames, or one for each frame.",
                ),
            ],
            outputs=[Motion.Output(display_name="motion", tooltip=f"The blended motion. {REFRESH}")],
        )

    @classmethod
    def execute(
        cls,
        motion_a: MotionEmbedding,
        motion_b: MotionEmbedding,
        blend: str,
        weight: float,
        feather: float,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """Blend them."""
        require_choice("blend", blend, BLENDS)
        return io.NodeOutput(BLENDS[blend](motion_a, motion_b, weight, mask, feather))


class FastVMTMaskMotion(io.ComfyNode):
    """Guide only a part of the image."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return node_schema(
            node_id="FastVMTMaskMotion",
            display_name="FastVMT Mask Motion",
            category=MOTION,
            search_aliases=["motion transfer", "regional motion", "motion brush", "partial motion"],
            description="Guides only the white part of a mask; everything outside moves as the model likes.",
            inputs=[
                Motion.Input("motion", tooltip="The motion to limit, from Invert Motion, Load Motion or an edit."),
                io.Mask.Input(
                    "mask",
                    tooltip="Where the video is guided: white. One mask for all frames, or one for each frame.",
                ),
                _feather_input(),
                io.Boolean.Input("invert", default=False, tooltip="Guides the black part of the mask instead."),
            ],
            outputs=[Motion.Output(display_name="motion", tooltip="The motion, limited to the mask.")],
        )

    @classmethod
    def execute(cls, motion: MotionEmbedding, mask: torch.Tensor, feather: float, invert: bool) -> io.NodeOutput:
        """Put the mask into the motion."""
        on_tokens = motion_blend.token_mask(mask, motion.grid, feather, motion.fingerprint.temporal_stride)
        return io.NodeOutput(motion_blend.masked(motion, 1 - on_tokens if invert else on_tokens))


def _feather_input() -> io.Input:
    return io.Float.Input(
        "feather",
        default=1.0,
        min=0.0,
        max=motion_blend.MOST_FEATHER,
        step=0.25,
        tooltip="Softens the mask's edge over this many tokens (16 pixels each; Wan 2.2 5B: 32). 0 to 4 works.",
    )


def _required(mask: torch.Tensor | None, motion: MotionEmbedding, feather: float) -> torch.Tensor:
    if mask is None:
        raise ValueError("mask: expected a mask to blend by, got none; connect one, or blend by weight.")
    return motion_blend.token_mask(mask, motion.grid, feather, motion.fingerprint.temporal_stride)
