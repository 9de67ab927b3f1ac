"""Wan's row: Wan 2.1 and 2.2, and what is built on them (VACE, Fun, Phantom, Animate, S2V, HuMo, SCAIL, WanDancer).
Trap: they put reference frames before, after, or into the latent's own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ....fastvmt_core.grid import TokenGrid
from .family import Block, BlockMemory, Condition, Family, NetworkSizes, SideBlock

NOTHING = 1e-2
"""Latent values up to this are none: a node's zeros, taken to model space and back in the model's own precision."""
BESIDE = ("reference_latent", "time_dim_concat", "context_latents", "pose_latents")
"""Conditions whose latents become tokens of their own: Fun-Control, SCAIL, HuMo and S2V; Phantom; Bernini; SCAIL."""
PICTURES = frozenset(
    (*BESIDE, "c_concat", "vace_context", "denoise_mask", "reference_motion", "control_video", "camera_conditions")
)
SIZELESS = frozenset(("audio_embed", "face_pixel_values"))
"""Sound, and Animate's crop of a face."""
INJECTORS = ("audio_injector", "music_injector")
"""S2V's sound and WanDancer's music, by the names of their modules."""
INJECTED_VALUES = 4
"""Times the width, that autograd keeps of an injector beside its tokens: their norm, its q before and after the norm,
and its output."""
PACKED_FRAMES = 1.5
"""Frames of tokens that S2V packs any length of reference_motion into."""


def _missing_parts(network: torch.nn.Module) -> list[str]:
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, torch.nn.ModuleList) or not len(blocks):
        return ["blocks"]
    missing = [name for name in ("patch_size", "num_heads", "dim") if not hasattr(network, name)]
    attention = getattr(blocks[0], "self_attn", None)
    if attention is None:
        missing.append("self_attn in its blocks")
    # WanAnimate2: each frame beside one frame of the pose, in buffers that all blocks write to.
    elif hasattr(attention, "forward_pose"):
        missing.append("self-attention over all frames at once")
    return missing


def _sizes(network: torch.nn.Module) -> NetworkSizes:
    return NetworkSizes(
        dim=int(network.dim),
        ffn_dim=int(getattr(network.blocks[0], "ffn_dim", 4 * network.dim)),
        heads=int(network.num_heads),
        depth=len(network.blocks),
        patch=tuple(int(side) for side in network.patch_size),
    )


def _blocks(network: torch.nn.Module) -> list[Block]:
    return [Block(module, ("x",), ("double_block", index)) for index, module in enumerate(network.blocks)]


def _leading_frames(network: torch.nn.Module, conditions: Sequence[Condition]) -> int:
    """Animate puts one reference image there, VACE's node any number.

    VACE's are frames that its mask leaves alone and that hold nothing to be changed: a frame of the video that is kept
    holds grey there, which is not nothing once it is encoded.
    """
    if hasattr(network, "pose_patch_embedding"):
        return int("concat_latent_image" in conditions[0])
    context = conditions[0].get("model_conds", {}).get("vace_context")
    if context is None:
        return 0
    # (B, videos, 16 channels of what is kept, 16 of what is changed and 64 of the mask, F, h, w)
    changed = context.cond[:, :, 16:].abs().amax((0, 1, 2, 4, 5)) > NOTHING
    return int(changed.int().argmax()) if bool(changed.any()) else 0


def _tokens_before(network: torch.nn.Module, condition: Condition, grid: TokenGrid) -> int:
    """Fun-Control puts one frame before the latent's tokens, SCAIL as many as its reference latent has."""
    reference = condition.get("model_conds", {}).get("reference_latent")
    if reference is None:
        return 0
    if getattr(network, "ref_conv", None) is not None:
        return grid.height * grid.width
    if hasattr(network, "patch_embedding_pose"):
        return TokenGrid.of_latent(reference.cond.shape, tuple(network.patch_size)).tokens
    return 0


def _tokens_beside(network: torch.nn.Module, condition: Condition) -> int:
    patch, tokens = tuple(network.patch_size), 0
    for name in BESIDE:
        # Animate's pose is added to the latent's own tokens.
        if name != "pose_latents" or not hasattr(network, "pose_patch_embedding"):
            tokens += sum(_grid_of(latent, patch).tokens for latent in _latents(condition, name))
    for motion in _latents(condition, "reference_motion"):
        grid = _grid_of(motion, patch)
        tokens += math.ceil(PACKED_FRAMES * grid.height * grid.width)
    return tokens


def _latents(condition: Condition, name: str) -> list[torch.Tensor]:
    """The latents of a condition: of one, of a list of them, or none."""
    given = getattr(condition.get("model_conds", {}).get(name), "cond", None)
    held = given if isinstance(given, (list, tuple)) else [given]
    return [latent for latent in held if torch.is_tensor(latent) and latent.ndim >= 4]


def _grid_of(latent: torch.Tensor, patch: tuple[int, int, int]) -> TokenGrid:
    """The grid of a latent (B, C, F, h, w), or of a single frame (B, C, h, w)."""
    return TokenGrid.of_latent(latent.shape if latent.ndim == 5 else (1, *latent.shape[-2:]), patch)


def _side_blocks(network: torch.nn.Module) -> list[SideBlock]:
    """VACE's blocks; its mapping says beside which main block each runs."""
    blocks, mapping = getattr(network, "vace_blocks", None), getattr(network, "vace_layers_mapping", None)
    if not blocks or not mapping:
        return []
    return [SideBlock(beside, Block(blocks[side], ("c", "x"))) for beside, side in mapping.items()]


def _writers(network: torch.nn.Module) -> list[torch.nn.Module]:
    return [getattr(network, name) for name in INJECTORS if hasattr(network, name)]


def _memory(network: torch.nn.Module, block: int) -> BlockMemory:
    """The inputs of the norms, q, k, v and both attentions' outputs; gelu keeps its input."""
    injected = sum(number < block for module in _writers(network) for number in module.injected_block_id)
    kept = 12 + math.ceil(INJECTED_VALUES * injected / max(block, 1))
    return BlockMemory(kept_values=kept, kept_ffn_values=1, ahead_values=10, writers=injected)


def _reads_text_apart(network: torch.nn.Module) -> bool:
    """All but S2V, whose blocks some hosts run without options, and the causal one, which keeps k and v of a text."""
    return not hasattr(network, "casual_audio_encoder") and not hasattr(network, "forward_block")


WAN = Family(
    name="Wan",
    missing_parts=_missing_parts,
    sizes=_sizes,
    blocks=_blocks,
    writes_to_input=False,
    memory=_memory,
    leading_frames=_leading_frames,
    tokens_before=_tokens_before,
    tokens_beside=_tokens_beside,
    side_blocks=_side_blocks,
    writers=_writers,
    pictures=PICTURES,
    sizeless_conditions=SIZELESS,
    reads_text_apart=_reads_text_apart,
)
