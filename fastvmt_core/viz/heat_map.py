"""The image of a selectivity table: blocks from left to right, noise levels from top to bottom."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

CELL = (64, 44)
"""Width and height of a cell, pixels."""
LEFT, TOP, BOTTOM, EDGE = 84, 62, 84, 20
"""Room for the axes and the words, pixels."""
FULL = 4.0
"""Ratio (or one over it) at which a colour is at its strongest."""
MOTION, EVEN, APPEARANCE = (24, 108, 190), (246, 246, 242), (206, 90, 50)
"""Colours of a ratio far below 1, of 1, and far above it."""
INK, PROPOSED = (34, 34, 34), (0, 0, 0)
TITLE = "What a block's attention follows"
LEGEND = "distance (same motion, other appearance) / (other motion, same appearance)"


def heat_map(
    blocks: Sequence[int],
    sigmas: Sequence[float],
    ratios: Sequence[Sequence[float]],
    proposed: tuple[int, int] | None,
    caption: str,
) -> torch.Tensor:
    """IMAGE (1, H, W, 3) in [0, 1] of a table of ratios: a number in each cell, the proposed one outlined.

    Args:
        blocks: of the columns.
        sigmas: noise levels of the rows.
        ratios: [row][column].
        proposed: (row, column) of the proposed cell, if any.
        caption: the line below the legend.
    """
    title, small = ImageFont.load_default(18), ImageFont.load_default(14)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    lines = (TITLE, title), (LEGEND, small), (caption, small)
    widest = max(LEFT + len(blocks) * CELL[0], *(EDGE + int(pen.textlength(*line)) for line in lines))
    size = widest + EDGE, TOP + len(sigmas) * CELL[1] + BOTTOM
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    draw.text((EDGE, 12), TITLE, INK, title)
    draw.text((EDGE, size[1] - 50), LEGEND, INK, small)
    draw.text((EDGE, size[1] - 28), caption, INK, small)
    draw.text((EDGE, TOP - 12), "sigma", INK, small, anchor="lm")
    for row, sigma in enumerate(sigmas):
        draw.text((LEFT - 12, _corner(0, row)[1] + CELL[1] / 2), f"{sigma:g}", INK, small, anchor="rm")
        for column, ratio in enumerate(ratios[row]):
            _cell(draw, _corner(column, row), ratio, small)
    for column, block in enumerate(blocks):
        name = f"block {block}" if column == 0 else str(block)
        draw.text((_corner(column, 0)[0] + CELL[0] / 2, TOP - 12), name, INK, small, anchor="mm")
    if proposed is not None:
        corner = _corner(proposed[1], proposed[0])
        draw.rectangle((corner, (corner[0] + CELL[0] - 1, corner[1] + CELL[1] - 1)), outline=PROPOSED, width=4)
    return torch.from_numpy(np.asarray(image, np.float32) / 255)[None]


def _corner(column: int, row: int) -> tuple[int, int]:
    return LEFT + column * CELL[0], TOP + row * CELL[1]


def _cell(draw: ImageDraw.ImageDraw, corner: tuple[int, int], ratio: float, font: ImageFont.FreeTypeFont) -> None:
    strength = max(-1.0, min(1.0, math.log(max(ratio, 1e-6)) / math.log(FULL)))
    end = APPEARANCE if strength > 0 else MOTION
    colour = tuple(round(even + abs(strength) * (far - even)) for even, far in zip(EVEN, end, strict=True))
    draw.rectangle((corner, (corner[0] + CELL[0] - 2, corner[1] + CELL[1] - 2)), fill=colour)
    middle = corner[0] + CELL[0] / 2, corner[1] + CELL[1] / 2
    draw.text(middle, f"{ratio:.2f}", "white" if strength < -0.6 else INK, font, anchor="mm")
