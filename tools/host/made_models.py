"""Small model files of the host's own classes, with random weights, for tests and benchmarks.

Usage: python -m tools.host.made_models FOLDER [NAME ...]; ComfyUI is the layout's.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tools.host import made_families
from tools.host.layout import Layout
from tools.host.quantised import (
    FORMATS,
    GGUF_TYPES,
    Weights,
    has_format,
    is_linear_of_a_block,
    quantised,
    save_gguf,
)
from tools.host.random_weights import random_weights

SMALL = {"dim": 256, "ffn_dim": 512, "num_heads": 2, "num_layers": 4, "cross_attn_norm": True}
KINDS: dict[str, dict[str, Any]] = {
    "t2v": {},
    "i2v": {"model_type": "i2v", "in_dim": 36},
    "flf2v": {"model_type": "i2v", "in_dim": 36, "flf_pos_embed_token_number": 514},
    "vace": {"vace_layers": 2, "vace_in_dim": 96},
    # Wan 2.1 Fun-Control 1.1: control and start latents beside the noise, one reference frame before the grid.
    "fun_control": {"model_type": "i2v", "in_dim": 48, "in_dim_ref_conv": 16},
    # Wan 2.2 14B image to video: the concat latent without CLIP vision.
    "wan22_i2v": {"in_dim": 36},
    # Wan 2.2 5B: a latent of 48 channels, time embedded for each token.
    "wan22_5b": {"in_dim": 48, "out_dim": 48},
    # Reference frames before the grid, the pose's after it; hosts of 2026 have it.
    "scail": {"model_type": "scail", "in_dim": 20},
    # The same with a stream of masks, a colour for each person.
    "scail2": {"model_type": "scail2", "in_dim": 20},
    # A reference frame in the latent, and a face block after each fifth block.
    "animate": {"model_type": "animate", "in_dim": 36, "num_layers": 5},
    # A branch of its own for the pose, whose keys each frame attends to beside the video's.
    "animate2": {"model_type": "animate2", "in_dim": 36},
    # Wan 2.1 Fun Camera, and 2.2's, which has no CLIP vision.
    "camera": {"model_type": "camera", "in_dim": 32},
    "camera22": {"model_type": "camera_2.2", "in_dim": 36},
    # Wan 2.2 Fun Control: noise, control, mask and start in one latent, one reference frame before the grid.
    "wan22_fun_control": {"in_dim": 52, "in_dim_ref_conv": 16},
    # Of a width that InfiniteTalk's 40 heads fit.
    "i2v_wide": {"model_type": "i2v", "in_dim": 36, "dim": 640, "num_heads": 5},
    # Music.
    "wandancer": {"model_type": "wandancer", "in_dim": 36},
    # Sound: S2V, and HuMo of 1.7B and of 17B.
    "s2v": {"model_type": "s2v"},
    "humo": {"model_type": "humo"},
    "humo_17b": {"model_type": "humo", "in_dim": 36},
}
"""Keyword arguments of the host's network that make each kind of Wan what it is."""

NETWORKS = {
    "vace": "model.VaceWanModel",
    "scail": "model.SCAILWanModel",
    "scail2": "model.SCAIL2WanModel",
    "animate": "model_animate.AnimateWanModel",
    "animate2": "model_animate2.WanAnimate2Model",
    "camera": "model.CameraWanModel",
    "camera22": "model.CameraWanModel",
    "s2v": "model.WanModel_S2V",
    "wandancer": "model_wandancer.WanDancerModel",
    "humo": "model.HumoWanModel",
    "humo_17b": "model.HumoWanModel",
}
"""The host's classes of the kinds that have one of their own, each in its module of `comfy.ldm.wan`."""

METADATA = {"animate2": {"config": json.dumps({"transformer": {"model_type": "animate2"}})}}
"""Of the files of kinds that the host tells from others by it, not by their weights."""

FP8 = torch.float8_e4m3fn
RANK = 4
"""Of the LoRA."""


def use_comfyui() -> None:
    """Put the layout's ComfyUI on the path, for its CPU; once, before anything of it is imported."""
    comfyui = str(Layout.of().comfyui)
    if comfyui not in sys.path:
        sys.path.insert(0, comfyui)
    import comfy.cli_args

    comfy.cli_args.args.cpu = not torch.cuda.is_available()


def has_kind(kind: str) -> bool:
    """Whether this host has the class of a kind."""
    return _class_of(kind) is not None


def _class_of(kind: str) -> type[torch.nn.Module] | None:
    module, name = NETWORKS.get(kind, "model.WanModel").split(".")
    path = f"comfy.ldm.wan.{module}"
    return getattr(importlib.import_module(path), name, None) if importlib.util.find_spec(path) else None


def wan_weights(kind: str = "t2v", seed: int = 0, **sizes: int) -> Weights:
    """Random weights of a Wan of that kind, float32, at a scale at which attention tells tokens apart.

    Raises:
        ValueError: the kind is unknown, or this host does not have it.
    """
    return random_weights(wan_network(kind, **sizes).state_dict(), seed)


def wan_network(kind: str = "t2v", **sizes: int) -> torch.nn.Module:
    """The host's network of that kind, without weights (on the meta device).

    Raises:
        ValueError: the kind is unknown, or this host does not have it.
    """
    if kind not in KINDS or not has_kind(kind):
        known = [name for name in KINDS if has_kind(name)]
        raise ValueError(f"kind: expected one of {', '.join(known)}, got {kind!r}.")
    arguments = {"model_type": "t2v", "in_dim": 16, "out_dim": 16, **SMALL, **KINDS[kind], **sizes}
    return _class_of(kind)(**arguments, device="meta", dtype=torch.float32, operations=torch.nn)


def in_dtype(weights: Weights, dtype: torch.dtype) -> Weights:
    """The same weights in another dtype."""
    return {name: tensor.to(dtype) for name, tensor in weights.items()}


def scaled_fp8(weights: Weights) -> Weights:
    """The fp8 format of 2025: a scale beside each linear layer's weight, and a mark for the loader."""
    scaled: Weights = {"scaled_fp8": torch.zeros(2, dtype=FP8)}
    for name, tensor in weights.items():
        if is_linear_of_a_block(name, tensor):
            scaled[name], scaled[f"{name.removesuffix('weight')}scale_weight"] = _quantised(tensor)
        else:
            scaled[name] = tensor
    return scaled


def quantised_fp8(weights: Weights) -> tuple[Weights, dict[str, str]]:
    """The fp8 format that loaders make quantised tensors from: a scale beside each weight, layers named in metadata."""
    made, layers = dict(weights), {}
    for name, tensor in weights.items():
        if is_linear_of_a_block(name, tensor):
            layer = name.removesuffix(".weight")
            made[name], made[f"{layer}.weight_scale"] = _quantised(tensor)
            layers[layer] = {"format": "float8_e4m3fn"}
    return made, {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}


def lora(weights: Weights, seed: int = 1) -> Weights:
    """A LoRA of rank 4 on every block's self-attention."""
    generator = torch.Generator().manual_seed(seed)
    made: Weights = {}
    for name, tensor in weights.items():
        if ".self_attn." in name and name.startswith("blocks.") and tensor.ndim == 2:
            layer = f"diffusion_model.{name.removesuffix('.weight')}"
            rows, columns = tensor.shape
            made[f"{layer}.lora_A.weight"] = torch.randn(RANK, columns, generator=generator) / math.sqrt(columns)
            made[f"{layer}.lora_B.weight"] = 0.2 * torch.randn(rows, RANK, generator=generator)
    return made


def _quantised(tensor: Tensor) -> tuple[Tensor, Tensor]:
    scale = tensor.abs().amax() / torch.finfo(FP8).max
    return (tensor / scale).to(FP8), scale


def files() -> dict[str, Callable[[Path], None]]:
    """By a file's name with its folder: what writes it; none that this host or environment has no means for."""
    made = {
        f"made_{kind}": lambda kind=kind: (wan_weights(kind), METADATA.get(kind, {}))
        for kind in KINDS
        if has_kind(kind)
    }
    made["made_t2v_bf16"] = lambda: (in_dtype(wan_weights(), torch.bfloat16), {})
    made["made_t2v_fp16"] = lambda: (in_dtype(wan_weights(), torch.float16), {})
    made["made_t2v_fp8_scaled"] = lambda: (scaled_fp8(wan_weights()), {})
    made["made_t2v_fp8_quantised"] = lambda: quantised_fp8(wan_weights())
    made["made_t2v_low"] = lambda: (wan_weights(seed=2), {})
    for name in filter(has_format, FORMATS):
        made[f"made_t2v_{name}"] = lambda name=name: quantised(wan_weights(), name)
    families = [kind for kind in made_families.KINDS if made_families.has_kind(kind)]
    for kind in families:
        made[f"made_{kind}"] = lambda kind=kind: (made_families.weights(kind), made_families.KINDS[kind].metadata)
    writers = {f"diffusion_models/{name}.safetensors": partial(_save, make) for name, make in made.items()}
    writers["loras/made_lora.safetensors"] = partial(_save, lambda: (lora(wan_weights()), {}))
    for kind in families:
        lora_of = partial(_save, lambda kind=kind: (made_families.lora(kind), {}))
        writers[f"loras/made_lora_{kind}.safetensors"] = lora_of
    for kind in GGUF_TYPES if importlib.util.find_spec("gguf") else ():
        writers[f"diffusion_models/made_t2v_{kind}.gguf"] = lambda path, kind=kind: save_gguf(wan_weights(), kind, path)
    return writers


def _save(make: Callable[[], tuple[Weights, dict[str, str]]], path: Path) -> None:
    from safetensors.torch import save_file

    weights, metadata = make()
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, path, metadata)


def main(arguments: list[str]) -> None:
    """Write all files below FOLDER, or those whose names, without folder and ending, are given."""
    folder, *names = arguments
    use_comfyui()
    known = {Path(place).stem: (Path(folder) / place, write) for place, write in files().items()}
    for name in names or known:
        path, write = known[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)


if __name__ == "__main__":
    main(sys.argv[1:])
