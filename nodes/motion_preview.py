"""Motion -> pictures of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from comfy_api.latest import io, ui

from ..fastvmt_core.viz.description import described
from ..fastvmt_core.viz.motion_pictures import Shown, View, pictures_of
from .io_types import CATEGORY, Motion

if TYPE_CHECKING:
    import torch

    from ..fastvmt_core.motion.embedding import MotionEmbedding


class FastVMTPreviewMotion(io.ComfyNode):
    """Draw a motion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the widgets."""
        return io.Schema(
            node_id="FastVMTPreviewMotion",
            display_name="FastVMT Preview Motion",
            category=CATEGORY,
            description="Shows a motion before it is used: arrows over the reference or colours by direction, one "
            "picture for each step of the latent, with a wheel for a legend and the mean movement over time.",
            inputs=[
                Motion.Input("motion", tooltip="From Invert Motion, Load Motion or an edit."),
                io.Combo.Input(
                    "view",
                    options=list(get_args(View)),
                    default="arrows",
                    tooltip="Arrows over the frames, or colours: the hue is the direction, the strength the length.",
                ),
                io.Combo.Input(
                    "show",
                    options=list(get_args(Shown)),
                    default="movement",
                    tooltip="movement: where things go, as edits use it. attention: what guides, the shift of the "
                    "model's attention beyond what it is without any motion.",
                ),
                io.Image.Input("frames", optional=True, tooltip="The reference clip, to draw on."),
            ],
            outputs=[io.Image.Output(display_name="pictures"), io.String.Output(display_name="report")],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, motion: MotionEmbedding, view: View, show: Shown, frames: torch.Tensor | None = None
    ) -> io.NodeOutput:
        """Draw it, and show it on the node."""
        pictures = pictures_of(motion, view, show, frames)
        return io.NodeOutput(pictures, described(motion), ui=ui.PreviewImage(pictures, cls=cls))
