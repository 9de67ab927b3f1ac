"""Mochi's row. Trap: the text is a stream of its own, of another width, whose tokens stand after the video's."""

from __future__ import annotations

import math

import torch

from .family import Block, BlockMemory, Condition, Family, NetworkSizes


def _missing_parts(network: torch.nn.Module) -> list[str]:
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, torch.nn.ModuleList) or not len(blocks):
        return ["blocks"]
    missing = [name for name in ("patch_size", "num_heads", "hidden_size_x") if not hasattr(network, name)]
    return missing + [f"{name} in its blocks" for name in ("attn", "mlp_x") if not hasattr(blocks[0], name)]


def _sizes(network: torch.nn.Module) -> NetworkSizes:
    return NetworkSizes(
        dim=int(network.hidden_size_x),
        ffn_dim=int(network.blocks[0].mlp_x.hidden_dim),
        heads=int(network.num_heads),
        depth=len(network.blocks),
        patch=(1, int(network.patch_size), int(network.patch_size)),
    )


def _blocks(network: torch.nn.Module) -> list[Block]:
    return [Block(module, ("x", "y"), ("double_block", index)) for index, module in enumerate(network.blocks)]


def _memory(network: torch.nn.Module, block: int) -> BlockMemory:
    """The gate of the feed-forward layer and what it multiplies are kept, and have a gradient at the same time."""
    sizes = _sizes(network)
    return BlockMemory(
        kept_values=11, kept_ffn_values=3, ahead_values=max(10, math.ceil(2 * sizes.ffn_dim / sizes.dim))
    )


def _tokens_beside(network: torch.nn.Module, condition: Condition) -> int:
    text = condition.get("model_conds", {}).get("c_crossattn")
    return 0 if text is None else text.cond.shape[1]


MOCHI = Family(
    name="Mochi",
    missing_parts=_missing_parts,
    sizes=_sizes,
    blocks=_blocks,
    writes_to_input=False,
    memory=_memory,
    tokens_beside=_tokens_beside,
    whole_patches=True,
)
