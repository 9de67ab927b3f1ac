"""What clips are drawn of: colours, the shapes of sprites, and backgrounds, each a function of the place in pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

DOT_SQUARE, DOT_RADII, DOT_SOFTNESS = 52.0, (10.0, 17.0), 1.0
"""Of the background's dots: the square that holds one, smallest and largest radius, half of the edge's width, in
pixels."""
DOT_COLOURS = (
    (0.10, 0.66, 0.70),
    (0.50, 0.30, 0.12),
    (0.42, 0.14, 0.64),
    (0.62, 0.62, 0.60),
    (0.04, 0.04, 0.06),
    (0.95, 0.60, 0.65),
)
"""None of them near a sprite's colour."""
DOT_TABLE = 64
"""Dots a side until they repeat."""

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.90, 0.15, 0.12),
    "green": (0.15, 0.80, 0.20),
    "blue": (0.15, 0.30, 0.95),
    "yellow": (0.95, 0.85, 0.10),
    "magenta": (0.90, 0.15, 0.85),
    "white": (0.95, 0.95, 0.95),
}


def _circle(x: Floats, y: Floats, r: float) -> Floats:
    return np.hypot(x, y) - r


def _square(x: Floats, y: Floats, r: float) -> Floats:
    return np.maximum(np.abs(x), np.abs(y)) - 0.85 * r


def _triangle(x: Floats, y: Floats, r: float) -> Floats:
    # Three edges at the same distance from the centroid; the point is up.
    angles = np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
    return np.max([x * np.cos(a) + y * np.sin(a) for a in angles], axis=0) - 0.6 * r


def _star(x: Floats, y: Floats, r: float) -> Floats:
    # Folded to one half of one of the five points, a star is one straight edge, from the tip to a notch.
    half = np.pi / 5
    angle = np.abs((np.arctan2(x, -y) + half) % (2 * half) - half)
    along, across = np.hypot(x, y) * np.cos(angle), np.hypot(x, y) * np.sin(angle)
    notch = 0.48 * r
    edge = np.array([notch * np.cos(half) - r, notch * np.sin(half)])
    return ((along - r) * edge[1] - across * edge[0]) / np.hypot(*edge)


def _ring(x: Floats, y: Floats, r: float) -> Floats:
    return np.abs(np.hypot(x, y) - 0.75 * r) - 0.25 * r


def _blend(amount: Floats, dark: Sequence[float], light: Sequence[float]) -> Floats:
    return np.asarray(dark) + amount[..., None] * (np.asarray(light) - np.asarray(dark))


def _plain(x: Floats, y: Floats) -> Floats:
    return _blend(0 * x, (0.24, 0.26, 0.28), (0.24, 0.26, 0.28))


def _gradient(x: Floats, y: Floats) -> Floats:
    return _blend(0.5 + np.arctan((y - 63.5) / 40) / np.pi, (0.14, 0.21, 0.27), (0.45, 0.37, 0.57))


def _stripes(x: Floats, y: Floats) -> Floats:
    return _blend(0.5 + 0.5 * np.sin(x / 5), (0.25, 0.20, 0.17), (0.40, 0.35, 0.31))


def _blobs(x: Floats, y: Floats) -> Floats:
    waves = np.sin(x / 7 + y / 8) + 0.5 * np.sin(x / 20 - y / 11)
    return _blend(0.5 + waves / 3, (0.14, 0.31, 0.24), (0.25, 0.43, 0.37))


def _checks(x: Floats, y: Floats) -> Floats:
    waves = np.sin(x / 9 + 0.6) * np.sin(y / 9 + 0.9)
    return _blend(0.5 + np.arctan(4 * waves) / np.pi, (0.20, 0.22, 0.34), (0.38, 0.42, 0.50))


def _speckle(x: Floats, y: Floats) -> Floats:
    # Waves in eight directions, without a common length: a texture that does not repeat within a frame.
    random = np.random.default_rng(5)
    angles, lengths, phases = random.uniform(0, np.pi, 8), random.uniform(18, 45, 8), random.uniform(0, 2 * np.pi, 8)
    turned = zip(2 * np.pi * np.cos(angles) / lengths, 2 * np.pi * np.sin(angles) / lengths, phases, strict=True)
    waves = sum(np.sin(a * x + b * y + phase) for a, b, phase in turned)
    return _blend(0.5 + np.arctan(waves) / np.pi, (0.20, 0.15, 0.24), (0.46, 0.40, 0.38))


def _dots(x: Floats, y: Floats) -> Floats:
    # One in each square of a grid, at a random place inside it: each frame of a moving camera shows landmarks.
    random = np.random.default_rng(6)
    table = DOT_TABLE, DOT_TABLE
    places, radii = random.uniform(-1, 1, (2, *table)), random.uniform(*DOT_RADII, table)
    colours = np.asarray(DOT_COLOURS)[random.integers(len(DOT_COLOURS), size=table)]
    column, row = np.floor(x / DOT_SQUARE).astype(int), np.floor(y / DOT_SQUARE).astype(int)
    which = row % DOT_TABLE, column % DOT_TABLE
    radius = radii[which]
    room = DOT_SQUARE / 2 - radius - DOT_SOFTNESS
    from_x = x - (column + 0.5) * DOT_SQUARE - places[0][which] * room
    from_y = y - (row + 0.5) * DOT_SQUARE - places[1][which] * room
    cover = np.clip(0.5 - (np.hypot(from_x, from_y) - radius) / (2 * DOT_SOFTNESS), 0.0, 1.0)[..., None]
    return _plain(x, y) * (1 - cover) + colours[which] * cover


SHAPES: dict[str, Callable[[Floats, Floats, float], Floats]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
}
"""Signed distance to each shape's edge, in pixels, negative inside; its centroid is at (0, 0)."""

BACKGROUNDS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "plain": _plain,
    "gradient": _gradient,
    "stripes": _stripes,
    "blobs": _blobs,
    "checks": _checks,
    "speckle": _speckle,
}
"""Colour at (x, y) pixels; a clip whose camera stands still has one of these."""
UNREPEATED = "speckle"
"""The one of them that neither repeats nor is even along an axis."""
LANDMARKS = "dots"
"""What a moving camera passes over: the VAE keeps it while it moves, unlike UNREPEATED, and each frame shows where the
camera is, unlike the others."""
ALL_BACKGROUNDS = {**BACKGROUNDS, LANDMARKS: _dots}
