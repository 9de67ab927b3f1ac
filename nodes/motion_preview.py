"""Motion -> pictures of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from comfy_api.latest import io, ui

from ..fastvmt_core.viz.description import described
from ..fastvmt_core.viz.motion_pictures import Shown, View, pictures_of
from .io_types import Motion
from .schema import MOTION, node_schema, require_choice

if TYPE_CHECKING:
    import torch

    from ..fastvmt_core.motion.embedding import MotionEmbedding


class FastVMTPreviewMotion(io.ComfyNode):
    """Draw a motion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return node_schema(
            node_id="FastVMTPreviewMotion",
            display_name="FastVMT Preview Motion",
            category=MOTION,
            search_aliases=["motion transfer", "optical flow", "motion arrows", "show motion", "visualize motion"],
            description="Shows a motion before it is used: arrows over the reference or colours by direction, one "
            "image for each step of the latent, with a wheel for a legend and the mean movement over time.",
            inputs=[
                Motion.Input("motion", tooltip="The motion to draw, from Invert Motion, Load Motion or an edit."),
                io.Combo.Input(
                    "view",
                    options=list(get_args(View)),
                    default="arrows",
                    tooltip="How the motion is drawn. arrows: over the frames. colours: the hue is the direction, the "
                    "saturation the length.",
                ),
                io.Combo.Input(
                    "show",
                    options=list(get_args(Shown)),
                    default="movement",
                    tooltip="Which part of the motion is drawn. movement: where objects go, which edits use. "
                    "attention: how far the model's attention shifts, which guides the video.",
                ),
                io.Image.Input("frames", optional=True, tooltip="The reference clip, to draw the motion on; optional."),
            ],
            outputs=[
                io.Image.Output(display_name="pictures", tooltip="One image for each step of the latent."),
                io.String.Output(display_name="report", tooltip="Size, length and origin of the motion."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, motion: MotionEmbedding, view: View, show: Shown, frames: torch.Tensor | None = None
    ) -> io.NodeOutput:
        """Draw it, and show it on the node."""
        require_choice("view", view, get_args(View))
        require_choice("show", show, get_args(Shown))
        pictures = pictures_of(motion, view, show, frames)
        return io.NodeOutput(pictures, described(motion), ui=ui.PreviewImage(pictures, cls=cls))
