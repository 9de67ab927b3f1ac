"""The demo's models through the host's loaders. Trap: its loader nodes know files by their names in the user's lists,
and the demo's files are not to be listed among the user's own."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import comfy.sd
import comfy.utils
from comfy_api.latest import InputImpl

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

ASSETS = Path(__file__).resolve().parents[3] / "assets"


COLOURS = (
    (-0.003, -0.003, -0.005),
    (-0.024, -0.018, -0.020),
    (0.012, 0.003, -0.021),
    (0.024, 0.012, 0.017),
    (0.020, 0.018, -0.027),
    (-0.034, -0.016, -0.018),
    (-0.008, 0.005, 0.009),
    (0.006, -0.013, -0.013),
    (0.012, 0.002, -0.004),
    (0.025, 0.008, 0.012),
    (0.065, 0.053, -0.069),
    (0.057, 0.066, 0.102),
    (0.023, 0.023, -0.037),
    (0.002, 0.001, 0.031),
    (-0.040, -0.009, 0.004),
    (-0.033, -0.009, -0.014),
)
"""Red, green and blue of each channel of its VAE's latents, for previews: least squares over 40 clips. Wan's own do not
fit another VAE."""
DARK = (-0.430, -0.376, -0.363)
"""Red, green and blue where all channels are 0."""


def load_model() -> ModelPatcher:
    """The demo's tiny Wan, whose previews show its own VAE's colours."""
    model = comfy.sd.load_diffusion_model(str(_file("models/diffusion_models/tinywan_dit_fp16.safetensors")))
    latent_format = copy.copy(model.model.latent_format)
    latent_format.latent_rgb_factors, latent_format.latent_rgb_factors_bias = list(map(list, COLOURS)), list(DARK)
    model.model.latent_format = latent_format
    return model


def load_vae() -> comfy.sd.VAE:
    """Its VAE."""
    vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(_file("models/vae/tinywan_vae_fp16.safetensors"))))
    vae.throw_exception_if_invalid()
    return vae


def load_reference() -> InputImpl.VideoFromFile:
    """The clip whose motion the demo takes."""
    return InputImpl.VideoFromFile(str(_file("reference.mp4")))


def _file(name: str) -> Path:
    path = ASSETS / name
    if not path.is_file():
        raise ValueError(
            f"Tiny Wan Loader: expected {path}, got no such file; install FastVMT again with its assets folder."
        )
    return path
