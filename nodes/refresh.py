"""An edited or loaded motion -> the same, as the model itself sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..fastvmt_core.config import PIXELS_PER_TOKEN
from ..fastvmt_core.grid import latent_frames, video_length
from ..fastvmt_core.motion.resize import fit_to, grid_for
from .host.reading.inversion import read_again
from .io_types import CATEGORY, Motion

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from ..fastvmt_core.motion.embedding import MotionEmbedding

AS_IT_IS = 0


class FastVMTRefreshMotion(io.ComfyNode):
    """Read an edited motion again from its own latent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the widgets."""
        return io.Schema(
            node_id="FastVMTRefreshMotion",
            display_name="FastVMT Refresh Motion",
            category=CATEGORY,
            description="Reads a motion again after edits, or at another size and length, from the latent that it "
            "keeps and that every edit changes along. Takes as long as Invert Motion, and follows an edit better "
            "than its vectors alone.",
            inputs=[
                io.Model.Input("model", tooltip="The model that the motion was read from, or one of its kind."),
                Motion.Input("motion", tooltip="Edited or loaded; it must hold its reference's latent."),
                io.Conditioning.Input("empty_prompt", tooltip="CLIP Text Encode with an empty text."),
                io.Int.Input(
                    "width",
                    default=AS_IT_IS,
                    min=AS_IT_IS,
                    max=8192,
                    step=PIXELS_PER_TOKEN,
                    tooltip="Pixels of the video to be made. 0: as it is.",
                ),
                io.Int.Input(
                    "height",
                    default=AS_IT_IS,
                    min=AS_IT_IS,
                    max=8192,
                    step=PIXELS_PER_TOKEN,
                    tooltip="Pixels, likewise.",
                ),
                io.Int.Input("length", default=AS_IT_IS, min=AS_IT_IS, max=4097, tooltip="Frames, 4n+1. 0: as it is."),
            ],
            outputs=[Motion.Output(display_name="motion")],
        )

    @classmethod
    def execute(
        cls, model: ModelPatcher, motion: MotionEmbedding, empty_prompt: list, width: int, height: int, length: int
    ) -> io.NodeOutput:
        """Fit the latent to the size, and read it."""
        frames = latent_frames(video_length(length)) if length else motion.grid.frames
        fitted = fit_to(motion, grid_for(motion, frames, height, width))
        return io.NodeOutput(read_again(model, fitted, empty_prompt))
