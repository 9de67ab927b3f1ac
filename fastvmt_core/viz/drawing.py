"""Images (H, W, 3) in [0, 1] of displacements: the standard colour wheel, arrows, and a plot over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from kornia.color import hsv_to_rgb
from torch import Tensor

from ..attention.windows import token_positions
from ..motion.trajectories import sampled

Colour = tuple[float, float, float]

ARROW: Colour = (1.0, 0.92, 0.2)
OUTLINE: Colour = (0.05, 0.05, 0.08)
PAPER: Colour = (0.97, 0.97, 0.95)
INK: Colour = (0.15, 0.2, 0.35)
FAINT: Colour = (0.75, 0.77, 0.82)
_HEAD = 0.35
"""Length of an arrow's head, of the arrow's."""
_SHORTEST = 0.75
"""Pixels: what is shorter is drawn as a dot."""
_PIXELS_AT_ONCE, _PIECE = 2**21, 48.0
"""Of the squares that lines are drawn in together; and length of the pieces that long lines are cut into."""


def flow_colours(flow: Tensor, largest: float) -> Tensor:
    """(..., 3): hue is the direction, strength the length; white stands still (the wheel of optical flow).

    Args:
        flow: (..., 2) displacements (dx, dy).
        largest: length that gets the full colour.
    """
    angle = torch.atan2(flow[..., 1], flow[..., 0]) % (2 * math.pi)
    length = (torch.linalg.vector_norm(flow, dim=-1) / max(largest, 1e-9)).clamp(max=1)
    hsv = torch.stack((angle, length, torch.ones_like(length)), dim=-1)
    flat = hsv.reshape(-1, 3)
    return rearrange(hsv_to_rgb(rearrange(flat, "n c -> 1 c n 1")), "1 c n 1 -> n c").reshape(hsv.shape)


def wheel(side: int) -> Tensor:
    """(side, side, 3): what each direction's colour is; its border is the largest length."""
    line = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(line, line, indexing="ij")
    flow = torch.stack((x, y), dim=-1)
    inside = torch.linalg.vector_norm(flow, dim=-1) <= 1
    return torch.where(inside[..., None], flow_colours(flow, 1.0), torch.tensor(PAPER))


def enlarged(field: Tensor, height: int, width: int) -> Tensor:
    """(height, width, C): `field` (H, W, C) on tokens at every pixel, bilinear."""
    size = torch.tensor((field.shape[1] / width, field.shape[0] / height))
    return sampled(field, (token_positions(height, width) + 0.5) * size - 0.5)


def cell_arrows(field: Tensor, height: int, width: int, apart: float) -> tuple[Tensor, Tensor]:
    """Arrows over an image: starts (N, 2) and vectors (N, 2), both in pixels.

    Args:
        field: (H, W, 2), tokens.
        height: of the image, pixels.
        width: likewise.
        apart: pixels between neighbouring arrows, at least.
    """
    rows, columns = (max(1, min(n, int(side // apart))) for n, side in zip(field.shape, (height, width), strict=False))
    y = (torch.arange(rows) + 0.5) * height / rows
    x = (torch.arange(columns) + 0.5) * width / columns
    starts = rearrange(torch.stack(torch.meshgrid(x, y, indexing="xy"), -1), "r c xy -> (r c) xy")
    scale = torch.tensor((width / field.shape[1], height / field.shape[0]))
    vectors = sampled(field, (starts / scale - 0.5)[None])[0] * scale
    return starts, vectors


def draw_arrows(image: Tensor, starts: Tensor, vectors: Tensor, colour: Colour = ARROW) -> Tensor:
    """`image` (H, W, 3) with an arrow from each start along its vector, outlined so that it shows on anything.

    Args:
        image: (H, W, 3).
        starts: (N, 2), pixels (x, y).
        vectors: (N, 2), pixels.
        colour: of the arrows.
    """
    lines = []
    for (x, y), (dx, dy) in zip(starts.tolist(), vectors.tolist(), strict=True):
        length = math.hypot(dx, dy)
        if length < _SHORTEST:
            lines.append((x, y, x, y))
            continue
        end = x + dx, y + dy
        lines.append((x, y, *end))
        head = min(9.0, max(3.0, _HEAD * length)) / length
        for turn in (2.6, -2.6):
            cos, sin = math.cos(turn) * head, math.sin(turn) * head
            lines.append((*end, end[0] + dx * cos - dy * sin, end[1] + dx * sin + dy * cos))
    return draw_lines(draw_lines(image, lines, 1.9, OUTLINE), lines, 0.9, colour)


def draw_lines(image: Tensor, lines: Sequence[Sequence[float]], radius: float, colour: Colour) -> Tensor:
    """`image` (H, W, 3) with lines (x0, y0, x1, y1) of that half width, pixels; their edges are soft."""
    height, width = image.shape[:2]
    cover = torch.zeros(height * width)
    ends = _pieces(torch.tensor(lines, dtype=torch.float32).reshape(-1, 4))
    reach = (ends[:, :2] - ends[:, 2:]).abs().amax(1) + 2 * radius + 3
    side = 2 ** reach.log2().ceil().int()
    # Lines of about one size at once, each in a square of its own.
    for size in side.unique().tolist():
        for some in ends[side == size].split(max(1, _PIXELS_AT_ONCE // size**2)):
            place, patch = _line_patches(some, size, radius)
            inside = ((place >= 0) & (place < torch.tensor((width, height)))).all(-1)
            index = torch.where(inside, place[..., 1] * width + place[..., 0], 0)
            cover.scatter_reduce_(0, index.flatten(), torch.where(inside, patch, 0).flatten(), "amax")
    cover = rearrange(cover, "(h w) -> h w 1", h=height)
    return torch.lerp(image.float(), torch.tensor(colour).expand_as(image), cover)


def _pieces(ends: Tensor) -> Tensor:
    """(M, 4): lines (N, 4) cut into pieces of at most _PIECE pixels, so that the squares around them stay small."""
    length = torch.linalg.vector_norm(ends[:, 2:] - ends[:, :2], dim=1)
    count = (length / _PIECE).ceil().clamp(min=1).long()
    number = torch.arange(int(count.sum())) - (count.cumsum(0) - count).repeat_interleave(count)
    whole, parts = ends.repeat_interleave(count, 0), count.repeat_interleave(count)
    start, step = whole[:, :2], whole[:, 2:] - whole[:, :2]
    return torch.cat((start + step * (number / parts)[:, None], start + step * ((number + 1) / parts)[:, None]), 1)


def _line_patches(ends: Tensor, size: int, radius: float) -> tuple[Tensor, Tensor]:
    """Pixels (N, size, size, 2) (x, y) around each of N lines, and how much of each one the line covers."""
    start, line = ends[:, None, None, :2], ends[:, None, None, 2:] - ends[:, None, None, :2]
    corner = (torch.minimum(ends[:, :2], ends[:, 2:]) - radius - 1).floor().long()
    square = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="xy"), -1)
    place = corner[:, None, None] + square
    off = place + 0.5 - start
    along = ((off * line).sum(-1) / line.square().sum(-1).clamp(min=1e-12)).clamp(0, 1)
    distance = torch.linalg.vector_norm(off - along[..., None] * line, dim=-1)
    return place, (radius + 0.5 - distance).clamp(0, 1)


def plot(values: Sequence[float], now: int, height: int, width: int) -> Tensor:
    """(height, width, 3): a curve of `values` over time from 0 to their largest, the value of time `now` marked."""
    image = torch.tensor(PAPER).expand(height, width, 3).clone()
    pad = min(5.0, height / 5)
    top = max(*values, 1e-9) if len(values) > 1 else max(values[0], 1e-9)
    step = (width - 2 * pad) / max(1, len(values) - 1)
    points = [(pad + step * time, height - pad - (height - 2 * pad) * v / top) for time, v in enumerate(values)]
    image = draw_lines(image, [(pad, height - pad, width - pad, height - pad)], 0.5, FAINT)
    lines = [(*a, *b) for a, b in zip(points[:-1], points[1:], strict=True)]
    image = draw_lines(image, lines, 0.8, INK)
    x, y = points[min(now, len(points) - 1)]
    return draw_lines(draw_lines(image, [(x, pad, x, height - pad)], 0.5, FAINT), [(x, y, x, y)], 2.6, INK)


def draw_paths(image: Tensor, paths: Tensor, now: int, colour: Colour) -> Tensor:
    """`image` (H, W, 3) with tracks (N, T, 2), pixels, up to time `now`; a dot is where each is then."""
    lines = []
    for path in paths[:, : now + 1].tolist():
        lines += [(*a, *b) for a, b in zip(path[:-1], path[1:], strict=True)]
    dots = [(x, y, x, y) for x, y in paths[:, now].tolist()]
    image = draw_lines(image, lines, 0.6, colour)
    return draw_lines(draw_lines(image, dots, 2.2, OUTLINE), dots, 1.4, colour)
