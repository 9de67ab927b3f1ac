"""The reference of the demo: any video becomes a short, small MP4 that every ComfyUI can read."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import torch

from fastvmt_core.config import ClipConfig
from fastvmt_core.video.clip import fit_clip
from tools.demo.transfer import node
from tools.host.client import Graph
from tools.train.clips import Floats, write_video

SHORT_SIDE = 256
"""Larger videos are shrunk to this many pixels first; the tiny model makes 128 of them anyway."""
FALLBACK_FPS = 16.0
"""For images and raw streams, which have no rate."""


class UnusableVideo(ValueError):
    """The video cannot be a reference; the message gives the reason in a line."""


def cut_reference(video: Path, target: Path, seconds: float) -> None:
    """Write the first ``seconds`` of ``video``, no larger than needed, to ``target``.

    ComfyUI holds every frame of an input video at full size in memory: a minute of a phone's video would fill it.

    Raises:
        UnusableVideo: it cannot be read, or does not move.
    """
    frames: list[Floats] = []
    try:
        with av.open(str(video)) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                raise UnusableVideo(f"{video} has no video stream")
            fps = float(stream.average_rate or stream.guessed_rate or FALLBACK_FPS)
            for frame in container.decode(stream):
                frames.append(_shrunk(frame))
                if len(frames) >= seconds * fps:
                    break
    except (av.FFmpegError, OSError) as error:
        raise UnusableVideo(f"can't read {video}: {error.strerror or error}") from error
    if len(frames) < 2:
        raise UnusableVideo(f"{video} has no motion: it holds {len(frames)} frame(s)")
    write_video(target, np.stack(frames) / 255, fps)


def fitted_frames(video: Path, graph: Graph) -> Floats:
    """The frames of ``video`` as the graph's encode node will take them, (T, H, W, 3) float32 in [0, 1]."""
    with av.open(str(video)) as container:
        fps = float(container.streams.video[0].average_rate)
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    settings = {**node(graph, "Encode reference")["inputs"], "source_fps": fps}
    names = ("width", "height", "length", "fit", "source_fps", "target_fps")
    config = ClipConfig(**{name: settings[name] for name in names})
    return fit_clip(torch.from_numpy(frames).float() / 255, config).frames.numpy()


def known_path(video: Path, fitted: Floats) -> tuple[str, Floats] | None:
    """Colour and true path of the sprite in a clip made by ``tools.train.clips``; None for any other video.

    They lie beside the video, and are valid only if the clip was neither resized nor resampled.
    """
    notes = video.with_suffix(".json")
    if not notes.exists():
        return None
    description = json.loads(notes.read_text(encoding="utf-8"))
    if [len(fitted), *fitted.shape[1:3]] != description.get("size"):
        return None
    return description["colour"], np.asarray(description["path"])


def _shrunk(frame: av.VideoFrame) -> Floats:
    scale = min(1.0, SHORT_SIDE / min(frame.width, frame.height))
    # Even sizes: the common pixel format of MP4 has one colour sample for each 2x2 pixels.
    width, height = (max(2, round(size * scale / 2) * 2) for size in (frame.width, frame.height))
    return frame.reformat(width=width, height=height, interpolation="AREA").to_ndarray(format="rgb24")
