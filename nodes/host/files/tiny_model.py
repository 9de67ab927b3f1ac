"""The demo's models through the host's loaders. Trap: its loader nodes know files by their names in the user's lists,
and the demo's files are not to be listed among the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import comfy.sd
import comfy.utils
from comfy_api.latest import InputImpl

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

ASSETS = Path(__file__).resolve().parents[3] / "assets"


def load_model() -> ModelPatcher:
    """The demo's tiny Wan."""
    return comfy.sd.load_diffusion_model(str(_file("models/diffusion_models/tinywan_dit_fp16.safetensors")))


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
