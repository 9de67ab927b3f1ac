"""Weights of made models in quantised formats: the host's own of 2026, by its layouts, and GGUF."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Format:
    """One of the host's formats."""

    algorithm: str
    """The host's name of it, a key of its QUANT_ALGOS."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """For the layout that quantises a weight."""
    layer: Mapping[str, Any] = field(default_factory=dict)
    """What a file says of a layer beside the algorithm."""
    smoothed: bool = False
    """Whether inputs are scaled before the layer, and its columns by the inverse (AWQ)."""


_ROTATED = {"convrot": True, "convrot_groupsize": 256}
FORMATS = {
    "nvfp4": Format("nvfp4"),
    "nvfp4_awq": Format("nvfp4", smoothed=True),
    "mxfp8": Format("mxfp8"),
    "int8": Format("int8_tensorwise", {"per_channel": True}),
    "int8_convrot": Format("int8_tensorwise", {"per_channel": True, **_ROTATED}, _ROTATED),
    "convrot_w4a4": Format("convrot_w4a4"),
    "w4a8": Format("asym_w4a8_int8"),
}
"""By the name that a made file has for it."""
GGUF_TYPES = ("Q8_0", "Q4_0")


def has_format(name: str) -> bool:
    """Whether this host has a format."""
    import comfy.quant_ops

    return FORMATS[name].algorithm in comfy.quant_ops.QUANT_ALGOS


def quantised(weights: Weights, name: str) -> tuple[Weights, dict[str, str]]:
    """Weights whose linear layers in blocks are quantised by the host's layout, and the file's metadata."""
    from comfy.quant_ops import QUANT_ALGOS, QuantizedTensor

    chosen = FORMATS[name]
    made, layers = dict(weights), {}
    for key, weight in weights.items():
        if not is_linear_of_a_block(key, weight):
            continue
        layer = key.removesuffix(".weight")
        if chosen.smoothed:
            scale = 0.5 + torch.arange(weight.shape[1]) / weight.shape[1]
            weight = weight / scale
            made[f"{layer}.pre_quant_scale"] = scale
        layout = QUANT_ALGOS[chosen.algorithm]["comfy_tensor_layout"]
        parts = QuantizedTensor.from_float(weight, layout, **chosen.arguments).state_dict(key)
        made.update({part: _storable(tensor) for part, tensor in parts.items()})
        layers[layer] = {"format": chosen.algorithm, **chosen.layer}
    return made, {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}


def _storable(tensor: Tensor) -> Tensor:
    """A tensor as its bytes where safetensors has no name for its dtype; hosts read both."""
    return tensor.view(torch.uint8) if tensor.dtype == torch.float8_e8m0fnu else tensor


def is_linear_of_a_block(name: str, tensor: Tensor) -> bool:
    """Whether quantised files quantise a weight."""
    return "blocks." in name and name.endswith(".weight") and tensor.ndim == 2


def save_gguf(weights: Weights, kind: str, path: Path) -> None:
    """Write weights as a GGUF file: linear layers in blocks of one kind of `GGUF_TYPES`, all else in float32.

    Needs the package gguf.
    """
    import gguf

    kind_of_block = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(path, "wan")
    for name, tensor in weights.items():
        values = tensor.float().contiguous().numpy()
        if is_linear_of_a_block(name, tensor):
            writer.add_tensor(name, gguf.quants.quantize(values, kind_of_block), raw_dtype=kind_of_block)
            continue
        if values.ndim > 4:
            # GGUF ends at four dimensions; loaders take the shape from here.
            writer.add_array(f"comfy.gguf.orig_shape.{name}", list(values.shape))
            values = values.reshape(values.shape[0], -1)
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
