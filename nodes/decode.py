"""Latent -> video, decoded shot by shot where the motion's reference has cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..fastvmt_core.grid import first_video_frame
from ..fastvmt_core.motion.resize import cuts_at
from ..fastvmt_core.video.cuts import shots
from .host.files.vae import decode_shots, temporal_stride
from .host.page.node_text import show_on_node
from .io_types import Motion
from .schema import GUIDANCE, node_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comfy.sd import VAE

    from ..fastvmt_core.motion.embedding import MotionEmbedding


class FastVMTDecodeShots(io.ComfyNode):
    """Decode a video without letting one shot show in the next."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return node_schema(
            node_id="FastVMTDecodeShots",
            display_name="FastVMT Decode Shots",
            category=GUIDANCE,
            search_aliases=["vae decode", "scene cut", "shot change", "multi shot video", "motion transfer"],
            description="VAE Decode for a motion with cuts: decodes each shot by itself, so that the first frame "
            "after a cut does not show the shot before it. Without a cut it does what VAE Decode does.",
            inputs=[
                io.Latent.Input("samples", tooltip="The generated video, from the sampler."),
                io.Vae.Input("vae", tooltip="The VAE that belongs to the model."),
                Motion.Input("motion", tooltip="The motion that guided the video: it knows the reference's cuts."),
                io.Boolean.Input(
                    "tiled",
                    default=False,
                    tooltip="Takes far less VRAM, and more time: decodes in tiles of 256 pixels.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="frames", tooltip="The decoded video."),
                io.String.Output(display_name="report", tooltip="Which frames each shot has."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, samples: dict, vae: VAE, motion: MotionEmbedding, tiled: bool) -> io.NodeOutput:
        """Decode it, and report which frames are a shot."""
        latent = samples["samples"]
        # decode_shots refuses a latent of another kind, or without frames.
        frames = (latent.ndim == 5 and latent.shape[2]) or motion.grid.frames
        parts = shots(cuts_at(motion, frames), frames)
        decoded = decode_shots(vae, latent, parts, tiled)
        report = _report(parts, temporal_stride(vae))
        return io.NodeOutput(decoded, report, ui=show_on_node(cls, report))


def _report(parts: Sequence[range], stride: int) -> str:
    """The frames of the video that each shot has, from 0."""
    if len(parts) == 1:
        return "One shot: decoded as a whole."
    starts = [first_video_frame(shot.start, stride) for shot in parts]
    ends = [first_video_frame(shot.stop, stride) - 1 for shot in parts]
    spans = (f"{start}-{end}" for start, end in zip(starts, ends, strict=True))
    return f"{len(parts)} shots, each decoded by itself: frames {', '.join(spans)}."
