"""Cosmos's rows: Cosmos 1 (7B and 14B) and Predict 2 (2B and 14B). Trap: their blocks hold the tokens as a grid, Cosmos
1's with the batch behind it, and the host looks for no patches of them. At half size a start image of Cosmos 1 is
refused: its frame holds no noise, and only c_concat says so."""

from __future__ import annotations

import torch

from .family import Block, BlockMemory, Family, NetworkSizes

NAMES = ("patch_spatial", "patch_temporal", "num_heads", "model_channels")
PARTS = ["fa", "ca", "mlp"]
"""Of a block of Cosmos 1, by the host's names: self-attention, cross-attention and the feed-forward layer."""


def _missing_names(network: torch.nn.Module) -> list[str]:
    return [name for name in NAMES if not hasattr(network, name)]


def _sizes(network: torch.nn.Module, feed_forward: torch.nn.Module) -> NetworkSizes:
    return NetworkSizes(
        dim=int(network.model_channels),
        ffn_dim=int(feed_forward.layer1.out_features),
        heads=int(network.num_heads),
        depth=len(network.blocks),
        patch=(int(network.patch_temporal), int(network.patch_spatial), int(network.patch_spatial)),
    )


def _memory(network: torch.nn.Module, block: int) -> BlockMemory:
    return BlockMemory(kept_values=12, kept_ffn_values=1, ahead_values=8)


def _first(network: torch.nn.Module) -> torch.nn.Module:
    return next(iter(network.blocks.values()))


def _missing_parts_of_1(network: torch.nn.Module) -> list[str]:
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, torch.nn.ModuleDict) or not len(blocks):
        return ["blocks by name"]
    parts = [part.block_type for part in getattr(_first(network), "blocks", ())]
    return _missing_names(network) + ([] if parts == PARTS else [f"parts {', '.join(PARTS)} in its blocks"])


def _missing_parts_of_predict2(network: torch.nn.Module) -> list[str]:
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, torch.nn.ModuleList) or not len(blocks):
        return ["blocks"]
    missing = _missing_names(network)
    if hasattr(network, "llm_adapter"):
        missing.append("network of videos (this one is Anima's, of images)")
    return missing + [f"{name} in its blocks" for name in ("self_attn", "mlp") if not hasattr(blocks[0], name)]


COSMOS = Family(
    name="Cosmos 1",
    missing_parts=_missing_parts_of_1,
    sizes=lambda network: _sizes(network, _first(network).blocks[-1].block),
    blocks=lambda network: [Block(module, ("x",), axes="f h w b c") for module in network.blocks.values()],
    writes_to_input=False,
    memory=_memory,
)
COSMOS_PREDICT2 = Family(
    name="Cosmos Predict 2",
    missing_parts=_missing_parts_of_predict2,
    sizes=lambda network: _sizes(network, network.blocks[0].mlp),
    blocks=lambda network: [Block(module, ("x_B_T_H_W_D",), axes="b f h w c") for module in network.blocks],
    writes_to_input=False,
    memory=_memory,
    # Newer hosts fill them up.
    whole_patches=True,
    pictures=frozenset(("c_concat", "denoise_mask")),
)
