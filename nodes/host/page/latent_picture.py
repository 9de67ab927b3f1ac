"""A latent's frames as one small picture. Trap: some formats have no colours in the host, some pack pixels."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import torch
from PIL import Image

if TYPE_CHECKING:
    from comfy.latent_formats import LatentFormat

QUALITY = 75
"""Of the JPEG: about 2 KB a latent frame of 832 x 480."""

MOST_ROWS = 32_000
"""Rows of latent pixels; a JPEG has room for 65,535, and packed pixels may be unpacked to twice as many."""


def latent_picture(latent_format: LatentFormat, latent: torch.Tensor, frames: int) -> str | None:
    """The last `frames` of a latent (B, C, F, h, w), its first clip, one below the other: the address of a JPEG.

    Colours are the host's linear map of the format's channels, as in its own previews. None where it has none, or where
    the video is too long for one picture.
    """
    factors = getattr(latent_format, "latent_rgb_factors", None)
    if factors is None or frames * latent.shape[-2] > MOST_ROWS:
        return None
    reshape = getattr(latent_format, "latent_rgb_factors_reshape", None)
    latent = latent[:1, :, -frames:]
    latent = (latent if reshape is None else reshape(latent))[0].float().cpu()
    bias = getattr(latent_format, "latent_rgb_factors_bias", None)
    bias = None if bias is None else torch.tensor(bias)
    colours = torch.nn.functional.linear(latent.movedim(0, -1), torch.tensor(factors).T, bias)
    pixels = ((colours + 1) * 127.5).nan_to_num().clamp(0, 255).byte().flatten(0, 1)
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
