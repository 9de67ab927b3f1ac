"""Layers of a clip and their rendering: a ground, and cut-outs that move over it, by antialiased warps.

Axes: F frames, H and W rows and columns of pixels. Positions and matrices are as in `moves`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from kornia.geometry.transform import warp_affine
from torch import Tensor
from torch.nn.functional import avg_pool2d

from .moves import moved_points

FINEST = 4
"""Sub-pixels a side at most; as many as a layer is shrunk, so that none of its pixels is skipped."""
PIXELS_AT_ONCE = 2**22


@dataclass(frozen=True, eq=False)
class Layer:
    """A cut-out and where it goes."""

    cutout: Tensor
    """(4, h, w) in [0, 1]: colours times coverage, and coverage."""
    corner: tuple[int, int]
    """x and y of its top left corner in the picture, pixels."""
    matrices: Tensor
    """(F, 3, 3)."""
    shown: Tensor | None = None
    """(F,) bool: the frames that show it; None: all."""


def layer_of(colours: Tensor, mask: Tensor, matrices: Tensor, shown: Tensor | None = None) -> Layer:
    """The layer of what a mask (H, W) covers of a picture (H, W, 3)."""
    rows, columns = (torch.nonzero(mask.amax(axis) > 0)[:, 0] for axis in (1, 0))
    inside = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    cover = mask[inside][None]
    cutout = torch.cat((rearrange(colours[inside], "h w c -> c h w") * cover, cover))
    return Layer(cutout, (inside[1].start, inside[0].start), matrices, shown)


def rendered(
    ground: Tensor,
    ground_matrices: Tensor,
    layers: Sequence[Layer],
    chosen: int = 0,
    on_layer: Callable[[], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """(F, H, W, 3) frames in [0, 1] and the mask (F, H, W) of what is visible of the layers.

    Args:
        ground: (H, W, 3) in [0, 1]; beyond its border it is mirrored.
        ground_matrices: (F, 3, 3).
        layers: the cut-outs, the last on top.
        chosen: the layer, from 1, whose mask is returned; 0: all together.
        on_layer: called after the ground and after each layer.
    """
    height, width = ground.shape[:2]
    frames = _ground(ground, ground_matrices)
    mask = torch.zeros(len(frames), height, width)
    for number, layer in enumerate([None, *layers]):
        if layer is not None:
            _paste(layer, frames, mask, hides=chosen not in (0, number))
        if on_layer is not None:
            on_layer()
    return rearrange(frames, "f c h w -> f h w c").clamp(0, 1), mask.clamp(0, 1)


def _ground(ground: Tensor, matrices: Tensor) -> Tensor:
    """(F, 3, H, W): the ground under each matrix."""
    image = rearrange(ground, "h w c -> c h w")
    still = torch.eye(3).expand_as(matrices)
    if torch.equal(matrices, still):
        return image.repeat(len(matrices), 1, 1, 1)
    size, corners = image.shape[1:], torch.zeros(len(matrices), 2)
    return torch.cat([part for _, part in _warped(image, (0, 0), matrices, corners, size, "reflection")])


def _paste(layer: Layer, frames: Tensor, mask: Tensor, hides: bool) -> None:
    """Put a layer on frames (F, 3, H, W), and what it covers into the mask, or out of it if it `hides` others."""
    height, width = frames.shape[2:]
    (left, top), (h, w) = layer.corner, layer.cutout.shape[1:]
    outline = torch.tensor([(left, top), (left + w, top), (left, top + h), (left + w, top + h)], dtype=torch.float32)
    shown = moved_points(layer.matrices, outline)
    low = shown.amin(1).floor() - 1
    most = (shown.amax(1) - low).amax(0).ceil() + 1
    size = min(height, int(most[1])), min(width, int(most[0]))
    # A layer larger than the frame is rendered where the frame is.
    corners = torch.stack(
        [low[:, 0] if size[1] < width else 0 * low[:, 0], low[:, 1] if size[0] < height else 0 * low[:, 1]], 1
    )
    for start, patches in _warped(layer.cutout, layer.corner, layer.matrices, corners, size, "zeros"):
        for frame, patch in enumerate(patches, start):
            if layer.shown is not None and not layer.shown[frame]:
                continue
            x, y = (int(each) for each in corners[frame])
            rows, columns = (max(0, y), min(height, y + size[0])), (max(0, x), min(width, x + size[1]))
            if rows[0] >= rows[1] or columns[0] >= columns[1]:
                continue
            part = patch[:, rows[0] - y : rows[1] - y, columns[0] - x : columns[1] - x]
            rows, columns = slice(*rows), slice(*columns)
            cover = part[3]
            frames[frame, :, rows, columns] = frames[frame, :, rows, columns] * (1 - cover) + part[:3]
            before = mask[frame, rows, columns] * (1 - cover)
            mask[frame, rows, columns] = before if hides else before + cover


def _warped(
    image: Tensor, origin: tuple[int, int], matrices: Tensor, corners: Tensor, size: Sequence[int], padding: str
) -> Iterator[tuple[int, Tensor]]:
    """(first frame, patches (f, C, h, w)) of frame after frame: an image under each matrix.

    Args:
        image: (C, h, w), whose top left corner lies at `origin` (x, y) of the picture.
        origin: see image.
        matrices: (F, 3, 3).
        corners: (F, 2) where in the frame the patches begin, whole pixels.
        size: height and width of the patches.
        padding: what lies around the image.
    """
    shrunk = float(matrices[:, :2, :2].det().clamp(min=1e-9).sqrt().min())
    finer = min(FINEST, max(1, math.ceil(1 / shrunk - 1e-4)))
    # warp_affine counts from the middle of the first pixel.
    from_middle = _affine(1.0, torch.tensor([[o + 0.5 for o in origin]]))
    to_middle = _affine(finer, -corners * finer - 0.5)
    maps = (to_middle @ matrices @ from_middle)[:, :2]
    at_once = max(1, PIXELS_AT_ONCE // (size[0] * size[1] * finer**2))
    for start in range(0, len(maps), at_once):
        part = maps[start : start + at_once]
        fine = (size[0] * finer, size[1] * finer)
        warped = warp_affine(image.expand(len(part), -1, -1, -1), part, fine, padding_mode=padding)
        yield start, avg_pool2d(warped, finer) if finer > 1 else warped


def _affine(scale: float, shift: Tensor) -> Tensor:
    """(N, 3, 3): scaled, then shifted by (N, 2)."""
    matrices = torch.diag(torch.tensor((scale, scale, 1.0))).repeat(len(shift), 1, 1)
    matrices[:, :2, 2] = shift
    return matrices
