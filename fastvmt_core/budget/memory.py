"""The plan by which a guided pass fits into memory: which blocks are recomputed in backward, and where inputs wait."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..config import MemoryLevel

RESERVE = 0.1
"""Share of the free memory that is left to the allocator's fragments and to estimates that are too low."""


@dataclass(frozen=True)
class GuidedPass:
    """Sizes of one guided forward and backward pass; the numbers that a model's family decides default to Wan's.

    Raises:
        ValueError: a size is negative, or one that must be at least 1 is not.
    """

    batch: int
    """Clips."""
    tokens: int
    """Tokens of a clip, those beside the grid (references) included."""
    dim: int
    """Channels of a token."""
    ffn_dim: int
    """Channels of the feed-forward layer."""
    blocks: int
    """Blocks that run before the one whose q and k end the pass."""
    bytes_per_value: int
    """Of the dtype that the host computes in."""
    side_blocks: int = 0
    """Blocks beside those (VACE's), alike in size."""
    weight_copies: int = 0
    """Bytes of the copies that a block computes with, where the host casts or moves its weights at use; backward needs
    them, so that a kept block keeps them too."""
    attention_pieces: int = 0
    """Bytes that a block's attention takes for a moment where it is computed in pieces (`piece_bytes`)."""
    kept_values: int = 12
    """Values a token and channel that autograd keeps of one block with frozen weights, its feed-forward layer apart:
    in a Wan block the inputs of the norms, q, k, v and both attentions' outputs, as measured on the host's own block
    (benchmarks/speed/guidance.py)."""
    kept_ffn_values: int = 1
    """Values a token and channel of the wider feed-forward layer that autograd keeps: Wan's gelu keeps its input."""
    ahead_values: int = 10
    """Values a token and channel of the last block, up to its q and k, and of what the losses are made from."""
    writers: int = 0
    """Modules that write into the tokens between those blocks (S2V's sound); their tokens wait as the blocks' do."""
    head_dim: int = 128
    """Channels of one attention head; 128 in every Wan."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            low = 0 if name in ("blocks", "side_blocks", "weight_copies", "attention_pieces", "writers") else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ValueError(f"{name}: expected a whole number of at least {low}, got {value!r}.")

    @property
    def block_input(self) -> int:
        """Bytes of the tokens that a block starts from."""
        return self.batch * self.tokens * self.dim * self.bytes_per_value

    @property
    def kept_block(self) -> int:
        """Bytes that a block keeps for backward when it is not recomputed."""
        values = self.dim * self.kept_values + self.ffn_dim * self.kept_ffn_values
        return self.batch * self.tokens * values * self.bytes_per_value + self.weight_copies

    @property
    def ahead(self) -> int:
        """Bytes that the pass needs whatever is recomputed: the last block, and one that is being computed."""
        return self.block_input * self.ahead_values + self.kept_block + self.attention_pieces

    def needed(self, plan: MemoryPlan) -> int:
        """Bytes beside the model that a pass needs by this plan, at its peak."""
        side = self.side_blocks / self.blocks if self.blocks else 0.0
        kept, recomputed = self.blocks - plan.recomputed, plan.recomputed
        waiting = 0 if plan.offloaded else self.block_input
        blocks = round((1 + side) * (kept * self.kept_block + recomputed * waiting))
        return self.ahead + blocks + self.writers * waiting


@dataclass(frozen=True)
class MemoryPlan:
    """Which activations backward finds in memory, and which it computes again."""

    recomputed: int = 0
    """The first so many blocks are recomputed in backward from their inputs; the others keep what they made. The first
    ones, since the kept ones' memory is free again by the time that they are reached."""
    offloaded: bool = False
    """Whether those inputs wait in system RAM rather than in VRAM."""


KEEP_ALL = MemoryPlan()
"""Nothing is recomputed: fastest, and right for passes without gradient."""


def plan_memory(sizes: GuidedPass, level: MemoryLevel, free: float) -> MemoryPlan:
    """The plan of a level.

    Args:
        sizes: of the pass.
        level: fastest keeps everything; smallest recomputes every block and keeps their inputs off the card; auto
            recomputes as few blocks as fit into what is free, and moves inputs only where that is still too much.
        free: bytes that are free beside the model; inf if unknown.

    Raises:
        ValueError: the level is unknown.
    """
    if level == "fastest":
        return KEEP_ALL
    if level == "smallest":
        return _smallest(sizes)
    if level != "auto":
        raise ValueError(f"memory: expected auto, fastest or smallest, got {level!r}.")
    budget = free * (1 - RESERVE)
    for recomputed in range(sizes.blocks + 1):
        plan = MemoryPlan(recomputed)
        if sizes.needed(plan) <= budget:
            return plan
    return _smallest(sizes)


def least_free(sizes: GuidedPass) -> float:
    """Bytes that must be free beside the model for the smallest plan."""
    return sizes.needed(_smallest(sizes)) / (1 - RESERVE)


def step_down(sizes: GuidedPass, plan: MemoryPlan, free: float) -> MemoryPlan | None:
    """The next smaller plan after this one did not fit: what auto chooses now, if that is smaller, else the smallest.

    Returns:
        None where this one was the smallest already.
    """
    planned = plan_memory(sizes, "auto", free)
    if planned.recomputed > plan.recomputed and not planned.offloaded:
        return planned
    smallest = _smallest(sizes)
    return None if plan == smallest else smallest


def _smallest(sizes: GuidedPass) -> MemoryPlan:
    return dataclasses.replace(KEEP_ALL, recomputed=sizes.blocks, offloaded=True)
