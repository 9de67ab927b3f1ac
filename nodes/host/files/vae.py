"""Encoding and decoding with the host's VAE. Trap: a video VAE takes frames as a batch, an image VAE would too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from nodes import VAEDecode, VAEDecodeTiled

from ....fastvmt_core.config import WIDE_LATENT_CHANNELS
from ....fastvmt_core.grid import TEMPORAL_STRIDE
from ....fastvmt_core.motion.fingerprint import LTXV_LATENT_CHANNELS, MOCHI_LATENT_CHANNELS
from ..models.video_model import require_video_latent
from ..page.progress import raise_if_cancelled
from ..swap import swapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comfy.sd import VAE

FPS = 16.0
"""Frames per second that Wan was trained on, and Hunyuan Video 1.0, whose latents look alike, was not (24)."""
FPS_BY_CHANNELS = {WIDE_LATENT_CHANNELS: 24.0, LTXV_LATENT_CHANNELS: 25.0, 32: 24.0, MOCHI_LATENT_CHANNELS: 30.0}
"""Likewise, by the latent's channels: Wan 2.2 5B, LTX-Video, Hunyuan Video 1.5 and Mochi."""
TILE = 256
OVERLAP = 64
TILE_FRAMES = 64
OVERLAP_FRAMES = 8


def models_fps(vae: VAE) -> float:
    """Frames per second of the model that a VAE belongs to."""
    return FPS_BY_CHANNELS.get(getattr(vae, "latent_channels", None), FPS)


def temporal_stride(vae: VAE) -> int:
    """Frames of video to one latent frame after the first."""
    return getattr(vae, "temporal_compression_decode", lambda: None)() or TEMPORAL_STRIDE


def encode_video(vae: VAE, frames: torch.Tensor, tiled: bool) -> torch.Tensor:
    """Encode (T, H, W, 3) in [0, 1] to a video latent (1, C, F, h, w).

    Raises:
        ValueError: the VAE makes no video latents, or its latent is not finite.
    """
    _require_video_vae(vae)
    # Hunyuan Video 1.5's is of a class that the host shows images one by one.
    with swapped(vae, "not_video", False):
        if tiled:
            latent = vae.encode_tiled(
                frames, tile_x=TILE, tile_y=TILE, overlap=OVERLAP, tile_t=TILE_FRAMES, overlap_t=OVERLAP_FRAMES
            )
        else:
            latent = vae.encode(frames)
    if not bool(torch.isfinite(latent).all()):
        raise ValueError("vae: expected a finite latent, got NaN or infinity; run the VAE in bf16 or fp32 instead.")
    return latent


def decode_shots(vae: VAE, latent: torch.Tensor, shots: Sequence[range], tiled: bool) -> torch.Tensor:
    """Decode a video latent (B, C, F, h, w) one shot after the other, to (B * T, H, W, 3) in [0, 1].

    The VAE takes the frames before into account, and shows the previous shot in the first frame of a new one. So each
    later shot is decoded as if its first frame of the latent had stood still before; that frame's video is dropped.

    Args:
        vae: that of the model that made the latent.
        latent: as samplers give it.
        shots: frames of the latent, all of them, in order (`fastvmt_core.video.cuts.shots`).
        tiled: decode in tiles of TILE pixels.

    Raises:
        ValueError: the VAE makes no video, or the latent is not one of its.
    """
    _require_video_vae(vae)
    require_video_latent("samples", latent, vae.latent_channels)
    if len(shots) == 1:
        # What follows would copy it.
        return _decode(vae, latent, tiled)
    parts = []
    for shot in shots:
        raise_if_cancelled()
        part = latent[:, :, shot.start : shot.stop]
        if shot.start:
            part = torch.cat([part[:, :, :1], part], dim=2)
        # Of a batch the host puts all frames in a row.
        frames = _decode(vae, part, tiled).unflatten(0, (len(latent), -1))
        parts.append(frames[:, 1:] if shot.start else frames)
    return torch.cat(parts, dim=1).flatten(0, 1)


def _decode(vae: VAE, latent: torch.Tensor, tiled: bool) -> torch.Tensor:
    if tiled:
        return VAEDecodeTiled().decode(vae, {"samples": latent}, TILE, OVERLAP, TILE_FRAMES, OVERLAP_FRAMES)[0]
    return VAEDecode().decode(vae, {"samples": latent})[0]


def _require_video_vae(vae: VAE) -> None:
    of_images = getattr(vae, "not_video", False) and getattr(vae, "temporal_compression_decode", lambda: None)() is None
    if getattr(vae, "latent_dim", None) != 3 or of_images:
        raise ValueError("vae: expected the VAE of a video model, got one for single images.")
