"""Hunyuan Video's row: 1.0 and 1.5, with start images and references. Trap: older hosts put the text's tokens after the
video's, newer ones before, and how many there are is known only once the text is encoded."""

from __future__ import annotations

import torch

from ....fastvmt_core.grid import TokenGrid
from .family import Block, BlockMemory, Condition, Family, NetworkSizes

BLOCKS = "double_blocks"
TEXTS = ("c_crossattn", "txt_byt5", "clip_fea")
"""Conditions (B, L, C) that become tokens of the text's stream."""


def _missing_parts(network: torch.nn.Module) -> list[str]:
    blocks = getattr(network, BLOCKS, None)
    if not isinstance(blocks, torch.nn.ModuleList) or not len(blocks):
        return [BLOCKS]
    missing = [name for name in ("single_blocks", "hidden_size", "num_heads", "img_in") if not hasattr(network, name)]
    # Flux and Hunyuan Image, whose blocks are of the same class.
    if not isinstance(getattr(network, "patch_size", None), (list, tuple)) or len(network.patch_size) != 3:
        missing.append("patch_size of three sides")
    return missing


def _sizes(network: torch.nn.Module) -> NetworkSizes:
    return NetworkSizes(
        dim=int(network.hidden_size),
        ffn_dim=int(network.double_blocks[0].img_mlp[0].out_features),
        heads=int(network.num_heads),
        depth=len(network.double_blocks) + len(network.single_blocks),
        patch=tuple(int(side) for side in network.patch_size),
    )


def _blocks(network: torch.nn.Module) -> list[Block]:
    """The blocks of two streams, then those of one, which holds the text too."""
    double = [
        Block(module, ("img", "txt"), ("double_block", index)) for index, module in enumerate(network.double_blocks)
    ]
    single = [Block(module, ("x",), ("single_block", index)) for index, module in enumerate(network.single_blocks)]
    return double + single


def _memory(network: torch.nn.Module, block: int) -> BlockMemory:
    """A block of one stream makes its feed-forward layer's input together with q, k and v."""
    ahead = 14 if block >= len(network.double_blocks) else 10
    return BlockMemory(kept_values=9, kept_ffn_values=1, ahead_values=ahead)


def _tokens_before(network: torch.nn.Module, condition: Condition, grid: TokenGrid) -> int:
    """References go right before the video's tokens. Where the text goes before both, the video's are the last."""
    if not getattr(network.double_blocks[0], "flipped_img_txt", False):
        return -grid.tokens
    return _reference_tokens(network, condition)


def _tokens_beside(network: torch.nn.Module, condition: Condition) -> int:
    texts = [condition.get("model_conds", {}).get(name) for name in TEXTS]
    return _reference_tokens(network, condition) + sum(text.cond.shape[1] for text in texts if text is not None)


def _reference_tokens(network: torch.nn.Module, condition: Condition) -> int:
    reference = condition.get("model_conds", {}).get("ref_latent")
    if reference is None:
        return 0
    return TokenGrid.of_latent(reference.cond.shape, tuple(network.patch_size)).tokens


HUNYUAN = Family(
    name="Hunyuan Video",
    missing_parts=_missing_parts,
    sizes=_sizes,
    blocks=_blocks,
    writes_to_input=True,
    memory=_memory,
    tokens_before=_tokens_before,
    tokens_beside=_tokens_beside,
    pictures=frozenset(("c_concat", "ref_latent", "denoise_mask")),
)
