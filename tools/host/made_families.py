"""Small networks of the host's classes beside Wan's, with random weights, for tests."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from tools.host.quantised import Weights
from tools.host.random_weights import random_weights

HUNYUAN = {
    "hidden_size": 256,
    "num_heads": 2,
    "mlp_ratio": 4.0,
    "axes_dim": [16, 56, 56],
    "theta": 256,
    "qkv_bias": True,
    "meanflow": False,
    "meanflow_sum": False,
}
TRANSFORMER = {
    "in_channels": 128,
    "num_layers": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 64,
    "cross_attention_dim": 128,
    "caption_channels": 64,
    "causal_temporal_positioning": True,
}

LAYERS = ("attn1.to_q.weight", "img_attn.qkv.weight", "linear1.weight")


@dataclass(frozen=True)
class Kind:
    """One network."""

    module: str
    """Of the host."""
    name: str
    """Of the class."""
    arguments: dict[str, Any]
    latent_channels: int
    scale: tuple[int, int]
    """Latent pixels a side of a token, and pixels a side of a latent pixel."""
    text: tuple[int, int]
    """Tokens and channels of a prompt."""
    depth: int = 4
    metadata: dict[str, str] = field(default_factory=dict)
    """Of the model's file."""
    pooled: int = 0
    """Channels of the prompt's pooled output; 0: it has none."""
    masked: bool = False
    """Whether a prompt needs a mask of its tokens."""


KINDS = {
    "ltxv": Kind(
        "comfy.ldm.lightricks.model",
        "LTXVModel",
        TRANSFORMER,
        128,
        (1, 32),
        (4, 64),
        metadata={"config": json.dumps({"transformer": TRANSFORMER})},
        masked=True,
    ),
    "hunyuan": Kind(
        "comfy.ldm.hunyuan_video.model",
        "HunyuanVideo",
        {
            **HUNYUAN,
            "in_channels": 16,
            "out_channels": 16,
            "patch_size": [1, 2, 2],
            "vec_in_dim": 768,
            "context_in_dim": 64,
            "depth": 2,
            "depth_single_blocks": 2,
            "guidance_embed": True,
            "byt5": False,
            "use_cond_type_embedding": False,
            "vision_in_dim": None,
        },
        16,
        (2, 8),
        (5, 64),
        pooled=768,
    ),
    "hunyuan15": Kind(
        "comfy.ldm.hunyuan_video.model",
        "HunyuanVideo",
        {
            **HUNYUAN,
            "in_channels": 65,
            "out_channels": 32,
            "patch_size": [1, 1, 1],
            "vec_in_dim": None,
            "context_in_dim": 64,
            "depth": 4,
            "depth_single_blocks": 0,
            "guidance_embed": False,
            "byt5": False,
            "use_cond_type_embedding": True,
            "vision_in_dim": 1152,
        },
        32,
        (1, 16),
        (5, 64),
        pooled=768,
    ),
}


def network(kind: str) -> torch.nn.Module:
    """The host's network of that kind, without weights (on the meta device)."""
    return network_of(KINDS[kind])


def network_of(made: Kind) -> torch.nn.Module:
    """The host's network of these arguments, without weights (on the meta device)."""
    module = importlib.import_module(made.module)
    build: Callable[..., torch.nn.Module] = getattr(module, made.name)
    # Hosts differ in the names that Hunyuan's takes.
    known = getattr(module, f"{made.name}Params", None)
    arguments = {
        name: value for name, value in made.arguments.items() if known is None or name in known.__annotations__
    }
    return build(**arguments, device="meta", dtype=torch.float32, operations=torch.nn)


def weights(kind: str, seed: int = 0) -> Weights:
    """Random weights of it, float32."""
    return random_weights(network(kind).state_dict(), seed)


def prompt(kind: str, seed: int = 7) -> list:
    """A CONDITIONING for it, as a text encoder's node hands it over."""
    made, generator = KINDS[kind], torch.Generator().manual_seed(seed)
    tokens = torch.randn(1, *made.text, generator=generator)
    extra = {"attention_mask": torch.ones(1, made.text[0], dtype=torch.int64)} if made.masked else {}
    if made.pooled:
        extra["pooled_output"] = torch.randn(1, made.pooled, generator=generator)
    return [[tokens, extra]]


def latent(kind: str, grid: tuple[int, int, int], seed: int = 1) -> torch.Tensor:
    """Seeded noise of the size of a token grid (F, H, W)."""
    made, (frames, height, width) = KINDS[kind], grid
    side = made.scale[0]
    shape = (1, made.latent_channels, frames, height * side, width * side)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def lora(kind: str, seed: int = 1) -> Weights:
    """A LoRA of rank 4 on what makes q, k and v (LTX-Video: q) in every block."""
    generator, made = torch.Generator().manual_seed(seed), {}
    for name, tensor in network(kind).state_dict().items():
        if name.endswith(LAYERS) and "refiner" not in name:
            rows, columns = tensor.shape
            layer = f"diffusion_model.{name.removesuffix('.weight')}"
            made[f"{layer}.lora_A.weight"] = torch.randn(4, columns, generator=generator) / math.sqrt(columns)
            made[f"{layer}.lora_B.weight"] = 0.2 * torch.randn(rows, 4, generator=generator)
    return made
