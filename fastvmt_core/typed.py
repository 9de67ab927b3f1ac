"""Lists of numbers as users type them into a text widget."""

from __future__ import annotations


def whole_numbers(name: str, text: str) -> tuple[int, ...]:
    """The whole numbers of at least 0 in `text`, which commas or spaces separate; none in an empty text.

    Args:
        name: the widget, for the error.
        text: what was typed.

    Raises:
        ValueError: something else stands there.
    """
    words = text.replace(",", " ").split()
    # No more digits than any list of blocks needs: int() refuses longer texts with an error that names no widget.
    if not all(word.isascii() and word.isdecimal() and len(word) <= 9 for word in words):
        raise ValueError(f"{name}: expected whole numbers with commas between them, e.g. 12, 16, got {text!r}.")
    return tuple(int(word) for word in words)
