"""Kandinsky 5's row: the lite and pro models of videos. Trap: the network puts a start image's latent over the first
frames of what it is given, whatever noise they hold."""

from __future__ import annotations

import torch

from .family import Block, BlockMemory, Family, NetworkSizes

BLOCKS = "visual_transformer_blocks"


def _missing_parts(network: torch.nn.Module) -> list[str]:
    blocks = getattr(network, BLOCKS, None)
    if not isinstance(blocks, torch.nn.ModuleList) or not len(blocks):
        return [BLOCKS]
    missing = [name for name in ("model_dim", "patch_size") if not hasattr(network, name)]
    # Beside a latent's channels that of videos takes a start image's and its mask.
    if not getattr(network, "visual_embed_dim", 0) > 2 * getattr(network, "in_visual_dim", 0):
        missing.append("input for a start image (this one is of images)")
    parts = ("self_attention", "feed_forward")
    return missing + [f"{name} in its blocks" for name in parts if not hasattr(blocks[0], name)]


def _sizes(network: torch.nn.Module) -> NetworkSizes:
    block = network.visual_transformer_blocks[0]
    return NetworkSizes(
        dim=int(network.model_dim),
        ffn_dim=int(block.feed_forward.in_layer.out_features),
        heads=int(block.self_attention.num_heads),
        depth=len(network.visual_transformer_blocks),
        patch=tuple(int(side) for side in network.patch_size),
    )


def _blocks(network: torch.nn.Module) -> list[Block]:
    # The host has a place for patches of them, but calls a patched block by names that it does not take.
    return [Block(module, ("visual_embed",)) for module in network.visual_transformer_blocks]


KANDINSKY5 = Family(
    name="Kandinsky 5",
    missing_parts=_missing_parts,
    sizes=_sizes,
    blocks=_blocks,
    writes_to_input=False,
    memory=lambda network, block: BlockMemory(kept_values=11, kept_ffn_values=1, ahead_values=9),
    pictures=frozenset(("c_concat", "time_dim_replace")),
)
