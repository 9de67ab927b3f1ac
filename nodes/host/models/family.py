"""What is known of a family of video DiTs: one frozen row, which says how to recognise a network and read its facts.

Trap: MODEL may hold any network, so a row asks for the parts that are used, never for a name or a version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ....fastvmt_core.grid import TokenGrid

Condition = Mapping[str, Any]
"""One of the guider's processed conditions; "model_conds" holds what the network is given."""


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes of a network."""

    dim: int
    """Width of the blocks, channels."""
    ffn_dim: int
    """Width of the feed-forward layer, channels."""
    heads: int
    """Attention heads."""
    depth: int
    """Blocks."""
    patch: tuple[int, int, int]
    """Latent frames, rows and columns to one token."""


@dataclass(frozen=True, eq=False)
class Block:
    """A block of a network."""

    module: torch.nn.Module
    streams: tuple[str, ...]
    """Names of its forward's arguments that are tokens, or tuples of them; the video's first."""
    patch: tuple[str, int] | None = None
    """By which the host looks for another node's patch of it; None: it looks for none."""
    axes: str = "b l c"
    """Of the video's tokens, in einops' words: batch, channels, and l or the grid's f, h and w."""


@dataclass(frozen=True, eq=False)
class SideBlock:
    """A block that runs beside one of the main blocks (VACE's)."""

    beside: int
    """Number of the main block."""
    block: Block


@dataclass(frozen=True)
class BlockMemory:
    """What autograd keeps of a block with frozen weights, in values a token; see `GuidedPass`."""

    kept_values: int
    """Times the block's width."""
    kept_ffn_values: int
    """Times the feed-forward layer's width."""
    ahead_values: int
    """Times the block's width: of the last block up to its q and k, and of the losses."""
    writers: int = 0
    """Modules between the blocks that write into their tokens."""


@dataclass(frozen=True)
class Family:
    """One row of the table of families. Everything is asked of the network itself, or of the conditions that it gets.

    A self-attention compares these tokens, in this order:
    [tokens before | leading frames | the video's grid | tokens after].
    """

    name: str
    missing_parts: Callable[[torch.nn.Module], list[str]]
    """What a network lacks to be of this family; empty where it is one."""
    sizes: Callable[[torch.nn.Module], NetworkSizes]
    blocks: Callable[[torch.nn.Module], list[Block]]
    """The main blocks in the order in which they run."""
    writes_to_input: bool
    """Whether the blocks write into their tokens."""
    memory: Callable[[torch.nn.Module, int], BlockMemory]
    """Of the blocks before this one, which is the last that is read."""
    leading_frames: Callable[[torch.nn.Module, Sequence[Condition]], int] = lambda network, conditions: 0
    """How many of the latent's first frames are references rather than the video's."""
    tokens_before: Callable[[torch.nn.Module, Condition, TokenGrid], int] = lambda network, condition, grid: 0
    """Tokens that the network puts before those of the latent, whose grid is given; negative: the place of the latent's
    first token counted from the end, as of an index."""
    tokens_beside: Callable[[torch.nn.Module, Condition], int] = lambda network, condition: 0
    """Tokens of references, poses and text beside the latent's, before or after, for the memory plan."""
    whole_patches: bool = False
    """Whether a latent's sides must be whole numbers of patches; other networks fill them up."""
    side_blocks: Callable[[torch.nn.Module], list[SideBlock]] = lambda network: []
    writers: Callable[[torch.nn.Module], list[torch.nn.Module]] = lambda network: []
    """Modules that run after each main block, are given its number as `block_id`, and write into its tokens `x` where
    that is in their `injected_block_id`."""
    pictures: frozenset[str] = frozenset()
    """Conditions that are latents of a video or an image; they shrink with the latent."""
    other_conditions: frozenset[str] = frozenset()
    """Conditions of what a latent may hold beside the video (LTX-2's sound), which a gradient leaves out."""
    sizeless_conditions: frozenset[str] = frozenset()
    """Conditions of four axes and more whose size has nothing to do with the latent's."""
    reads_text_apart: Callable[[torch.nn.Module], bool] = lambda network: False
    """Whether the blocks read the text by a cross-attention over all its features, unmasked, at each evaluation."""


@dataclass(frozen=True)
class RefusedFamily:
    """A family that is known, and why it is not guided."""

    name: str
    parts: tuple[str, ...]
    """What its networks have, and no others."""
    reason: str
