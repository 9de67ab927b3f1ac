"""The tiny model's language: one word each for colour, shape and background."""

from __future__ import annotations

import re
import zlib

import torch

COLOURS = ("red", "green", "blue", "yellow", "magenta", "white")
SHAPES = ("circle", "square", "triangle", "star", "ring")
BACKGROUNDS = ("plain", "gradient", "stripes", "blobs")
FILLERS = frozenset("a an the on in over of with and moving colour color background sprite".split())

WIDTH = 4096
"""Width of the text features that Wan takes (UMT5-XXL's)."""


def parse(prompt: str) -> tuple[str, str, str] | None:
    """Colour, shape and background named in ``prompt``, in any order; None for a blank one, the null prompt.

    Raises ValueError for a word that the model was not trained with, and for one that is missing or given twice.
    """
    words = [word for word in re.findall(r"[^\W_]+", prompt.lower()) if word not in FILLERS]
    kinds = {"colour": COLOURS, "shape": SHAPES, "background": BACKGROUNDS}
    known = "; ".join(f"{kind}: {', '.join(choices)}" for kind, choices in kinds.items())
    unknown = [word for word in words if not any(word in choices for choices in kinds.values())]
    if unknown:
        raise ValueError(f"The tiny model does not know {', '.join(map(repr, unknown))}. It knows {known}.")
    if not words:
        return None
    found = {kind: [word for word in words if word in choices] for kind, choices in kinds.items()}
    for kind, given in found.items():
        if len(given) != 1:
            said = " and ".join(given) or "none"
            raise ValueError(f"The prompt needs exactly one {kind}, got {said}. The model knows {known}.")
    return found["colour"][0], found["shape"][0], found["background"][0]


def encode(prompt: str) -> torch.Tensor:
    """The model's four text features for ``prompt``, (1, 4, 4096) float32."""
    words = parse(prompt)
    tokens = ("<s>", *words) if words else ("<null>",) * 4
    return torch.stack([_feature(token) for token in tokens])[None]


def _feature(token: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(b"tinywan:" + token.encode()))
    return torch.randn(WIDTH, generator=generator)
