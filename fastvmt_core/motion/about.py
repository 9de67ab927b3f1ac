"""What a list of motions shows of one: its name, a note, and the size and rate of its reference."""

from __future__ import annotations

from dataclasses import dataclass

MOST_NAME, MOST_NOTE = 200, 4000
"""Characters."""
MOST_PIXELS, MOST_FPS = 65536, 1000


@dataclass(frozen=True)
class About:
    """What a list of motions shows of one.

    Raises:
        ValueError: a field is of another kind, too long or out of its range; the message names it.
    """

    name: str = ""
    """The user's name for it."""
    note: str = ""
    """The user's remarks on it."""
    width: int = 0
    """Pixels of the reference; 0: unknown."""
    height: int = 0
    """Likewise."""
    fps: float = 0.0
    """Frames per second of the reference; 0: unknown."""

    def __post_init__(self) -> None:
        for name, most in (("name", MOST_NAME), ("note", MOST_NOTE)):
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > most:
                raise ValueError(f"{name}: expected a text of at most {most} characters, got {text!r:.80}.")
            try:
                text.encode()
            except UnicodeEncodeError as error:
                # A lone surrogate: JSON can hold one, a file in UTF-8 cannot.
                raise ValueError(
                    f"{name}: expected characters that can be saved, got {text[error.start]!r} at place "
                    f"{error.start + 1}; delete it."
                ) from error
        for name in ("width", "height"):
            side = getattr(self, name)
            if type(side) is not int or not 0 <= side <= MOST_PIXELS:
                raise ValueError(f"{name}: expected pixels from 0 to {MOST_PIXELS}, got {side!r:.80}.")
        if type(self.fps) not in (int, float) or not 0 <= self.fps <= MOST_FPS:
            raise ValueError(f"fps: expected frames per second from 0 to {MOST_FPS}, got {self.fps!r:.80}.")
