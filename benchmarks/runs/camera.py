"""The path of a clip's background, by phase correlation with the sprites taken out."""

from __future__ import annotations

import numpy as np

from tools.train.clips import RADIUS, Floats

APART = 2
"""Frames between the two that are compared: a step of under a pixel drowns in still sprites."""
KEPT_OUT = RADIUS[1] + 6
"""Pixels around a sprite's centre that are left out."""


def camera_path(frames: Floats, sprites: list[Floats]) -> Floats:
    """The background's path since frame 0, (T, 2) in pixels; needs a texture that changes along both axes.

    Args:
        frames: (T, H, W, 3) in [0, 1].
        sprites: the sprites' paths, (T, 2) each; NaN if one is lost, which leaves it in.

    Raises:
        ImportError: OpenCV is not installed.
    """
    import cv2

    grey = [frame.mean(-1) for frame in np.asarray(frames, np.float32)]
    hanning = cv2.createHanningWindow(grey[0].shape[::-1], cv2.CV_32F)
    path = np.zeros((len(grey), 2))
    for now in range(1, len(grey)):
        before = max(0, now - APART)
        # Both frames lose the sprites' places of both times: a hole that moved would count as motion.
        hidden = _sprites(grey[0].shape, [sprite[time] for sprite in sprites for time in (before, now)])
        step, _ = cv2.phaseCorrelate(_filled(grey[before], hidden), _filled(grey[now], hidden), hanning)
        path[now] = path[before] + step
    return path


def _sprites(shape: tuple[int, ...], centres: list[Floats]) -> np.ndarray:
    """(H, W) in [0, 1]: 1 on the sprites, with a soft edge."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    hidden = np.zeros(shape)
    for centre in centres:
        if np.isfinite(centre).all():
            hidden = np.maximum(hidden, np.clip((KEPT_OUT + 4 - np.hypot(x - centre[0], y - centre[1])) / 8, 0, 1))
    return hidden


def _filled(frame: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """The frame about its own background's mean, 0 on the sprites."""
    shown = 1 - hidden
    return ((frame - (frame * shown).sum() / shown.sum()) * shown).astype(np.float32)
