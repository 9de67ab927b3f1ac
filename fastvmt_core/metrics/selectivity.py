"""Selectivity of the attention motion flow: which block, at which noise level, follows motion and not appearance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch

from ..attention.flow import AttentionMotionFlow

TIE = 0.02
"""Ratios this close to the lowest are as good as it; the earliest of their blocks is the cheapest to guide by."""

ClipFlows = Sequence[Sequence[AttentionMotionFlow]]
"""[motion][appearance]: one flow a clip. A row's clips share the motion, a column's the appearance."""


@dataclass(frozen=True)
class Proposal:
    """Where to read the motion."""

    block: int
    """Counted from 0."""
    sigma: float
    """Noise level of the reference."""
    ratio: float
    """Selectivity there; below 1."""


@dataclass(frozen=True)
class Selectivity:
    """Selectivity of each block at each noise level: below 1 its flow follows the motion, above 1 the appearance.

    Raises:
        ValueError: the ratios do not fill the table.
    """

    blocks: tuple[int, ...]
    """Counted from 0, in rising order."""
    sigmas: tuple[float, ...]
    """Noise levels in (0, 1]."""
    ratios: tuple[tuple[float, ...], ...]
    """[sigma][block]."""

    def __post_init__(self) -> None:
        shape = [len(row) for row in self.ratios]
        if shape != [len(self.blocks)] * len(self.sigmas):
            raise ValueError(
                f"ratios: expected {len(self.sigmas)} rows (sigmas) of {len(self.blocks)} (blocks), got {shape}."
            )

    @property
    def proposal(self) -> Proposal | None:
        """The lowest ratio, of ties (`TIE`) the earliest block's; None where no ratio is below 1."""
        cells = [
            Proposal(block, sigma, ratio)
            for sigma, row in zip(self.sigmas, self.ratios, strict=True)
            for block, ratio in zip(self.blocks, row, strict=True)
            if ratio < 1
        ]
        if not cells:
            return None
        lowest = min(cell.ratio for cell in cells)
        return min((cell for cell in cells if cell.ratio <= lowest + TIE), key=lambda cell: (cell.block, cell.ratio))

    @property
    def proposed_cell(self) -> tuple[int, int] | None:
        """(row, column) of the proposal in the table."""
        best = self.proposal
        return None if best is None else (self.sigmas.index(best.sigma), self.blocks.index(best.block))

    @property
    def in_words(self) -> str:
        """One sentence on the proposal."""
        best = self.proposal
        if best is None:
            return "No ratio is below 1: no block follows motion more than appearance here."
        return f"Blue, below 1: the motion. Proposed: block {best.block} at sigma {best.sigma:g} ({best.ratio:.2f})."

    @property
    def report(self) -> dict[str, Any]:
        """The table and the proposal as JSON takes them."""
        best = self.proposal
        return {
            "meaning": "AMF distance (same motion, other appearance) / (other motion, same appearance); below 1 "
            "carries motion",
            "blocks": list(self.blocks),
            "sigmas": list(self.sigmas),
            "ratios": [[round(ratio, 4) for ratio in row] for row in self.ratios],
            "proposal": None
            if best is None
            else {"block": best.block, "reference_sigma": best.sigma, "ratio": round(best.ratio, 4)},
        }


def selectivity_ratio(flows: ClipFlows) -> float:
    """Mean distance of clips of one motion and other appearances, over that of one appearance and other motions.

    Args:
        flows: at least two motions by two appearances, all with the same pairs and grid.

    Raises:
        ValueError: a motion or appearance is missing, or no clip moves otherwise than another.
    """
    columns = len(flows[0]) if flows else 0
    if len(flows) < 2 or columns < 2 or any(len(row) != columns for row in flows):
        raise ValueError(f"flows: expected two motions or more by two appearances or more, got {[*map(len, flows)]}.")
    other_appearance = [flow_distance(*pair) for row in flows for pair in combinations(row, 2)]
    other_motion = [flow_distance(*pair) for column in zip(*flows, strict=True) for pair in combinations(column, 2)]
    if not sum(other_motion) > 0:
        raise ValueError(
            "reference: expected clips that move differently from their mirrored and reversed selves, got the same "
            "attention motion flow; choose a reference in which something moves."
        )
    return (sum(other_appearance) / len(other_appearance)) / (sum(other_motion) / len(other_motion))


def flow_distance(first: AttentionMotionFlow, second: AttentionMotionFlow) -> float:
    """Mean over the pairs i < j and their tokens of the squared difference, tokens squared.

    The pairs (i, i) are left out: they carry layout rather than movement.

    Raises:
        ValueError: the flows differ in pairs or grid, or have a single frame.
    """
    if first.pairs != second.pairs or first.displacement.shape != second.displacement.shape:
        raise ValueError(f"flows: expected the same pairs and grid, got {first.grid} and {second.grid}.")
    moving = [index for index, (i, j) in enumerate(first.pairs) if i < j]
    if not moving:
        raise ValueError("flows: expected two frames of the latent or more, got one; use a longer clip.")
    difference = first.displacement[moving] - second.displacement[moving]
    return float(torch.sum(difference.square(), dim=-1).mean())
