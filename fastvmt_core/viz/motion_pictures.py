"""A motion shown: what is said of it, a small picture, and its movement drawn over the reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from einops import rearrange
from kornia.geometry.transform import resize
from torch import Tensor

from ..grid import first_video_frame
from ..motion.about import MOST_NAME, MOST_NOTE
from ..motion.embedding import MotionEmbedding
from ..motion.fields import beyond_static_bias, frame_flow_of
from ..video.clip import require_clip
from .drawing import PAPER, cell_arrows, draw_arrows, enlarged, flow_colours, plot, wheel

View = Literal["arrows", "colours"]
Shown = Literal["movement", "attention"]

THUMBNAIL = 128
"""Pixels of a thumbnail's longer side."""
PLAIN: tuple[float, float, float] = (0.32, 0.34, 0.38)
"""Where no reference is given."""
_APART, _MOST_ACROSS = 18, 24
"""Pixels between arrows at least, and arrows across a picture at most."""
_SMALLEST, _LARGEST = 256, 1280
"""Pixels of a picture's shorter side at least, and of its longer side at most."""


def with_about(
    motion: MotionEmbedding, name: str, note: str, frames: Tensor | None, fps: float, keep_reference: bool
) -> MotionEmbedding:
    """The motion as it is to be saved: named, described, and without its reference where that is not to be kept.

    Args:
        motion: any.
        name: what it is called.
        note: what is to be remembered.
        frames: (T, H, W, 3) in [0, 1], the reference clip, for its size and a small picture.
        fps: its frames a second; 0: unknown.
        keep_reference: keep the latent, and a picture that the motion came with; otherwise the movement that edits need
            is read from the latent first.

    Raises:
        ValueError: a text is too long, or the frames are none.
    """
    if len(note) > MOST_NOTE:
        raise ValueError(f"note: expected at most {MOST_NOTE} characters, got {len(note)}; shorten it.")
    about, picture = replace(motion.about, name=name[:MOST_NAME], note=note), motion.thumbnail
    if fps:
        about = replace(about, fps=float(fps))
    if frames is not None:
        require_clip("frames", frames)
        about = replace(about, width=int(frames.shape[2]), height=int(frames.shape[1]))
        picture = _small(frames[len(frames) // 2])
    if not keep_reference:
        picture = picture if frames is not None else None
        motion = replace(motion, frame_flow=frame_flow_of(motion).contiguous(), reference=None)
    return replace(motion, about=about, thumbnail=picture)


def described(motion: MotionEmbedding) -> str:
    """What a motion is, in a few lines."""
    about, grid, model = motion.about, motion.grid, motion.fingerprint
    lines = [about.name] if about.name else []
    lines += [about.note] if about.note else []
    if about.width:
        rate = f", {about.fps:g} frames per second" if about.fps else ""
        lines.append(f"From {about.width} x {about.height} pixels{rate}.")
    # Where one latent frame more would begin.
    length = first_video_frame(grid.frames)
    size = f"{grid.width * model.pixels_per_token} x {grid.height * model.pixels_per_token} pixels"
    lines.append(f"{length} frames of {size} ({grid}).")
    blocks = " and ".join(str(block) for block in model.blocks)
    sigmas = ", ".join(f"{sigma:g}" for sigma in motion.sigmas)
    lines.append(f"{model.model_class} of {model.depth} blocks, width {model.dim}; block {blocks}, sigma {sigmas}.")
    if motion.mask is not None:
        lines.append(f"Guides {float(motion.mask.mean()):.0%} of the picture.")
    return "\n".join(lines)


def thumbnail_of(motion: MotionEmbedding) -> Tensor:
    """(1, h, w, 3) in [0, 1]: the picture in the file, or plain grey of the motion's shape."""
    if motion.thumbnail is not None:
        return motion.thumbnail[None].float() / 255
    scale = THUMBNAIL / max(motion.grid.height, motion.grid.width)
    size = max(1, round(motion.grid.height * scale)), max(1, round(motion.grid.width * scale))
    return torch.tensor(PLAIN).expand(1, *size, 3).clone()


def pictures_of(motion: MotionEmbedding, view: View, shown: Shown, frames: Tensor | None = None) -> Tensor:
    """(F - 1, h, w, 3) in [0, 1]: the motion from each latent frame to the next.

    Below each picture is its legend, the colour wheel, and a plot of the mean movement over time.

    Args:
        motion: any; one of a single frame gives one picture.
        view: arrows over the frames, or colours by direction and length.
        shown: where things move, from the reference itself, or what the model's attention says beyond its rest.
        frames: (T, H, W, 3) in [0, 1], the reference clip; without it arrows stand on grey.

    Raises:
        ValueError: the frames are none, or attention is asked for and was never compared between frames.
    """
    if frames is not None:
        require_clip("frames", frames)
    fields = _fields(motion, shown)
    lengths = torch.linalg.vector_norm(fields, dim=-1)
    largest = max(0.25, float(lengths.quantile(0.99)) if lengths.numel() else 0.0)
    means = lengths.mean((1, 2)).tolist()
    height, width = _size(motion, frames)
    pictures = []
    for time, field in enumerate(fields):
        under = _under(frames, time, len(fields), height, width)
        if view == "arrows":
            picture = draw_arrows(under, *cell_arrows(field, height, width, max(_APART, width / _MOST_ACROSS)))
        else:
            picture = flow_colours(enlarged(field, height, width), largest)
        pictures.append(torch.cat((picture, _footer(means, time, width))))
    return torch.stack(pictures).clamp(0, 1)


def _fields(motion: MotionEmbedding, shown: Shown) -> Tensor:
    """(F - 1, H, W, 2) tokens; one of zeros for a single frame."""
    frames, height, width = motion.grid.as_tuple
    if frames < 2:
        return torch.zeros(1, height, width, 2)
    if shown == "movement":
        return frame_flow_of(motion)[0].float()
    pairs = motion.flows[0].pairs
    if (0, 1) not in pairs:
        raise ValueError("show: expected a motion of temporal_span 2 or more for attention, got 1; show the movement.")
    return beyond_static_bias(motion)[[pairs.index((time, time + 1)) for time in range(frames - 1)]].float()


def _size(motion: MotionEmbedding, frames: Tensor | None) -> tuple[int, int]:
    height, width = motion.grid.as_tuple[1:] if frames is None else frames.shape[1:3]
    scale = _SMALLEST / min(height, width)
    # Arrows on grey need no more.
    scale = scale if frames is None else min(max(1.0, scale), _LARGEST / max(height, width))
    return round(height * scale), round(width * scale)


def _under(frames: Tensor | None, time: int, count: int, height: int, width: int) -> Tensor:
    if frames is None:
        return torch.tensor(PLAIN).expand(height, width, 3).clone()
    at = round(time * (len(frames) - 1) / max(1, count))
    return _resized(frames[at], height, width)


def _footer(means: list[float], time: int, width: int) -> Tensor:
    side = max(24, min(64, width // 4))
    legend = wheel(side)
    gap = torch.tensor(PAPER).expand(side, 6, 3)
    return torch.cat((legend, gap, plot(means, time, side, width - side - 6)), 1)


def _small(frame: Tensor) -> Tensor:
    """(h, w, 3) uint8 of a frame (H, W, 3)."""
    scale = min(1.0, THUMBNAIL / max(frame.shape[:2]))
    size = [max(1, round(side * scale)) for side in frame.shape[:2]]
    return (_resized(frame, *size) * 255).round().to(torch.uint8)


def _resized(frame: Tensor, height: int, width: int) -> Tensor:
    picture = rearrange(frame[..., :3].detach().float().cpu(), "h w c -> 1 c h w")
    return rearrange(resize(picture, (height, width), antialias=True), "1 c h w -> h w c").clamp(0, 1)
