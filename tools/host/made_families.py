"""Small networks of the host's classes beside Wan's, with random weights, for tests."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

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
LTX2 = {
    **TRANSFORMER,
    "audio_num_attention_heads": 2,
    "audio_attention_head_dim": 32,
    "audio_cross_attention_dim": 64,
    "apply_gated_attention": True,
    "use_middle_indices_grid": True,
    "rope_type": "split",
    # Of the text's part, which prompts have behind them.
    "connector_num_attention_heads": 1,
    "connector_attention_head_dim": 64,
    "connector_num_layers": 1,
}
LTX23 = {
    **LTX2,
    "caption_proj_before_connector": True,
    "caption_projection_first_linear": False,
    "cross_attention_adaln": True,
    "caption_channels": 128,
}

COSMOS = {
    "max_img_h": 240,
    "max_img_w": 240,
    "max_frames": 128,
    "in_channels": 17,
    "out_channels": 16,
    "patch_spatial": 2,
    "patch_temporal": 1,
    "model_channels": 256,
    "num_blocks": 4,
    "num_heads": 2,
    "crossattn_emb_channels": 64,
    "pos_emb_cls": "rope3d",
    "use_adaln_lora": True,
}
COSMOS_FOUND = ("num_blocks", "num_heads", "crossattn_emb_channels")

LAYERS = (
    "attn1.to_q.weight",
    "img_attn.qkv.weight",
    "linear1.weight",
    "self_attn.q_proj.weight",
    "attn.qkv_x.weight",
    "blocks.0.block.attn.to_q.0.weight",
    "self_attention.to_query.weight",
)
OF_OTHERS = ("refiner", "text_transformer", "connector", "audio")
"""In names of layers of the text and of sound that end so too."""


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
    stride: int = 4
    """Frames of video to one latent frame after the first."""
    found: tuple[str, ...] = ()
    """Names of arguments that the host takes from the released models' sizes, not from the weights."""
    sound: tuple[int, ...] = ()
    """Channels, length and bands of a sound's latent, where the model makes one beside the video."""
    sigma_data: float | None = None
    """Of a model that is no flow model: the host's, by which sigmas belong to noise levels."""

    @property
    def sizes_not_found(self) -> dict[str, Any]:
        """Arguments of the small network that the host would not find out by its weights."""
        return {name: self.arguments[name] for name in self.found}


def _ltx2(arguments: dict[str, Any], channels: int) -> Kind:
    """A network that makes sound beside the video, of prompts of so many channels."""
    made, metadata = "comfy.ldm.lightricks.av_model", {"config": json.dumps({"transformer": arguments})}
    sides, text, sound = (1, 32), (4, channels), (8, 5, 16)
    return Kind(made, "LTXAVModel", arguments, 128, sides, text, metadata=metadata, stride=8, sound=sound)


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
        stride=8,
    ),
    "ltx2": _ltx2(LTX2, 128),
    "ltx23": _ltx2(LTX23, 192),
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
    "predict2": Kind(
        "comfy.ldm.cosmos.predict2",
        "MiniTrainDIT",
        COSMOS,
        16,
        (2, 8),
        (5, 64),
        found=COSMOS_FOUND,
        sigma_data=1.0,
    ),
    "cosmos": Kind(
        "comfy.ldm.cosmos.model",
        "GeneralDIT",
        {
            **COSMOS,
            "in_channels": 16,
            "block_x_format": "THWBD",
            "affline_emb_norm": True,
            "pos_emb_interpolation": "crop",
            "extra_per_block_abs_pos_emb": True,
            "extra_per_block_abs_pos_emb_type": "learnable",
        },
        16,
        (2, 8),
        (5, 64),
        stride=8,
        found=COSMOS_FOUND,
        sigma_data=0.5,
    ),
    "mochi": Kind(
        "comfy.ldm.genmo.joint_model.asymm_models_joint",
        "AsymmDiTJoint",
        {
            "patch_size": 2,
            "in_channels": 12,
            "hidden_size_x": 256,
            "hidden_size_y": 128,
            "depth": 4,
            "num_heads": 2,
            # The host allows one width of the feed-forward layer alone.
            "mlp_ratio_x": 48.0,
            "learn_sigma": False,
            "qk_norm": True,
            "qkv_bias": False,
            "use_t5": True,
            "t5_feat_dim": 64,
            "timestep_scale": 1000.0,
        },
        12,
        (2, 8),
        (5, 64),
        masked=True,
        stride=6,
        found=("hidden_size_x", "hidden_size_y", "depth", "num_heads", "mlp_ratio_x", "t5_feat_dim"),
    ),
    "kandinsky5": Kind(
        "comfy.ldm.kandinsky5.model",
        "Kandinsky5",
        {
            "model_dim": 256,
            "ff_dim": 1024,
            "time_dim": 64,
            "num_text_blocks": 1,
            "num_visual_blocks": 4,
        },
        16,
        (2, 8),
        (5, 3584),
        pooled=768,
    ),
}


def has_kind(kind: str) -> bool:
    """Whether this host has the class of a kind."""
    module = KINDS[kind].module
    return all(importlib.util.find_spec(name) is not None for name in (module.rpartition(".")[0], module))


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


def loaded(kind: str, made: Weights | None = None, **how: Any) -> Any:  # noqa: ANN401  (the host's own)
    """A MODEL of it as the host's loader makes it, with these weights or random ones; `how` goes to the loader."""
    return loaded_of(KINDS[kind], weights(kind) if made is None else made, **how)


def loaded_of(kind: Kind, made: Weights, **how: Any) -> Any:  # noqa: ANN401  (the host's own)
    """A MODEL of these weights as the host's loader makes it; `how` goes to the loader."""
    import comfy.model_detection
    import comfy.sd

    detect = comfy.model_detection.detect_unet_config

    def detect_small(*args: object, **kwargs: object) -> dict[str, Any]:
        return {**detect(*args, **kwargs), **kind.sizes_not_found}

    with mock.patch.object(comfy.model_detection, "detect_unet_config", detect_small):
        return comfy.sd.load_diffusion_model_state_dict(made, metadata=kind.metadata, **how)


def sigmas(kind: str, levels: Sequence[float]) -> list[float]:
    """The host's sigmas of noise levels in [0, 1], at most 80."""
    data = KINDS[kind].sigma_data
    return [level if data is None else min(80.0, data * level / max(1 - level, 1e-9)) for level in levels]


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
    """A LoRA of rank 4 on what makes q, k and v (LTX, Cosmos, Kandinsky: q) in every block."""
    generator, made = torch.Generator().manual_seed(seed), {}
    for name, tensor in network(kind).state_dict().items():
        if name.endswith(LAYERS) and not any(word in name for word in OF_OTHERS):
            rows, columns = tensor.shape
            layer = f"diffusion_model.{name.removesuffix('.weight')}"
            made[f"{layer}.lora_A.weight"] = torch.randn(4, columns, generator=generator) / math.sqrt(columns)
            made[f"{layer}.lora_B.weight"] = 0.2 * torch.randn(rows, 4, generator=generator)
    return made
