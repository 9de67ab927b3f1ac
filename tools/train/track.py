"""The path of the sprite of a known colour in a clip, true or generated."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from tools.train.clips import RADIUS
from tools.train.patterns import COLOURS, Floats

COLOUR_REACH = 0.45
"""Colour distance (Euclidean, RGB in [0, 1]) at which a pixel no longer counts as the sprite's."""
FAINT = 0.15
"""A frame with less than this part of the median frame's sprite has no measurable sprite."""


def track(frames: ArrayLike, colour: str) -> Floats:
    """The centroid of the sprite in each frame.

    Args:
        frames: (T, H, W, 3) in [0, 1].
        colour: A name in COLOURS.

    Returns:
        (T, 2) float64, (x, y) in pixels, the top left pixel's centre at (0, 0). Frames where the sprite has faded
        are interpolated. All NaN if it shows in fewer than half of the frames: it has no path then.
    """
    weights = np.stack([_weight(frame, colour) for frame in np.asarray(frames, np.float64)])
    centres, masses = zip(*(_centroid(weight) for weight in weights), strict=True)
    path, mass = np.array(centres), np.array(masses)
    visible = mass > max(FAINT * np.median(mass), 1.0)
    if visible.mean() < 0.5:
        return np.full_like(path, np.nan)
    times = np.arange(len(path))
    return np.stack([np.interp(times, times[visible], axis[visible]) for axis in path.T], axis=1)


def _weight(frame: Floats, colour: str) -> Floats:
    """How much each pixel of ``frame`` (H, W, 3) belongs to the sprite, in [0, 1]."""
    distance = np.linalg.norm(frame - np.asarray(COLOURS[colour]), axis=-1)
    weight = np.clip(1 - distance / COLOUR_REACH, 0.0, 1.0)
    # A sprite covers a small part of a frame, so a background that is near its colour shows in the median.
    background = np.median(weight)
    return np.clip(weight - background, 0.0, None) / (1 - background)


def _centroid(weight: Floats) -> tuple[Floats, float]:
    """Centre and mass of the heaviest sprite-sized spot in ``weight`` (H, W); other spots are left out."""
    reach = max(RADIUS)
    blurred = ndimage.uniform_filter(weight, int(2 * reach), mode="constant")
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    row, column = np.unravel_index(blurred.argmax(), weight.shape)
    centre = np.array([column, row], np.float64)
    for _ in range(4):
        near = weight * (np.hypot(x - centre[0], y - centre[1]) < 1.5 * reach)
        if not near.sum():
            break
        centre = np.array([(x * near).sum(), (y * near).sum()]) / near.sum()
    return centre, float(near.sum())
