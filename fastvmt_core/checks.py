"""Checks of single values, each with the one kind of error that a bad hyper-parameter causes."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

LONGEST = 200
"""Characters of a value that an error shows."""


def require(condition: bool, name: str, expected: str, got: object) -> None:
    """Refuse a value unless `condition` holds.

    Raises:
        ValueError: it does not; the message is "name: expected ..., got ...".
    """
    if not condition:
        shown = repr(got)
        raise ValueError(
            f"{name}: expected {expected}, got {shown if len(shown) <= LONGEST else shown[:LONGEST] + '...'}."
        )


def is_whole(value: object, low: int = 0) -> bool:
    """Whether a value is an int of at least `low`; a bool is none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def is_number(value: object, low: float = 0.0, high: float = math.inf) -> bool:
    """Whether a value is a finite int or float from `low` to `high`, that a float can hold; a bool is none."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and low <= value <= high and abs(value) <= sys.float_info.max


def require_whole(name: str, value: object, low: int = 1) -> None:
    """Refuse what is no whole number of at least `low`.

    Raises:
        ValueError: it is none.
    """
    require(is_whole(value, low), name, f"a whole number of at least {low}", value)


def require_number(name: str, value: object, low: float = 0.0, high: float = math.inf) -> None:
    """Refuse what is no finite number from `low` to `high`.

    Raises:
        ValueError: it is none.
    """
    expected = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
    require(is_number(value, low, high), name, f"a finite number {expected}", value)


def require_positive(name: str, value: object, high: float = math.inf) -> None:
    """Refuse what is no finite number above 0, at most `high`.

    Raises:
        ValueError: it is none.
    """
    expected = "a finite number above 0" + (f", at most {high:g}" if math.isfinite(high) else "")
    require(is_number(value, 0.0, high) and value != 0, name, expected, value)


def require_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is none of `choices`.

    Raises:
        ValueError: it is none.
    """
    require(value in choices, name, f"one of {', '.join(choices)}", value)


def require_seed(name: str, value: object) -> None:
    """Refuse what torch takes for no seed of a generator.

    Raises:
        ValueError: it is no whole number of 64 bits.
    """
    require(is_whole(value) and value < 2**64, name, "a whole number from 0 to 2**64 - 1", value)
