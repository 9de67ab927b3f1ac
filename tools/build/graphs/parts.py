"""Pieces that templates and blueprints share: model files, colours, sizes of boxes, and chains of nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.build.spec import From, Model, Node

DEMO_GRAPH = Path(__file__).resolve().parents[3] / "assets" / "api" / "tiny_motion_transfer.json"

GREEN, BLUE, VIOLET, BROWN, GREY = "#3f6b4f", "#3f789e", "#66548c", "#8c6b3f", "#555555"

WAN21 = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files"
WAN22 = "https://huggingface.co/Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files"


def model_file(repository: str, directory: str, name: str) -> Model:
    """A model file of a repository that keeps each kind in a folder of its own."""
    return Model(name, directory, f"{repository}/{directory}/{name}")


T2V = model_file(WAN21, "diffusion_models", "wan2.1_t2v_1.3B_fp16.safetensors")
I2V = model_file(WAN21, "diffusion_models", "wan2.1_i2v_480p_14B_fp8_scaled.safetensors")
HIGH = model_file(WAN22, "diffusion_models", "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors")
LOW = model_file(WAN22, "diffusion_models", "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors")
HIGH_LORA = model_file(WAN22, "loras", "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors")
LOW_LORA = model_file(WAN22, "loras", "wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise.safetensors")
UMT5 = model_file(WAN21, "text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors")
VAE = model_file(WAN21, "vae", "wan_2.1_vae.safetensors")
CLIP_VISION = model_file(WAN21, "clip_vision", "clip_vision_h.safetensors")

POSITIVE = "A red fox runs through fresh snow, birch forest behind it, soft winter light, film look"
NEGATIVE = "blurry, static, deformed, low quality, watermark, text"
SMALL_CARD = "**12 GB**: `length` 49 or less in *Encode reference*, and `memory` on `smallest`."
PLAYER = 330
"""Pixels of height for an image or a video player."""
PICTURES = 430
"""For pictures of a motion, which are taller, with a legend below; one at a time fills the node's width."""
PANEL = 390
"""Pixels of a node's height for the live panel and the line of progress below it."""
REPORT = 90
"""For a text that a node shows once it has run."""
TEXT_SHOWN = 150
"""For the text in Preview as Text."""
UPLOAD = 29
"""For the button that the page puts below the list of motions."""
DESCRIBED = 220
"""For the description of a motion's file."""
CURVE = 150
"""For the curve of Loss Weights."""


def demo_widgets(title: str) -> dict[str, Any]:
    """Widgets of a node of the demo's graph."""
    graph = json.loads(DEMO_GRAPH.read_text(encoding="utf-8"))
    inputs = next(node["inputs"] for node in graph.values() if node["_meta"]["title"] == title)
    return {name: value for name, value in inputs.items() if not isinstance(value, list)}


def invert(model: From, widgets: dict[str, Any] | None = None, conditions: From | None = None) -> Node:
    """Read the reference's motion; the node shows it as arrows."""
    sources = {
        "model": model,
        "reference": From("Encode reference", "reference"),
        "empty_prompt": conditions or From("Empty prompt", "CONDITIONING"),
    }
    return Node("FastVMTInvertMotion", "Invert motion", {**sources, **(widgets or {})}, extra=PICTURES)


def empty_latent() -> Node:
    """A latent of the reference's size and length."""
    size = {name: From("Encode reference", name) for name in ("width", "height", "length")}
    return Node("EmptyHunyuanLatentVideo", "Empty latent", {**size, "batch_size": 1})


def video(name: str, latent: From, vae: From, fps: float | From = 16.0) -> tuple[Node, ...]:
    """Decode, and save with a player on the node."""
    return (
        Node("VAEDecode", f"Decode {name}", {"samples": latent, "vae": vae}),
        *shown(name, From(f"Decode {name}", "IMAGE"), fps),
    )


def shown(name: str, images: From, fps: float | From = 16.0) -> tuple[Node, ...]:
    """Images as a video with a player."""
    return (
        Node("CreateVideo", f"Create {name}", {"images": images, "fps": fps}),
        save_video(name, From(f"Create {name}", "VIDEO")),
    )


def save_video(name: str, video: From) -> Node:
    """A video in the output folder, with a player on the node."""
    widgets = {"filename_prefix": f"fastvmt/{name.replace(' ', '_')}", "format": "mp4", "codec": "h264"}
    return Node("SaveVideo", f"Video {name}", {"video": video, **widgets}, extra=PLAYER)
