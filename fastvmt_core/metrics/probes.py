"""Clips [motion][appearance] that vary the two apart: drawn from a seed, or made from a given clip."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from ..checks import require_seed

MOTIONS = 3
APPEARANCES = 3
SPRITES = 2
"""In one clip."""
RADIUS = (0.11, 0.15)
"""Of the clip's shorter side."""
TRAVEL = (0.35, 0.7)
"""Length of a sprite's path, of the room it has."""
SOFTNESS = 0.02
"""Half the width of a soft edge, of the clip's shorter side."""
WAVES = 4
"""Waves that make a background's texture."""

Clips = tuple[tuple[Tensor, ...], ...]
"""[motion][appearance], each (T, H, W, 3) in [0, 1]."""


def sprite_clips(height: int, width: int, length: int, seed: int) -> Clips:
    """MOTIONS x APPEARANCES clips of soft sprites on one textured background; the same arguments, the same pixels.

    Appearances differ in the sprites alone: with other backgrounds the attention of still tokens, which has nothing to
    follow, outweighs the motion (ratios of 3 to 100 where one background gives .15 to .9, on the tiny model).

    Args:
        height: pixels.
        width: pixels.
        length: frames.
        seed: of the paths, the colours and the textures.

    Raises:
        ValueError: it is not a seed that torch takes.
    """
    require_seed("seed", seed)
    generator = torch.Generator().manual_seed(seed)
    motions = [_paths(length, generator) for _ in range(MOTIONS)]
    background = _background(height, width, generator)
    sprites = [_sprites(min(height, width), generator) for _ in range(APPEARANCES)]
    return tuple(tuple(_drawn(paths, background, *each) for each in sprites) for paths in motions)


def varied_clips(frames: Tensor) -> Clips:
    """A given clip (T, H, W, 3) as it is, reversed and mirrored, in its own appearance and another.

    The other appearance has its colour channels exchanged and less contrast, no more: still tokens, where attention
    has nothing to follow, would outweigh the motion if it changed much.
    """
    motions = frames, frames.flip(0), frames.flip(2)
    return tuple((clip, 0.1 + 0.8 * clip.roll(1, dims=-1)) for clip in motions)


def _uniform(low: float, high: float, generator: torch.Generator, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _paths(length: int, generator: torch.Generator) -> Tensor:
    """(SPRITES, T, 2) in [0, 1] (x, y) of the room: arcs between two places, the farther bent the longer."""
    time = torch.linspace(0, 1, length)[:, None]
    paths = []
    for _ in range(SPRITES):
        angle = float(_uniform(0, 2 * math.pi, generator, 1))
        along = torch.tensor((math.cos(angle), math.sin(angle))) * float(_uniform(*TRAVEL, generator, 1))
        across = along.flip(0) * torch.tensor((-1.0, 1.0)) * float(_uniform(-0.4, 0.4, generator, 1))
        path = time * along + (4 * time * (1 - time)) * across
        path = path - path.amin(0)
        paths.append(path + (1 - path.amax(0)) * torch.rand(2, generator=generator))
    return torch.stack(paths)


def _background(height: int, width: int, generator: torch.Generator) -> Tensor:
    """(H, W, 3) of a few waves in two colours."""
    side = min(height, width)
    y, x = torch.meshgrid(torch.arange(height) / side, torch.arange(width) / side, indexing="ij")
    texture = torch.zeros(height, width)
    for _ in range(WAVES):
        angle, phase = _uniform(0, 2 * math.pi, generator, 2).tolist()
        along = x * math.cos(angle) + y * math.sin(angle)
        texture += torch.sin(2 * math.pi * float(_uniform(1, 5, generator, 1)) * along + phase) / WAVES
    dark, light = torch.rand(2, 3, generator=generator) * 0.3 + torch.tensor(((0.1,), (0.3,)))
    return dark + rearrange(0.5 + 0.5 * texture, "h w -> h w 1") * (light - dark)


def _sprites(side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Colours (SPRITES, 3) and radii (SPRITES,) in pixels."""
    colours = torch.stack([_strong_colour(generator) for _ in range(SPRITES)])
    return colours, _uniform(*RADIUS, generator, SPRITES) * side


def _strong_colour(generator: torch.Generator) -> Tensor:
    """One channel high, one low."""
    colour = torch.tensor((0.95, float(_uniform(0.1, 0.9, generator, 1)), 0.1))
    return colour[torch.randperm(3, generator=generator)]


def _drawn(paths: Tensor, background: Tensor, colours: Tensor, radii: Tensor) -> Tensor:
    """(T, H, W, 3): the sprites on their paths over the background."""
    height, width = background.shape[:2]
    edge = SOFTNESS * min(height, width)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    frames = background.expand(paths.shape[1], -1, -1, -1).clone()
    for path, colour, radius in zip(paths, colours, radii.tolist(), strict=True):
        room = torch.tensor((width - 1, height - 1)) - 2 * radius
        places = rearrange(radius + path * room, "t xy -> xy t 1 1")
        distance = torch.hypot(x - places[0], y - places[1]) - radius
        cover = rearrange((0.5 - distance / (2 * edge)).clamp(0, 1), "t h w -> t h w 1")
        frames = frames * (1 - cover) + colour * cover
    return frames
