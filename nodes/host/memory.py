"""How much the guided pass may keep. Trap: the host reserves memory for a forward pass only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import comfy.model_management

from ...fastvmt_core.grid import TokenGrid

if TYPE_CHECKING:
    import torch

    from .wan_model import WanModel

SAVED_PER_TOKEN = 30
"""Values a token and channel that autograd keeps of one Wan block: norms, modulation, q, k, v, attention, gelu."""
SHARE = 0.5
"""Of the free memory, what kept activations may take; the rest is for attention's backward and the AMF."""


def should_checkpoint(
    model: WanModel, grid: TokenGrid, batch: int, block: int, latent: torch.Tensor, bytes_per_value: int
) -> bool:
    """Whether the blocks before `block` must be recomputed in backward, because keeping them would not fit."""
    kept = SAVED_PER_TOKEN * block * batch * grid.tokens * model.dim * bytes_per_value
    return kept > SHARE * comfy.model_management.get_free_memory(latent.device)
