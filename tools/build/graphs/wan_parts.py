"""What the templates of Wan 2.1 and 2.2 share: loaders, reference, prompts and results."""

from __future__ import annotations

from typing import Any

from tools.build.graphs.parts import (
    BLUE,
    GREEN,
    GREY,
    NEGATIVE,
    PLAYER,
    POSITIVE,
    REPORT,
    UMT5,
    VAE,
    VIOLET,
    invert,
    video,
)
from tools.build.spec import From, Group, Model, Node, Value


def loader(name: str, model: Model) -> Node:
    return Node("UNETLoader", name, {"unet_name": model.name, "weight_dtype": "default"}, (model,))


def shifted(name: str, model: From, shift: float) -> Node:
    return Node("ModelSamplingSD3", name, {"model": model, "shift": shift})


def text_and_vae() -> tuple[Node, ...]:
    return (
        Node("CLIPLoader", "Text encoder", {"clip_name": UMT5.name, "type": "wan", "device": "default"}, (UMT5,)),
        Node("VAELoader", "VAE", {"vae_name": VAE.name}, (VAE,)),
    )


def reference(length: int = 81) -> Group:
    size: dict[str, Value | From] = {"width": 832, "height": 480, "length": length}
    clip = {
        "vae": From("VAE", "VAE"),
        "video": From("Reference video", "VIDEO"),
    }
    return Group(
        "2  Reference clip",
        (
            Node("LoadVideo", "Reference video", {"file": "reference.mp4"}, extra=PLAYER),
            Node("FastVMTEncodeReference", "Encode reference", {**clip, **size}, extra=REPORT),
        ),
        BLUE,
    )


def prompts() -> Group:
    def prompt(name: str, text: str) -> Node:
        clip = From("Text encoder", "CLIP")
        return Node("CLIPTextEncode", name, {"clip": clip, "text": text})

    return Group(
        "3  Prompt",
        (prompt("Prompt", POSITIVE), prompt("Negative prompt", NEGATIVE), prompt("Empty prompt", "")),
        GREEN,
    )


def motion(model: From) -> Group:
    return Group("4  Motion", (invert(model),), VIOLET)


def notes(extra: str) -> str:
    return (
        "## Before the first run\n"
        "1. Load the models that the boxes name (the page offers the downloads).\n"
        "2. Choose your own clip in *Reference video*.\n"
        "3. Write the prompt. It describes what is seen; the motion comes from the clip.\n\n"
        "*Empty prompt* stays empty: the motion is read without words.\n\n" + extra
    )


def result(latent: From, number: int = 6) -> Group:
    return Group(
        f"{number}  Result", video("guided", latent, From("VAE", "VAE"), From("Encode reference", "fps")), GREY
    )


def ksampler_inputs(**changes: object) -> dict[str, Any]:
    widgets = {"seed": 0, "steps": 30, "cfg": 6.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    prompts = {"positive": From("Prompt", "CONDITIONING"), "negative": From("Negative prompt", "CONDITIONING")}
    return {**widgets, **prompts, **changes}
