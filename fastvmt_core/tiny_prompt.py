"""The tiny model's language: a colour and a shape for each of up to two sprites, and a background."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

import torch

COLOURS = ("red", "green", "blue", "yellow", "magenta", "white")
SHAPES = ("circle", "square", "triangle", "star", "ring")
BACKGROUNDS = ("plain", "gradient", "stripes", "blobs", "checks", "speckle")
FILLERS = frozenset("a an the on in over of with and moving colour color background sprite".split())

MOST_SPRITES = 2
WIDTH = 4096
"""Width of the text features that Wan takes (UMT5-XXL's)."""


@dataclass(frozen=True)
class Words:
    """The words of a prompt: (colour, shape) of each sprite, and the background."""

    sprites: tuple[tuple[str, str], ...]
    background: str


def parse(prompt: str) -> Words | None:
    """The words of ``prompt``; None for a blank one, the null prompt.

    One sprite's words stand in any order; of two, the first colour goes with the first shape. The model was never
    trained with a background alone: that is for the part of a frame where no sprite is.

    Raises ValueError for a word that the model was not trained with, and for one that is missing or one too many.
    """
    words = [word for word in re.findall(r"[^\W_]+", prompt.lower()) if word not in FILLERS]
    kinds = {"colour": COLOURS, "shape": SHAPES, "background": BACKGROUNDS}
    known = "; ".join(f"{kind}: {', '.join(choices)}" for kind, choices in kinds.items())
    unknown = [word for word in words if not any(word in choices for choices in kinds.values())]
    if unknown:
        raise ValueError(f"The tiny model does not know {', '.join(map(repr, unknown)):.200}. It knows {known}.")
    if not words:
        return None
    colours, shapes, backgrounds = ([word for word in words if word in choices] for choices in kinds.values())
    if len(backgrounds) != 1:
        listed = " and ".join(backgrounds) or "none"
        raise ValueError(f"The prompt needs exactly one background, got {listed:.200}. The model knows {known}.")
    if len(colours) != len(shapes) or len(colours) > MOST_SPRITES:
        listed = f"{' and '.join(colours) or 'no colour'}, {' and '.join(shapes) or 'no shape'}"
        raise ValueError(
            f"The prompt needs one colour and one shape for each sprite, of which there may be {MOST_SPRITES}, got "
            f"{listed:.200}. The model knows {known}."
        )
    return Words(tuple(zip(colours, shapes, strict=True)), backgrounds[0])


def encode(prompt: str) -> torch.Tensor:
    """The model's text features for ``prompt``: (1, 2 + 2 S, 4096) float32 for S sprites, (1, 4, 4096) if blank."""
    words = parse(prompt)
    tokens = ("<null>",) * 4
    if words:
        tokens = ("<s>", *(word for sprite in words.sprites for word in sprite), words.background)
    return torch.stack([feature(token) for token in tokens])[None]


def feature(token: str) -> torch.Tensor:
    """The fixed vector (WIDTH,) that stands for ``token``."""
    generator = torch.Generator().manual_seed(zlib.crc32(b"tinywan:" + token.encode()))
    return torch.randn(WIDTH, generator=generator)
