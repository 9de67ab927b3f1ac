"""What a motion is, for people: its description as text, and its thumbnail."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..grid import first_video_frame
from ..motion.about import MOST_NAME, MOST_NOTE
from ..motion.embedding import MotionEmbedding
from ..motion.fields import frame_flow_of
from ..motion.header import FASTVMT
from ..video.clip import require_clip
from .motion_pictures import GREY, resized

THUMBNAIL = 128
"""Pixels of a thumbnail's longer side."""


def with_about(
    motion: MotionEmbedding, name: str, note: str, frames: Tensor | None, fps: float, keep_reference: bool
) -> MotionEmbedding:
    """The motion to be saved: with its name, note and thumbnail, and without its reference where that is not kept.

    Args:
        motion: any.
        name: what it is called.
        note: what is to be remembered.
        frames: (T, H, W, 3) in [0, 1], the reference clip, for its size and a thumbnail.
        fps: its frames a second; 0: unknown.
        keep_reference: keep the latent, and a thumbnail that the motion came with; otherwise the movement that edits
            need is read from the latent first.

    Raises:
        ValueError: a text is too long, or the frames are none.
    """
    if len(note) > MOST_NOTE:
        raise ValueError(f"note: expected at most {MOST_NOTE} characters, got {len(note)}; shorten it.")
    about, kept = replace(motion.about, name=name[:MOST_NAME], note=note), motion.thumbnail
    if fps:
        about = replace(about, fps=float(fps))
    if frames is not None:
        require_clip("frames", frames)
        about = replace(about, width=int(frames.shape[2]), height=int(frames.shape[1]))
        kept = thumbnail(frames[len(frames) // 2])
    if not keep_reference:
        kept = kept if frames is not None else None
        motion = replace(motion, frame_flow=frame_flow_of(motion).contiguous(), reference=None)
    return replace(motion, about=about, thumbnail=kept)


def described(motion: MotionEmbedding) -> str:
    """A few lines of text: name, note, size, model, and the share of the frame that is guided."""
    about, grid, model = motion.about, motion.grid, motion.fingerprint
    lines = [about.name] if about.name else []
    lines += [about.note] if about.note else []
    if about.width:
        rate = f", {about.fps:g} frames per second" if about.fps else ""
        lines.append(f"From {about.width} x {about.height} pixels{rate}.")
    # Where one latent frame more would begin.
    length = first_video_frame(grid.frames, model.temporal_stride)
    size = f"{grid.width * model.pixels_per_token} x {grid.height * model.pixels_per_token} pixels"
    lines.append(f"{length} frames of {size} ({grid}).")
    blocks = " and ".join(str(block) for block in model.blocks)
    sigmas = ", ".join(f"{sigma:g}" for sigma in motion.sigmas)
    lines.append(f"{model.model_class} of {model.depth} blocks, width {model.dim}; block {blocks}, sigma {sigmas}.")
    if motion.objective != FASTVMT:
        lines.append(f"Read for the objective {motion.objective}.")
    if motion.mask is not None:
        lines.append(f"Guides {float(motion.mask.mean()):.0%} of the frame.")
    return "\n".join(lines)


def thumbnail_of(motion: MotionEmbedding) -> Tensor:
    """(1, h, w, 3) in [0, 1]: the thumbnail in the file, or grey of the motion's shape."""
    if motion.thumbnail is not None:
        return motion.thumbnail[None].float() / 255
    scale = THUMBNAIL / max(motion.grid.height, motion.grid.width)
    size = max(1, round(motion.grid.height * scale)), max(1, round(motion.grid.width * scale))
    return torch.tensor(GREY).expand(1, *size, 3).clone()


def thumbnail(frame: Tensor) -> Tensor:
    """(h, w, 3) uint8, at most THUMBNAIL pixels a side, of a frame (H, W, 3)."""
    scale = min(1.0, THUMBNAIL / max(frame.shape[:2]))
    size = [max(1, round(side * scale)) for side in frame.shape[:2]]
    return (resized(frame, *size) * 255).round().to(torch.uint8)
