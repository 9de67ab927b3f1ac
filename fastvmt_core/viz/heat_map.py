"""The picture of a selectivity table: blocks from left to right, noise levels from top to bottom."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..metrics.selectivity import Selectivity

CELL = (64, 44)
"""Width and height of a cell, pixels."""
LEFT, TOP, BOTTOM, EDGE = 84, 62, 84, 20
"""Room for the axes and the words, pixels."""
FULL = 4.0
"""Ratio (or one over it) at which a colour is at its strongest."""
MOTION, EVEN, LOOK = (24, 108, 190), (246, 246, 242), (206, 90, 50)
"""Colours of a ratio far below 1, of 1, and far above it."""
INK, PROPOSED = (34, 34, 34), (0, 0, 0)
TITLE = "What a block's attention follows"
LEGEND = "distance (same motion, other look) / (other motion, same look)"


def heat_map(selectivity: Selectivity) -> torch.Tensor:
    """Draw the table as an IMAGE (1, H, W, 3) in [0, 1]: a number in each cell, the proposal outlined."""
    columns, rows = len(selectivity.blocks), len(selectivity.sigmas)
    title, small = ImageFont.load_default(18), ImageFont.load_default(14)
    words = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    lines = (TITLE, title), (LEGEND, small), (in_words(selectivity), small)
    widest = max(LEFT + columns * CELL[0], *(EDGE + int(words.textlength(*line)) for line in lines))
    size = widest + EDGE, TOP + rows * CELL[1] + BOTTOM
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    draw.text((EDGE, 12), TITLE, INK, title)
    draw.text((EDGE, size[1] - 50), LEGEND, INK, small)
    draw.text((EDGE, size[1] - 28), in_words(selectivity), INK, small)
    draw.text((EDGE, TOP - 12), "sigma", INK, small, anchor="lm")
    for row, sigma in enumerate(selectivity.sigmas):
        draw.text((LEFT - 12, _corner(0, row)[1] + CELL[1] / 2), f"{sigma:g}", INK, small, anchor="rm")
        for column, ratio in enumerate(selectivity.ratios[row]):
            _cell(draw, _corner(column, row), ratio, small)
    for column, block in enumerate(selectivity.blocks):
        name = f"block {block}" if column == 0 else str(block)
        draw.text((_corner(column, 0)[0] + CELL[0] / 2, TOP - 12), name, INK, small, anchor="mm")
    found = selectivity.proposal
    if found is not None:
        corner = _corner(selectivity.blocks.index(found.block), selectivity.sigmas.index(found.sigma))
        draw.rectangle((corner, (corner[0] + CELL[0] - 1, corner[1] + CELL[1] - 1)), outline=PROPOSED, width=4)
    return torch.from_numpy(np.asarray(picture, np.float32) / 255)[None]


def in_words(selectivity: Selectivity) -> str:
    """One sentence on what was found."""
    found = selectivity.proposal
    if found is None:
        return "Nothing below 1 was found: no block tells motion from look here."
    return f"Blue, below 1: the motion. Proposed: block {found.block} at sigma {found.sigma:g} ({found.ratio:.2f})."


def _corner(column: int, row: int) -> tuple[int, int]:
    return LEFT + column * CELL[0], TOP + row * CELL[1]


def _cell(draw: ImageDraw.ImageDraw, corner: tuple[int, int], ratio: float, font: ImageFont.FreeTypeFont) -> None:
    strength = max(-1.0, min(1.0, math.log(max(ratio, 1e-6)) / math.log(FULL)))
    end = LOOK if strength > 0 else MOTION
    colour = tuple(round(even + abs(strength) * (far - even)) for even, far in zip(EVEN, end, strict=True))
    draw.rectangle((corner, (corner[0] + CELL[0] - 2, corner[1] + CELL[1] - 2)), fill=colour)
    middle = corner[0] + CELL[0] / 2, corner[1] + CELL[1] / 2
    draw.text(middle, f"{ratio:.2f}", "white" if strength < -0.6 else INK, font, anchor="mm")
