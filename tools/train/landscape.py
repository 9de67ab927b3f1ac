"""What a moving camera passes over: worlds without end in which every place looks like no other.

Their colour changes slowly, in each channel by itself: it says which place a token shows, however the token's edges cut
it. Their details change lightness alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from tools.train.patterns import Floats

GREY, REACH, SLOPE = 0.47, 0.36, 0.7
"""Mean of the ground's colour, how far a channel can be from it, and how steeply its waves take it there."""
LENGTHS, COUNT = (200.0, 450.0), 3
"""Of the ground's waves: shortest and longest in pixels, and how many a channel has. Within a frame of 128 pixels a
colour then hardly comes back: matching places by their colour correlates with the truth by .85 (waves of 80 to 260
pixels: .50)."""
CELL = 30.0
"""The square that holds one pebble, in pixels."""
HALF_AXES = (6.0, 13.0)
"""Shortest and longest half axis of a pebble, in pixels."""
ROUNDNESS = (2.0, 5.0)
"""Exponent of a pebble's outline: 2 is an ellipse, more is nearly a rectangle."""
EDGE = 1.0
"""Half of the width of a pebble's soft edge, in pixels."""
LIGHT = (0.05, 0.13)
"""Least and most by which a pebble is lighter or darker than its ground. More of it hides the ground's colour: with .05
to .12 places match by .77, with none by .85."""
TABLE = 256
"""Pebbles a side until they repeat."""


def ground(x: Floats, y: Floats) -> Floats:
    """(..., 3): soft clouds of colour."""
    waves = np.stack([_waves(x, y, channel) for channel in range(3)], -1)
    return GREY + REACH * np.tanh(waves * np.float32(SLOPE))


def pebbles(x: Floats, y: Floats) -> Floats:
    """Stones of any size and outline, one in each square, lighter or darker than the ground."""
    table = _pebbles()
    column, row = np.floor(x / CELL).astype(np.int32), np.floor(y / CELL).astype(np.int32)
    centre_x, centre_y, turn_x, turn_y, half_x, half_y, power, light = table[:, row % TABLE, column % TABLE]
    from_x, from_y = x - (column + centre_x) * CELL, y - (row + centre_y) * CELL
    along = np.abs(from_x * turn_x + from_y * turn_y) / half_x
    across = np.abs(from_y * turn_x - from_x * turn_y) / half_y
    distance = ((along**power + across**power) ** (1 / power) - 1) * np.minimum(half_x, half_y)
    return np.clip(ground(x, y) + (light * np.clip(0.5 - distance / (2 * EDGE), 0, 1))[..., None], 0, 1)


@lru_cache(maxsize=1)
def _pebbles() -> Floats:
    """(8, TABLE, TABLE): centre in its square, direction, half axes, exponent of the outline, lightness."""
    random = np.random.default_rng(7)
    table = TABLE, TABLE
    half = random.uniform(*HALF_AXES, (2, *table))
    angle = random.uniform(0, np.pi, table)
    room = 0.5 - (half.max(0) + EDGE) / CELL
    centre = 0.5 + random.uniform(-1, 1, (2, *table)) * np.maximum(room, 0)
    power = random.uniform(*ROUNDNESS, table)
    light = random.uniform(*LIGHT, table) * random.choice((-1, 1), table)
    return np.stack([*centre, np.cos(angle), np.sin(angle), *half, power, light]).astype(np.float32)


def _waves(x: Floats, y: Floats, channel: int) -> Floats:
    """The sum of a channel's waves, in any direction, of spread 1."""
    random = np.random.default_rng((11, channel))
    angles, phases = random.uniform(0, 2 * np.pi, (2, COUNT))
    numbers = 2 * np.pi / np.exp(random.uniform(*np.log(LENGTHS), COUNT))
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    across, down = (numbers * np.cos(angles)).astype(np.float32), (numbers * np.sin(angles)).astype(np.float32)
    waves = zip(across, down, phases.astype(np.float32), strict=True)
    return np.float32(np.sqrt(2 / COUNT)) * sum(np.sin(a * x + d * y + phase) for a, d, phase in waves)


LANDSCAPES: dict[str, Callable[[Floats, Floats], Floats]] = {"clouds": ground, "pebbles": pebbles}
"""Colour (..., 3) in [0, 1] at (x, y) pixels."""
