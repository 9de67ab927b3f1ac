"""A latent and its motion at half the height and width: the same sample, at a lower noise level.

x = (1 - sigma) x_0 + sigma n. The mean over 2 x 2 pixels keeps x_0's picture, and leaves noise of a standard deviation
of sigma / 2. Brought back onto the flow's path:

    a = 1 / ((1 - sigma) + sigma / 2)      x' = a mean(x) = (1 - sigma') mean(x_0) + sigma' n'      sigma' = a sigma / 2

A model sees another picture there, so that a reference's motion at that size is read, not resampled: on the tiny model
guidance by a resampled one failed (path correlation .08 against .49, eight clips).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

if TYPE_CHECKING:
    from ..config import AMFConfig
    from ..grid import TokenGrid
    from .embedding import MotionEmbedding

SIDE = 2
"""Pixels of the latent, along each side, that become one."""
FEWEST_TOKENS = 4
"""Along each side of the grid at half size: fewer show no motion."""


def halved(picture: Tensor) -> Tensor:
    """The mean over 2 x 2 pixels of (..., h, w): (..., ceil(h / 2), ceil(w / 2)), differentiable.

    An odd side's last row is averaged with the one before it: a mean of the row with itself would keep its noise.
    """
    for axis in (-2, -1):
        size = picture.shape[axis]
        if size % SIDE:
            picture = torch.cat([picture, picture.narrow(axis, max(0, size - SIDE), 1)], axis)
    means = avg_pool2d(picture.reshape(-1, 1, *picture.shape[-2:]), SIDE)
    return means.reshape(*picture.shape[:-2], *means.shape[-2:])


def onto_the_path(sigma: Tensor) -> Tensor:
    """a, of a latent at noise level `sigma`, of any shape."""
    return 1 / ((1 - sigma) + sigma / SIDE)


def halved_level(sigma: Tensor) -> Tensor:
    """sigma', of a latent at noise level `sigma`, of any shape."""
    return onto_the_path(sigma) * sigma / SIDE


def level_to_halve(halved_sigma: float) -> float:
    """The noise level of a latent that is at `halved_sigma` once it is halved."""
    return SIDE * halved_sigma / (1 + (SIDE - 1) * halved_sigma)


def shows_motion(grid: TokenGrid) -> bool:
    """Whether the grid that `grid` has at half size is large enough to be guided at."""
    return min(grid.halved.height, grid.halved.width) >= FEWEST_TOKENS


def half_config(config: AMFConfig) -> AMFConfig:
    """How the flow is read at half size: the window, which stays odd, covers as much of the frame."""
    return dataclasses.replace(config, window=None if config.window is None else config.window // SIDE | 1)


def motion_at_half_size(motion: MotionEmbedding) -> MotionEmbedding:
    """The motion as it was read at half size, as a motion of that grid.

    Raises:
        ValueError: it was not, or it was edited since, or its objective compares more than its flow.
    """
    motion.require_flow_alone()
    if not motion.half_displacement:
        raise ValueError(
            "motion: expected one that was read at half size too, which resolution needs, got one that was edited or "
            "resized since, is too small, comes from an older file, or from a model that refused that size; read it "
            "again by Refresh Motion or Invert Motion, or set resolution to full."
        )
    parts = zip(motion.flows, motion.half_displacement, motion.half_centres, strict=True)
    return dataclasses.replace(
        motion,
        flows=tuple(dataclasses.replace(flow, displacement=field, centres=centres) for flow, field, centres in parts),
        grid=motion.grid.halved,
        config=half_config(motion.config),
        reference=None,
        static_bias=(),
        backward=(),
        frame_flow=None,
        mask=None if motion.mask is None else halved(motion.mask),
        **WITHOUT_HALF_SIZE,
    )


WITHOUT_HALF_SIZE = {"half_displacement": (), "half_centres": ()}
"""Fields of a motion that changed: what was read at half size no longer belongs to it."""
