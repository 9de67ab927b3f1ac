"""Cosmos 1's row: 7B and 14B, of a text or a start image. Trap: its blocks hold the tokens as a grid with the batch
behind it, and the host looks for no patches of them. At half size a start image is refused: its frame holds no noise,
and only c_concat says so."""

from __future__ import annotations

import torch

from .family import Block, BlockMemory, Family, NetworkSizes

PARTS = ["fa", "ca", "mlp"]
"""Of a block, by the host's names: self-attention, cross-attention and the feed-forward layer."""


def _missing_parts(network: torch.nn.Module) -> list[str]:
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, torch.nn.ModuleDict) or not len(blocks):
        return ["blocks by name"]
    names = ("patch_spatial", "patch_temporal", "num_heads", "model_channels")
    missing = [name for name in names if not hasattr(network, name)]
    parts = [part.block_type for part in getattr(_first(network), "blocks", ())]
    return missing if parts == PARTS else [*missing, f"parts {', '.join(PARTS)} in its blocks"]


def _first(network: torch.nn.Module) -> torch.nn.Module:
    return next(iter(network.blocks.values()))


def _sizes(network: torch.nn.Module) -> NetworkSizes:
    return NetworkSizes(
        dim=int(network.model_channels),
        ffn_dim=int(_first(network).blocks[-1].block.layer1.out_features),
        heads=int(network.num_heads),
        depth=len(network.blocks),
        patch=(int(network.patch_temporal), int(network.patch_spatial), int(network.patch_spatial)),
    )


def _blocks(network: torch.nn.Module) -> list[Block]:
    return [Block(module, ("x",), axes="f h w b c") for module in network.blocks.values()]


COSMOS = Family(
    name="Cosmos 1",
    missing_parts=_missing_parts,
    sizes=_sizes,
    blocks=_blocks,
    writes_to_input=False,
    memory=lambda network, block: BlockMemory(kept_values=12, kept_ffn_values=1, ahead_values=8),
)
