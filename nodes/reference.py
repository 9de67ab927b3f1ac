"""Reference clip -> latent: resample in time, fit in space, encode with the user's VAE."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from comfy_api.latest import io

from ..fastvmt_core.config import ClipConfig, CutConfig, Fit
from ..fastvmt_core.grid import first_video_frame
from ..fastvmt_core.motion.fingerprint import hash_of_reference
from ..fastvmt_core.video.clip import fit_clip
from ..fastvmt_core.video.cuts import find_cuts_in_video, latent_cuts
from .host.files.vae import encode_video
from .host.page.node_text import said_on
from .io_types import CATEGORY, CUTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


DEFAULTS = ClipConfig()


class FastVMTEncodeReference(io.ComfyNode):
    """Make a clip of any size, rate and length into the reference latent of a motion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the widgets; sizes default to Wan 2.1's 480p clip."""
        return io.Schema(
            node_id="FastVMTEncodeReference",
            display_name="FastVMT Encode Reference",
            category=CATEGORY,
            description="Fits a reference clip to a size, rate and length that Wan can take, and encodes it. Wire "
            "width, height and length on to the empty latent, so that both always agree.",
            inputs=[
                io.Vae.Input("vae", tooltip="The VAE that belongs to the Wan model."),
                io.Image.Input("frames", tooltip="The reference clip, e.g. from Load Video and Get Video Components."),
                io.Int.Input(
                    "width",
                    default=DEFAULTS.width,
                    min=0,
                    max=8192,
                    step=16,
                    tooltip="Pixels, a multiple of 16. 0: the clip's own width.",
                ),
                io.Int.Input(
                    "height",
                    default=DEFAULTS.height,
                    min=0,
                    max=8192,
                    step=16,
                    tooltip="Pixels, a multiple of 16. 0: the clip's own height.",
                ),
                io.Int.Input(
                    "length",
                    default=DEFAULTS.length,
                    min=0,
                    max=4097,
                    step=1,
                    tooltip="Frames to use at most, rounded down to 4n+1. 0: all of them.",
                ),
                io.Combo.Input(
                    "fit",
                    options=list(get_args(Fit)),
                    default=DEFAULTS.fit,
                    tooltip="When the clip has another shape: cut off what is too much, add black borders, or stretch.",
                ),
                io.Float.Input(
                    "source_fps",
                    default=DEFAULTS.source_fps,
                    min=0.0,
                    max=1000.0,
                    step=0.001,
                    tooltip="Frames per second of the clip; connect Get Video Components' fps. 0: take the "
                    "frames as they are.",
                ),
                io.Float.Input(
                    "target_fps",
                    default=DEFAULTS.target_fps,
                    min=0.1,
                    max=1000.0,
                    step=0.001,
                    tooltip="Frames per second of the generated video (Wan 2.1 and 2.2 14B: 16).",
                ),
                io.Boolean.Input(
                    "tiled",
                    default=False,
                    tooltip="Encode in tiles: slower, but takes far less memory on a small card.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="reference"),
                io.Int.Output(id="fitted_width", display_name="width"),
                io.Int.Output(id="fitted_height", display_name="height"),
                io.Int.Output(id="fitted_length", display_name="length"),
                io.String.Output(display_name="report", tooltip="What was done to the clip."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        vae: object,
        frames: torch.Tensor,
        width: int,
        height: int,
        length: int,
        fit: Fit,
        source_fps: float,
        target_fps: float,
        tiled: bool,
    ) -> io.NodeOutput:
        """Fit the clip, encode it, and say what was done."""
        config = ClipConfig(
            width=width, height=height, length=length, fit=fit, source_fps=source_fps, target_fps=target_fps
        )
        clip = fit_clip(frames, config)
        samples = encode_video(vae, clip.frames, tiled=tiled)
        cuts = latent_cuts(find_cuts_in_video(clip.frames, CutConfig()), clip.length)
        latent = {"samples": samples, CUTS: (hash_of_reference(samples), cuts)}
        report = f"{clip.report} {_in_words(cuts)}" if cuts else clip.report
        return io.NodeOutput(latent, clip.width, clip.height, clip.length, report, ui=said_on(cls, report))


def _in_words(cuts: Sequence[int]) -> str:
    """Where frames of the latent that begin a shot are in the fitted clip, and what will be made of it."""
    places = " and ".join(str(first_video_frame(cut)) for cut in cuts)
    begins = "A new shot seems to begin" if len(cuts) == 1 else "New shots seem to begin"
    return f"{begins} near frame {places} of these: Invert Motion reads each by itself, unless its cuts is on ignore."
