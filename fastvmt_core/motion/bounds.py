"""What a motion's vectors and window centres can be at most: edits bring theirs back inside the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..attention.flow import AttentionMotionFlow
from ..grid import TokenGrid


def last_position(grid: TokenGrid) -> Tensor:
    """(2,) float32 (x, y) of a frame's last token."""
    return torch.tensor((grid.width - 1, grid.height - 1), dtype=torch.float32)


def bounded(field: Tensor, grid: TokenGrid) -> Tensor:
    """Displacements (..., 2), tokens, no longer than the frame."""
    last = last_position(grid)
    return torch.minimum(torch.maximum(field.float(), -last), last)


def bounded_positions(positions: Tensor, grid: TokenGrid) -> Tensor:
    """Positions (..., 2), tokens, moved into the frame."""
    return torch.minimum(positions.clamp(min=0), last_position(grid))


def bounded_flows(flows: Sequence[AttentionMotionFlow], grid: TokenGrid) -> tuple[AttentionMotionFlow, ...]:
    """Flows whose displacements and window centres a motion can hold."""
    return tuple(
        replace(
            flow,
            displacement=bounded(flow.displacement, grid),
            centres=bounded_positions(flow.centres, grid),
        )
        for flow in flows
    )
