"""The coarse arrows of a flow: few enough to send and to draw while a video is sampled."""

from __future__ import annotations

from typing import Any

from einops import rearrange
from torch.nn.functional import adaptive_avg_pool2d

from ..attention.flow import AttentionMotionFlow

MOST_ROWS = 12
MOST_COLUMNS = 16
"""More arrows than these blur into each other in a node of the page."""


def arrows(flow: AttentionMotionFlow) -> dict[str, Any] | None:
    """The mean displacement of each cell of a coarse grid, from every frame to the next.

    Returns:
        Plain JSON: "grid" [H, W], tokens; "cells" [rows, columns]; "frames", for each pair (i, i + 1) its dx, dy row by
        row, in hundredths of a token. None for a flow without such pairs (temporal span 1).
    """
    chosen = [index for index, (i, j) in enumerate(flow.pairs) if j == i + 1]
    if not chosen:
        return None
    field = rearrange(flow.displacement[chosen].detach().float(), "p h w xy -> p xy h w")
    height, width = field.shape[-2:]
    cells = min(height, MOST_ROWS), min(width, MOST_COLUMNS)
    coarse = rearrange(adaptive_avg_pool2d(field, cells), "p xy rows columns -> p (rows columns xy)")
    hundredths = (coarse * 100).round().int().cpu().tolist()
    return {"grid": [height, width], "cells": list(cells), "frames": hundredths}
