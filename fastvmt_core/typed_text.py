"""Lists of numbers as users type them into a text widget, or draw them into one."""

from __future__ import annotations

import json
import math

from .checks import is_number, require


def whole_numbers(name: str, text: str) -> tuple[int, ...]:
    """The whole numbers of at least 0 in `text`, which commas or spaces separate; none in an empty text.

    Args:
        name: the widget, for the error.
        text: what was typed.

    Raises:
        ValueError: the text is something else.
    """
    words = text.replace(",", " ").split()
    # No more digits than any list of blocks needs: int() refuses longer texts with an error that names no widget.
    whole = all(word.isascii() and word.isdecimal() and len(word) <= 9 for word in words)
    require(whole, name, "whole numbers with commas between them, e.g. 12, 16", text)
    return tuple(int(word) for word in words)


LEAST_LEVEL = 0.01
"""The smallest noise level at which a clip is read."""


def noise_levels(name: str, text: str) -> tuple[float, ...]:
    """The noise levels from LEAST_LEVEL to below 1 in `text`, which commas or spaces separate, in rising order.

    At 1 nothing of a clip is left under the noise.

    Args:
        name: the widget, for the error.
        text: what was typed.

    Raises:
        ValueError: the text is something else, empty, or has a level twice.
    """
    try:
        levels = tuple(sorted(float(word) for word in text.replace(",", " ").split()))
    except ValueError:
        levels = ()
    fits = bool(levels) and len(set(levels)) == len(levels) and all(LEAST_LEVEL <= level < 1 for level in levels)
    expected = f"noise levels from {LEAST_LEVEL:g} to below 1, each once, with commas between them, e.g. 0.3, 0.5"
    require(fits, name, expected, text)
    return levels


LONGEST_CURVE = 4000
"""Characters; 32 points take a quarter of it at most."""


def curve_points(name: str, text: str) -> tuple[tuple[float, float], ...]:
    """The points of a curve written as JSON, [[position, factor], ...]; none in an empty text.

    Args:
        name: the widget, for the error.
        text: what the widget holds.

    Raises:
        ValueError: the text is something else. `LossWeights` checks that the numbers make a curve.
    """
    if not text.strip():
        return ()
    try:
        points = json.loads(text) if len(text) <= LONGEST_CURVE else None
    except (ValueError, RecursionError):
        points = None
    pairs = isinstance(points, list) and all(isinstance(point, list) and len(point) == 2 for point in points)
    if not pairs or not all(is_number(number, -math.inf) for point in points for number in point):
        raise ValueError(
            f"{name}: expected points as JSON, [[0, 1], [0.5, 0.4], [1, 0]], or nothing, got {text[:80]!r}; draw the "
            "curve anew."
        )
    return tuple((float(place), float(factor)) for place, factor in points)
