"""The coarse arrows of a frame flow: few enough to send and to draw while a video is sampled."""

from __future__ import annotations

from typing import Any

from einops import rearrange
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

MOST_ROWS = 12
MOST_COLUMNS = 16
"""More arrows than these blur into each other in a node of the page."""


def arrows(steps: Tensor) -> dict[str, Any] | None:
    """The mean displacement of each cell of a coarse grid, from every frame to the next.

    Args:
        steps: (F - 1, H, W, 2), tokens (dx, dy), without gradient.

    Returns:
        Plain JSON: "grid" [H, W], tokens; "cells" [rows, columns]; "frames", for each pair (i, i + 1) its dx, dy row by
        row, in hundredths of a token. None for a single frame.
    """
    if not len(steps):
        return None
    field = rearrange(steps.float(), "p h w xy -> p xy h w")
    height, width = field.shape[-2:]
    cells = min(height, MOST_ROWS), min(width, MOST_COLUMNS)
    coarse = rearrange(adaptive_avg_pool2d(field, cells), "p xy rows columns -> p (rows columns xy)")
    hundredths = (coarse * 100).round().int().cpu().tolist()
    return {"grid": [height, width], "cells": list(cells), "frames": hundredths}
