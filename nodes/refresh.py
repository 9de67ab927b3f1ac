"""An edited or loaded motion -> the same, as the model itself sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..fastvmt_core.checks import require
from ..fastvmt_core.config import PIXELS_PER_TOKEN, InversionConfig
from ..fastvmt_core.grid import first_video_frame, latent_frames, video_length
from ..fastvmt_core.motion.resize import fit_to, grid_for
from ..fastvmt_core.video.clip import MOST_FRAMES, require_pixels
from .host.reading.inversion import read_again
from .io_types import Motion
from .schema import MOTION, node_schema

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from ..fastvmt_core.motion.embedding import MotionEmbedding

UNCHANGED = 0


class FastVMTRefreshMotion(io.ComfyNode):
    """Read an edited motion again from its own latent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return node_schema(
            node_id="FastVMTRefreshMotion",
            display_name="FastVMT Refresh Motion",
            category=MOTION,
            search_aliases=["motion transfer", "resize motion", "reread motion", "update motion"],
            description="Reads a motion again after edits, or at another size and length, from the latent that it "
            "keeps and that every edit changes along with it. Takes as long as Invert Motion. The video then follows "
            "an edit better than by the edited arrows alone.",
            inputs=[
                io.Model.Input("model", tooltip="The model that the motion was read from, or one of its kind."),
                Motion.Input("motion", tooltip="An edited or loaded motion that keeps its reference's latent."),
                io.Conditioning.Input(
                    "empty_prompt", tooltip="CLIP Text Encode with an empty text: motion is read without words."
                ),
                io.Int.Input(
                    "width",
                    default=UNCHANGED,
                    min=UNCHANGED,
                    max=8192,
                    step=PIXELS_PER_TOKEN,
                    tooltip="Width of the new video in pixels. 0: unchanged.",
                ),
                io.Int.Input(
                    "height",
                    default=UNCHANGED,
                    min=UNCHANGED,
                    max=8192,
                    step=PIXELS_PER_TOKEN,
                    tooltip="Height of the new video in pixels. 0: unchanged.",
                ),
                io.Int.Input(
                    "length",
                    default=UNCHANGED,
                    min=UNCHANGED,
                    max=MOST_FRAMES,
                    tooltip="Length of the new video in frames, 4n+1 (LTX-Video, Cosmos 1: 8n+1, Mochi: 6n+1). 0: "
                    "unchanged.",
                ),
            ],
            outputs=[Motion.Output(display_name="motion", tooltip="The motion as the model sees it now.")],
        )

    @classmethod
    def execute(
        cls, model: ModelPatcher, motion: MotionEmbedding, empty_prompt: list, width: int, height: int, length: int
    ) -> io.NodeOutput:
        """Fit the latent to the size, and read it."""
        stride, token = motion.fingerprint.temporal_stride, motion.fingerprint.pixels_per_token
        known = length == UNCHANGED or stride < length <= MOST_FRAMES
        require(known, "length", f"0 or from {stride + 1} to {MOST_FRAMES} frames", length)
        frames = motion.grid.frames if length == UNCHANGED else latent_frames(video_length(length, stride), stride)
        grid = grid_for(motion, frames, height, width)
        # A longer one is read in chunks.
        at_once = min(InversionConfig().chunk_length, first_video_frame(frames, stride))
        require_pixels(grid.width * token, grid.height * token, at_once)
        return io.NodeOutput(read_again(model, fit_to(motion, grid), empty_prompt))
