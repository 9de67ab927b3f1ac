"""Masks of what is drawn, and what fills them and the ground: holes closed from their border, and faint textures.

Axes: H and W rows and columns of pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from ..video.clip import resized_frames
from .description import Ellipse, Lasso, MaskShape, Point, Shape

SOFTNESS = 0.7
"""Half the width of an ellipse's soft edge, in pixels."""
FINER = 4
"""Sub-pixels a side with which a lasso is filled: its edge is antialiased."""
SMOOTHING = 24
"""Iterations of diffusion at each size of a hole."""
WAVES = 8
WAVE_PIXELS = (18.0, 45.0)
"""Shortest and longest wave of a texture: one to three tokens, which attention tells apart."""


def shape_mask(shape: Shape, size: Point, masks: Tensor | None, name: str) -> Tensor:
    """(H, W) in [0, 1]: where an object is, with an antialiased edge.

    Args:
        shape: the object's.
        size: width and height, pixels.
        masks: (N, h, w) in [0, 1], of the masks input, or None.
        name: the object, for errors.

    Raises:
        ValueError: the shape is a mask that is not there, or covers not a single pixel.
    """
    width, height = size
    if isinstance(shape, Ellipse):
        mask = _ellipse(shape, width, height)
    elif isinstance(shape, Lasso):
        mask = _filled(shape, width, height)
    else:
        mask = _given(shape, width, height, masks, name)
    # NaN, too, of radii next to 0.
    if not mask.sum() >= 1:
        raise ValueError(f"{name}: expected a shape inside the frame, got one that covers no pixel; move or grow it.")
    return mask


def centre_of(mask: Tensor) -> Point:
    """(x, y) in pixels from the top left corner: the centroid of a mask (H, W)."""
    y, x = (torch.arange(side) + 0.5 for side in mask.shape)
    total = mask.sum()
    return float((mask.sum(0) * x).sum() / total), float((mask.sum(1) * y).sum() / total)


def _ellipse(shape: Ellipse, width: int, height: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    (across, down), (centre_x, centre_y) = shape.radii, shape.centre
    across, down = across * width, down * height
    radius = torch.hypot((x - centre_x * width) / across, (y - centre_y * height) / down)
    # The distance to the edge, near it: how far inside, divided by how fast that changes.
    distance = (radius - 1) * min(across, down)
    return (0.5 - distance / (2 * SOFTNESS)).clamp(0, 1)


def _filled(shape: Lasso, width: int, height: int) -> Tensor:
    image = Image.new("L", (width * FINER, height * FINER))
    corners = [(x * width * FINER - 0.5, y * height * FINER - 0.5) for x, y in shape.points]
    ImageDraw.Draw(image).polygon(corners, fill=255)
    fine = torch.from_numpy(np.asarray(image, np.float32) / 255)
    return avg_pool2d(fine[None, None], FINER)[0, 0]


def _given(shape: MaskShape, width: int, height: int, masks: Tensor | None, name: str) -> Tensor:
    masks = torch.zeros(0, 1, 1) if masks is None else masks.reshape(-1, *masks.shape[-2:])
    count = len(masks)
    if shape.index >= count:
        raise ValueError(
            f"masks: expected a mask number {shape.index!s:.80} for {name}, got {count} masks; connect them, or draw "
            "the object as an ellipse or a lasso."
        )
    mask = masks[shape.index].detach().float().cpu()
    if not bool(torch.isfinite(mask).all()):
        raise ValueError(f"masks: expected finite values, got NaN or infinity in mask {shape.index}; check its source.")
    return resized_frames(mask[None, ..., None], (height, width))[0, ..., 0].clamp(0, 1)


def without(picture: Tensor, hole: Tensor) -> Tensor:
    """(H, W, 3): a picture whose hole is filled by diffusion of the hole's border: nothing of the object is left.

    Args:
        picture: (H, W, 3).
        hole: (H, W) in [0, 1]; what is above 0 is filled.
    """
    known = rearrange((hole <= 0).float(), "h w -> 1 1 h w")
    image = rearrange(picture, "h w c -> 1 c h w")
    return rearrange(_diffused(image * known, known), "1 c h w -> h w c")


def _diffused(image: Tensor, known: Tensor) -> Tensor:
    """(1, C, H, W): known pixels as they are, the others smoothed between them, from coarse to fine."""
    if bool((known > 0).all()) or min(image.shape[2:]) <= 1:
        return image
    odd = image.shape[3] % 2, image.shape[2] % 2
    even, seen = (pad(each, (0, odd[0], 0, odd[1])) for each in (image, known))
    share = avg_pool2d(seen, 2)
    coarse = avg_pool2d(even, 2) / share.clamp(min=1e-6)
    guess = _diffused(coarse * (share > 0), (share > 0).float())
    guess = interpolate(guess, size=even.shape[2:], mode="bilinear", align_corners=False)
    guess = guess[..., : image.shape[2], : image.shape[3]]
    filled = torch.where(known > 0, image, guess)
    for _ in range(SMOOTHING):
        around = avg_pool2d(pad(filled, (1, 1, 1, 1), mode="replicate"), 3, 1)
        filled = torch.where(known > 0, image, around)
    return filled


def texture(width: int, height: int, seed: int) -> Tensor:
    """(H, W) of about -1 .. 1: waves in many directions, which do not repeat; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    angle, length, phase = torch.rand(3, WAVES, 1, 1, generator=generator)
    angle, phase = torch.pi * angle, 2 * torch.pi * phase
    length = WAVE_PIXELS[0] + (WAVE_PIXELS[1] - WAVE_PIXELS[0]) * length
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = torch.sin(2 * torch.pi * (torch.cos(angle) * x + torch.sin(angle) * y) / length + phase)
    return torch.tanh(waves.sum(0) * (2 / WAVES) ** 0.5)
