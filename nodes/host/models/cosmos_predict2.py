"""Cosmos Predict 2's row: 2B and 14B, of videos and of images. Trap: its blocks hold the tokens as a grid, and the host
looks for no patches of them."""

from __future__ import annotations

import torch

from .family import Block, BlockMemory, Family, NetworkSizes


def _missing_parts(network: torch.nn.Module) -> list[str]:
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, torch.nn.ModuleList) or not len(blocks):
        return ["blocks"]
    names = ("patch_spatial", "patch_temporal", "num_heads", "model_channels")
    missing = [name for name in names if not hasattr(network, name)]
    if hasattr(network, "llm_adapter"):
        missing.append("network of videos (this one is Anima's, of images)")
    return missing + [f"{name} in its blocks" for name in ("self_attn", "mlp") if not hasattr(blocks[0], name)]


def _sizes(network: torch.nn.Module) -> NetworkSizes:
    return NetworkSizes(
        dim=int(network.model_channels),
        ffn_dim=int(network.blocks[0].mlp.layer1.out_features),
        heads=int(network.num_heads),
        depth=len(network.blocks),
        patch=(int(network.patch_temporal), int(network.patch_spatial), int(network.patch_spatial)),
    )


def _blocks(network: torch.nn.Module) -> list[Block]:
    return [Block(module, ("x_B_T_H_W_D",), axes="b f h w c") for module in network.blocks]


COSMOS_PREDICT2 = Family(
    name="Cosmos Predict 2",
    missing_parts=_missing_parts,
    sizes=_sizes,
    blocks=_blocks,
    writes_to_input=False,
    # Newer hosts fill them up.
    whole_patches=True,
    memory=lambda network, block: BlockMemory(kept_values=12, kept_ffn_values=1, ahead_values=8),
    pictures=frozenset(("c_concat", "denoise_mask")),
)
