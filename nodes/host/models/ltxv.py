"""LTX-Video's rows: 0.9.x (2B and 13B), and LTX-2, which makes sound as well. Trap: its nodes put guide frames after
the latent's own, where a sampler and the motion would take them for the video's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from .family import Block, BlockMemory, Condition, Family, NetworkSizes

BLOCKS = "transformer_blocks"


def _missing_parts(network: torch.nn.Module, sound: bool = False) -> list[str]:
    blocks = getattr(network, BLOCKS, None)
    if not isinstance(blocks, torch.nn.ModuleList) or not len(blocks):
        return [BLOCKS]
    missing = [name for name in ("patchify_proj", "patchifier", "inner_dim") if not hasattr(network, name)]
    if not hasattr(blocks[0], "attn1"):
        missing.append("attn1 in its blocks")
    elif hasattr(blocks[0], "audio_attn1") != sound:
        missing.append("audio_attn1 in its blocks" if sound else "latent of a video alone")
    return missing


def _sizes(network: torch.nn.Module) -> NetworkSizes:
    block = network.transformer_blocks[0]
    return NetworkSizes(
        dim=int(network.inner_dim),
        ffn_dim=int(block.ff.net[0].proj.out_features),
        heads=int(block.attn1.heads),
        depth=len(network.transformer_blocks),
        patch=tuple(int(side) for side in network.patchifier.patch_size),
    )


def _blocks(network: torch.nn.Module) -> list[Block]:
    return [Block(module, ("x",), ("double_block", index)) for index, module in enumerate(network.transformer_blocks)]


def _leading_frames(network: torch.nn.Module, conditions: Sequence[Condition]) -> int:
    """None; guide frames are refused."""
    guides = conditions[0].get("model_conds", {}).get("keyframe_idxs")
    if guides is not None and guides.cond.shape[2] > 0:
        raise ValueError(
            "positive: expected no guide frames of LTXV Add Guide, which stand in the latent as if they were the "
            "video's; take that node out. A start image by LTXV Img To Video works."
        )
    return 0


LTXV = Family(
    name="LTX-Video",
    missing_parts=_missing_parts,
    sizes=_sizes,
    blocks=_blocks,
    writes_to_input=True,
    memory=lambda network, block: BlockMemory(kept_values=11, kept_ffn_values=1, ahead_values=10),
    leading_frames=_leading_frames,
    pictures=frozenset(("denoise_mask",)),
)
LTX2 = dataclasses.replace(
    LTXV,
    name="LTX-2",
    missing_parts=lambda network: _missing_parts(network, sound=True),
    # Its blocks take (video, sound) as one argument of the same name. Without sound they run no part of it.
    other_conditions=frozenset(("audio_denoise_mask", "ref_audio")),
)
