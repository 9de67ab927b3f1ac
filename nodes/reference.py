"""Reference clip -> latent: resample in time, fit in space, encode with the user's VAE."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from comfy_api.latest import io

from ..fastvmt_core.config import ClipConfig, CutConfig, Fit
from ..fastvmt_core.grid import TEMPORAL_STRIDE, first_video_frame, video_length
from ..fastvmt_core.motion.clip_flow import clip_steps
from ..fastvmt_core.motion.fingerprint import hash_of_reference
from ..fastvmt_core.video.clip import MOST_FRAMES, FittedClip, fit_clip, fitted_text, size_change_text
from ..fastvmt_core.video.cuts import find_cuts_in_video, latent_cuts
from .host.files.vae import encode_video, models_fps, temporal_stride
from .host.files.video import Size, VideoFrames, free_memory, read_video
from .host.page.node_text import show_on_node
from .host.page.progress import bar_of
from .io_types import CUTS, FRAME_FLOW
from .schema import MOTION, advanced, node_schema, require_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from comfy.sd import VAE
    from comfy_api.latest import Input

DEFAULTS = ClipConfig()
MODELS_OWN = 0.0
"""The target_fps that stands for the model's own rate."""
LEAST_FPS = 0.1
"""The smallest other target_fps."""
AS_THEY_ARE = 0.0
"""The source_fps of frames that are not resampled."""


class FastVMTEncodeReference(io.ComfyNode):
    """Make a clip of any size, rate and length into the reference latent of a motion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets; sizes default to Wan 2.1's 480p clip."""
        return node_schema(
            node_id="FastVMTEncodeReference",
            display_name="FastVMT Encode Reference",
            category=MOTION,
            essential=True,
            search_aliases=[
                "motion transfer",
                "camera motion",
                "reference video",
                "video to video motion",
                "vae encode video",
                "resample video",
                "frame rate",
            ],
            description="Fits a reference clip to a size, rate and length that Wan can take, and encodes it. Connect "
            "video, or frames with their source_fps. Wire width, height and length on to the empty latent, so that "
            "both always agree.",
            inputs=[
                io.Vae.Input("vae", tooltip="The VAE that belongs to the model."),
                *_size_inputs(),
                *_rate_inputs(),
                io.Boolean.Input(
                    "tiled",
                    default=False,
                    tooltip="Takes far less VRAM, and more time: encodes in tiles of 256 pixels.",
                ),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="The reference clip from Load Video: its rate, rotation and variable frame rate are read "
                    "from the file. Connect this or frames.",
                ),
                io.Image.Input(
                    "frames",
                    optional=True,
                    tooltip="The reference clip as images, with their rate in source_fps. Connect this or video.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="reference", tooltip="The clip's latent, for Invert Motion."),
                io.Int.Output(id="fitted_width", display_name="width", tooltip="Width of the fitted clip, pixels."),
                io.Int.Output(id="fitted_height", display_name="height", tooltip="Height of the fitted clip, pixels."),
                io.Int.Output(id="fitted_length", display_name="length", tooltip="Frames of the fitted clip."),
                io.String.Output(display_name="report", tooltip="What was done to the clip."),
                io.Float.Output(
                    id="fitted_fps", display_name="fps", tooltip="Frames per second of the new video, for Create Video."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        vae: VAE,
        width: int,
        height: int,
        length: int,
        fit: Fit,
        source_fps: float,
        target_fps: float,
        tiled: bool,
        video: Input.Video | None = None,
        frames: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """Fit the clip, encode it, and report what was done."""
        require_choice("fit", fit, get_args(Fit))
        fps = _target_fps(vae, target_fps)
        stride = temporal_stride(vae)
        config = ClipConfig(width, height, length, fit, source_fps, fps)
        clip = fitted_reference(video, frames, config, stride)
        samples = encode_video(vae, clip.frames, tiled=tiled)
        video_cuts = find_cuts_in_video(clip.frames, CutConfig())
        cuts, identity = latent_cuts(video_cuts, clip.length, stride), hash_of_reference(samples)
        on_frame = bar_of(clip.length - 1)
        flow = clip_steps(clip.frames, tuple(samples.shape[-2:]), on_frame=on_frame, cuts=video_cuts, stride=stride)
        latent = {"samples": samples, CUTS: (identity, cuts), FRAME_FLOW: (identity, flow)}
        report = " ".join(
            text for text in (clip.report, _still_report(clip.length, stride), _cuts_report(cuts, stride)) if text
        )
        return io.NodeOutput(latent, clip.width, clip.height, clip.length, report, fps, ui=show_on_node(cls, report))


def _target_fps(vae: VAE, widget: float) -> float:
    """Frames per second of the new video.

    Raises:
        ValueError: the widget is neither 0 nor a rate that a video can have.
    """
    if widget == MODELS_OWN:
        return models_fps(vae)
    if not widget >= LEAST_FPS:
        raise ValueError(f"target_fps: expected 0 (the model's own) or at least {LEAST_FPS:g}, got {widget:g}.")
    return widget


def _size_inputs() -> list[io.Input]:
    """Size, length, and what happens to clips of another shape."""
    return [
        io.Int.Input(
            "width",
            default=DEFAULTS.width,
            min=0,
            max=8192,
            step=16,
            tooltip="Width of the reference and of the new video in pixels, a multiple of 16. 0: the clip's own.",
        ),
        io.Int.Input(
            "height",
            default=DEFAULTS.height,
            min=0,
            max=8192,
            step=16,
            tooltip="Height of the reference and of the new video in pixels, a multiple of 16. 0: the clip's own.",
        ),
        io.Int.Input(
            "length",
            default=DEFAULTS.length,
            min=0,
            max=MOST_FRAMES,
            step=1,
            tooltip="Frames to use at most, rounded down to 4n+1 (LTX-Video, Cosmos 1: 8n+1, Mochi: 6n+1); 81 is Wan's "
            "own. 0: all, 4097 at most.",
        ),
        io.Combo.Input(
            "fit",
            options=list(get_args(Fit)),
            default=DEFAULTS.fit,
            tooltip="What happens to a clip of another shape. crop: cut off what is too much. pad: add black borders. "
            "stretch: distort it.",
        ),
    ]


def _rate_inputs() -> list[io.Input]:
    """Frames per second of the clip and of the new video."""
    return [
        io.Float.Input(
            "source_fps",
            default=DEFAULTS.source_fps,
            min=AS_THEY_ARE,
            max=1000.0,
            step=0.001,
            tooltip="Frames per second of the images in frames; a video brings its own. 0: use the images as they are.",
        ),
        advanced(
            io.Float.Input(
                "target_fps",
                default=MODELS_OWN,
                min=MODELS_OWN,
                max=1000.0,
                step=0.001,
                tooltip="Frames per second of the new video; the clip keeps its speed. 0: the model's own (Wan: 16, "
                "Wan 2.2 5B: 24, LTX-Video: 25, Mochi: 30).",
            )
        ),
    ]


def fitted_reference(
    video: Input.Video | None, frames: torch.Tensor | None, config: ClipConfig, stride: int = TEMPORAL_STRIDE
) -> FittedClip:
    """The clip at the rate, length and size of `config`, from exactly one of a video and images.

    Raises:
        ValueError: none or both are given, or the clip cannot be read or fitted.
    """
    if (video is None) == (frames is None):
        given = "none" if video is None else "both"
        raise ValueError(f"video, frames: expected exactly one of the two inputs, got {given}; connect one of them.")

    def fit(frames: torch.Tensor, config: ClipConfig, name: str = "frames") -> FittedClip:
        return fit_clip(frames, config, name, stride, free_memory())

    if video is None:
        return fit(frames, config)
    most = video_length(config.length, stride) if config.length else 0
    read = read_video(video, config.target_fps, most, Size(config.height, config.width, config.fit))
    if read is None:
        components = video.get_components()
        return fit(components.images, replace(config, source_fps=float(components.frame_rate)), "video")
    clip = fit(read.frames, replace(config, source_fps=AS_THEY_ARE), "video")
    return replace(clip, report=_video_report(read, clip, config))


def _video_report(video: VideoFrames, clip: FittedClip, config: ClipConfig) -> str:
    """What the video is, what of it is used, and what was changed."""
    rate = f" at {video.fps:.4g} frames per second" if video.fps else ""
    used = clip.length / config.target_fps
    report = [f"The video has {video.size[1]} x {video.size[0]} pixels{rate}."]
    # Half a second: the frames that do not fill 4n + 1 are not worth a sentence.
    if video.seconds - used > 0.5:
        asked = f": length is {config.length} frames; 0 takes all" if config.length else ""
        report.append(f"Its first {used:.1f} of {video.seconds:.1f} seconds are used{asked}.")
    report.append(f"{fitted_text(clip.frames)} at {config.target_fps:.4g} frames per second.")
    if len(video.frames) < config.length:
        report.append(f"The clip is shorter than the {config.length} frames asked for.")
    if video.damaged:
        report.append(f"{video.damaged} damaged parts of the video were left out; frames beside them take their place.")
    if video.size != (clip.height, clip.width):
        report.append(size_change_text(video.size, (clip.height, clip.width), config.fit))
    return " ".join(report)


def _still_report(length: int, stride: int) -> str:
    """What is wrong with a clip of a single frame of the latent; empty for longer ones."""
    if length > stride:
        return ""
    return (
        f"A single frame shows no motion, and Invert Motion will refuse it: use at least {stride + 1} frames at "
        "the model's rate."
    )


def _cuts_report(cuts: Sequence[int], stride: int) -> str:
    """Where frames of the latent that begin a shot are in the fitted clip, and what follows from it; empty without."""
    if not cuts:
        return ""
    frames = " and ".join(str(first_video_frame(cut, stride)) for cut in cuts)
    begins = "A new shot seems to begin" if len(cuts) == 1 else "New shots seem to begin"
    return f"{begins} near frame {frames} of these: Invert Motion reads each by itself, unless its cuts is on ignore."
