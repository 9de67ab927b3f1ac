"""Encoding a clip with the host's VAE. Trap: a video VAE takes frames as a batch, an image VAE would take them too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from comfy.sd import VAE

TILE = 256
OVERLAP = 64
TILE_FRAMES = 64
OVERLAP_FRAMES = 8


def encode_video(vae: VAE, frames: torch.Tensor, tiled: bool) -> torch.Tensor:
    """Encode (T, H, W, 3) in [0, 1] to a video latent (1, C, F, h, w).

    Raises:
        ValueError: the VAE makes no video latents, or its latent is not finite.
    """
    if getattr(vae, "latent_dim", None) != 3 or getattr(vae, "not_video", False):
        raise ValueError("vae: expected a video VAE (wan_2.1_vae or wan2.2_vae), got one for single images.")
    if tiled:
        latent = vae.encode_tiled(
            frames, tile_x=TILE, tile_y=TILE, overlap=OVERLAP, tile_t=TILE_FRAMES, overlap_t=OVERLAP_FRAMES
        )
    else:
        latent = vae.encode(frames)
    if not bool(torch.isfinite(latent).all()):
        raise ValueError("vae: expected a finite latent, got NaN or infinity; run the VAE in bf16 or fp32 instead.")
    return latent
