"""Images of a motion: its movement over the reference, as arrows or as colours, with a legend and a plot."""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from kornia.geometry.transform import resize
from torch import Tensor

from ..motion.embedding import MotionEmbedding
from ..motion.fields import beyond_static_bias, frame_flow_of
from ..video.clip import require_clip
from .drawing import PAPER, cell_arrows, draw_arrows, enlarged, flow_colours, plot, wheel

View = Literal["arrows", "colours"]
Shown = Literal["movement", "attention"]

GREY: tuple[float, float, float] = (0.32, 0.34, 0.38)
"""Behind the arrows if no reference is given."""
_APART, _MOST_ACROSS = 18, 24
"""Pixels between arrows at least, and arrows across an image at most."""
_NARROWEST = 64
"""Pixels of any side: room for the legend, even if a very long clip is stretched by it."""
_LEAST_SHOWN = 0.25
"""Tokens: movement below it is shown in faint colours, however little moves."""
_SMALLEST, _LARGEST = 256, 1280
"""Pixels of an image's shorter side at least, and of its longer side at most."""


def pictures_of(motion: MotionEmbedding, view: View, shown: Shown, frames: Tensor | None = None) -> Tensor:
    """(F - 1, h, w, 3) in [0, 1]: the motion from each latent frame to the next.

    Below each image is its legend, the colour wheel, and a plot of the mean movement over time.

    Args:
        motion: any; one of a single frame gives one image.
        view: arrows over the frames, or colours by direction and length.
        shown: the movement of the reference itself, or the model's attention beyond its static bias.
        frames: (T, H, W, 3) in [0, 1], the reference clip; without it arrows stand on grey.

    Raises:
        ValueError: the frames are none, or attention is asked for and was never compared between frames.
    """
    if frames is not None:
        require_clip("frames", frames)
    fields = _fields(motion, shown)
    lengths = torch.linalg.vector_norm(fields, dim=-1)
    largest = largest_shown(lengths)
    means = lengths.mean((1, 2)).tolist()
    height, width = _size(motion, frames)
    footer = _footer_height(width)
    images = torch.empty(len(fields), height + footer, width, 3)
    for time, field in enumerate(fields):
        under = _under(frames, time, len(fields), height, width)
        if view == "arrows":
            image = draw_arrows(under, *cell_arrows(field, height, width, max(_APART, width / _MOST_ACROSS)))
        else:
            image = flow_colours(enlarged(field, height, width), largest)
        images[time, :height], images[time, height:] = image, _footer(means, time, width)
        images[time].clamp_(0, 1)
    return images


def largest_shown(lengths: Tensor) -> float:
    """The length, tokens, that gets the full colour: all but a hundredth of `lengths` are shorter."""
    if not lengths.numel():
        return _LEAST_SHOWN
    # Not `quantile`, which takes no more than 2^24 values.
    return max(_LEAST_SHOWN, float(lengths.flatten().kthvalue(1 + round(0.99 * (lengths.numel() - 1))).values))


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
    scale = min(scale if frames is None else max(1.0, scale), _LARGEST / max(height, width))
    return max(_NARROWEST, round(height * scale)), max(_NARROWEST, round(width * scale))


def _under(frames: Tensor | None, time: int, count: int, height: int, width: int) -> Tensor:
    if frames is None:
        return torch.tensor(GREY).expand(height, width, 3).clone()
    at = round(time * (len(frames) - 1) / max(1, count))
    return resized(frames[at], height, width)


def _footer_height(width: int) -> int:
    return max(24, min(64, width // 4))


def _footer(means: list[float], time: int, width: int) -> Tensor:
    side = _footer_height(width)
    legend = wheel(side)
    gap = torch.tensor(PAPER).expand(side, 6, 3)
    return torch.cat((legend, gap, plot(means, time, side, width - side - 6)), 1)


def resized(frame: Tensor, height: int, width: int) -> Tensor:
    """(height, width, 3) in [0, 1] of a frame (H, W, 3 or more)."""
    image = rearrange(frame[..., :3].detach().float().cpu(), "h w c -> 1 c h w")
    return rearrange(resize(image, (height, width), antialias=True), "1 c h w -> h w c").clamp(0, 1)
