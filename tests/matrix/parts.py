"""The parts of the matrix's graphs: loaders, patches, and what a sampler gets beside the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tools.host.client import Graph

Link = list[Any]
"""[node id, output]."""
Patch = Callable[["Builder", Link], Link]

FRAMES, LENGTH = 3, 9
SIDE, LATENT_SIDE = 64, 8


class Builder:
    """A graph in API format, node by node."""

    def __init__(self) -> None:
        self.graph: Graph = {}

    def add(self, class_type: str, *, title: str = "", **inputs: object) -> str:
        """Add a node; returns its id."""
        identity = str(len(self.graph) + 1)
        self.graph[identity] = {
            "class_type": class_type,
            "inputs": inputs,
            "_meta": {"title": title or f"{class_type} {identity}"},
        }
        return identity

    def link(self, class_type: str, output: int = 0, **inputs: object) -> Link:
        """Add a node; returns one of its outputs."""
        return [self.add(class_type, **inputs), output]


@dataclass(frozen=True)
class Scene:
    """What a sampler gets beside the model."""

    positive: Link
    negative: Link
    latent: Link


def text_to_video(b: Builder, batch: int = 1) -> Scene:
    """A prompt and an empty latent."""
    latent = b.link("EmptyHunyuanLatentVideo", width=SIDE, height=SIDE, length=LENGTH, batch_size=batch)
    return Scene(prompt(b), prompt(b, ""), latent)


def prompt(b: Builder, text: str = "blue square plain") -> Link:
    """A CONDITIONING of the demo's prompt node, which stands for CLIP Text Encode."""
    return b.link("TinyWanPrompt", prompt=text)


def file(name: str, weight_dtype: str = "default") -> Callable[[Builder], Link]:
    """The host's own loader on a made model."""
    return lambda b: b.link("UNETLoader", unet_name=f"{name}.safetensors", weight_dtype=weight_dtype)


def gguf(name: str) -> Callable[[Builder], Link]:
    """ComfyUI-GGUF's loader on a made model."""
    return lambda b: b.link("UnetLoaderGGUF", unet_name=f"{name}.gguf")


def in_dtype(name: str, dtype: str) -> Callable[[Builder], Link]:
    """Weights kept in a dtype that the host would not choose on this device."""
    return lambda b: b.link("MatrixLoad", name=f"{name}.safetensors", dtype=dtype)


def node(class_type: str, **inputs: object) -> Patch:
    """A patching node."""
    return lambda b, model: b.link(class_type, model=model, **inputs)


def lora(b: Builder, model: Link) -> Link:
    """LoraLoaderModelOnly."""
    return b.link("LoraLoaderModelOnly", model=model, lora_name="made_lora.safetensors", strength_model=1.0)


def negative_attention(b: Builder, model: Link) -> Link:
    """KJNodes' normalised attention guidance."""
    negative = {"conditioning": prompt(b, ""), "nag_scale": 11.0, "nag_alpha": 0.25, "nag_tau": 2.5}
    return b.link("WanVideoNAG", model=model, **negative, input_type="default", inplace=False)


def enhanced(b: Builder, model: Link) -> Link:
    """KJNodes' Enhance-A-Video, which needs the latent's length."""
    return b.link("WanVideoEnhanceAVideoKJ", model=model, latent=text_to_video(b).latent, weight=2.0)


def placed(b: Builder, model: Link) -> Link:
    """A subject by a drawn mask."""
    drawing = '{"objects": [{"ellipse": [0.3, 0.5, 0.2, 0.2], "path": [[0.3, 0.5], [0.7, 0.5]]}]}'
    size = {"width": SIDE, "height": SIDE, "length": LENGTH, "fps": 16.0}
    mask = b.link("FastVMTDrawMotion", 2, drawing=drawing, mask_of=0, **size)
    return b.link(
        "FastVMTPlaceSubject", model=model, background=prompt(b, "plain"), mask=mask, strength=4.0, end_percent=0.8
    )


def chain(*patches: Patch) -> Patch:
    """One patch after another."""

    def run(b: Builder, model: Link) -> Link:
        for patch in patches:
            model = patch(b, model)
        return model

    return run


def vae_of(b: Builder) -> Link:
    """The demo's VAE."""
    return b.link("VAELoader", vae_name="tinywan_vae_fp16.safetensors")


def frames_of(b: Builder, count: int, seed: int = 4) -> Link:
    """A random clip."""
    return b.link("MatrixFrames", frames=count, height=SIDE, width=SIDE, seed=seed)


def two_shots(b: Builder) -> Link:
    """A clip with a cut in its middle."""
    return b.link("MatrixTwoShots", frames=LENGTH, height=SIDE, width=SIDE, seed=1)


def cropped(b: Builder) -> Link:
    """A clip that a node crops, which shows its result on the page and passes it on."""
    region = {"x": 0, "y": 0, "width": SIDE, "height": SIDE}
    return b.link("ImageCropV2", image=two_shots(b), crop_region=region)


def conditioned(b: Builder, class_type: str, latent: int, negative: int = 1, **inputs: object) -> Scene:
    """What a conditioning node of Wan's makes; `latent` and `negative` are its outputs of that name."""
    size = {"width": SIDE, "height": SIDE, "length": LENGTH, "batch_size": 1}
    made = b.add(class_type, positive=prompt(b), negative=prompt(b, ""), vae=vae_of(b), **{**size, **inputs})
    return Scene([made, 0], [made, negative], [made, latent])


def image_to_video(b: Builder) -> Scene:
    """A start image in the concat latent, and CLIP vision."""
    vision = b.link("MatrixClipVision", seed=1)
    return conditioned(b, "WanImageToVideo", 2, start_image=frames_of(b, 1), clip_vision_output=vision)


def image_to_video_without_vision(b: Builder) -> Scene:
    """A start image in the concat latent alone, as Wan 2.2 takes it."""
    return conditioned(b, "WanImageToVideo", 2, start_image=frames_of(b, 1))


def first_and_last_frame(b: Builder) -> Scene:
    """Two images and CLIP vision of both."""
    vision = {f"clip_vision_{end}_image": b.link("MatrixClipVision", seed=n) for n, end in enumerate(("start", "end"))}
    images = {"start_image": frames_of(b, 1), "end_image": frames_of(b, 1, seed=6)}
    return conditioned(b, "WanFirstLastFrameToVideo", 2, **vision, **images)


def vace(b: Builder) -> Scene:
    """A control video."""
    return conditioned(b, "WanVaceToVideo", 2, strength=1.0, control_video=frames_of(b, LENGTH))


def vace_with_reference(b: Builder) -> Scene:
    """A control video and a reference image, which is a frame of the latent of its own."""
    images = {"control_video": frames_of(b, LENGTH), "reference_image": frames_of(b, 1, seed=6)}
    return conditioned(b, "WanVaceToVideo", 2, strength=1.0, **images)


def fun_control(b: Builder) -> Scene:
    """A control video, and a reference image whose tokens stand before the grid."""
    images = {"control_video": frames_of(b, LENGTH), "ref_image": frames_of(b, 1, seed=6)}
    return conditioned(b, "Wan22FunControlToVideo", 2, **images)


def phantom(b: Builder) -> Scene:
    """Images of subjects, whose tokens stand after the grid."""
    return conditioned(b, "WanPhantomSubjectToVideo", 3, images=frames_of(b, 2))


def five_billion(b: Builder) -> Scene:
    """A latent of 48 channels."""
    latent = b.link("Wan22ImageToVideoLatent", vae=vae_of(b), width=128, height=128, length=LENGTH, batch_size=1)
    return Scene(prompt(b), prompt(b, ""), latent)


def five_billion_with_start(b: Builder) -> Scene:
    """Its first frame kept: the other frames' tokens get another time than its own."""
    scene = five_billion(b)
    sides = {"channels": 48, "frames": FRAMES, "height": LATENT_SIDE, "width": LATENT_SIDE}
    latent = b.link("MatrixFirstFrameKept", latent=b.link("MatrixLatent", seed=8, **sides))
    return Scene(scene.positive, scene.negative, latent)


def batch_of_two(b: Builder) -> Scene:
    """Two clips at once."""
    return text_to_video(b, batch=2)


def inpainted(b: Builder) -> Scene:
    """Half of a latent is kept."""
    scene = text_to_video(b)
    kept = b.link("MatrixLatent", seed=9, channels=16, frames=FRAMES, height=LATENT_SIDE, width=LATENT_SIDE)
    latent = b.link("SetLatentNoiseMask", samples=kept, mask=b.link("MatrixMask", height=SIDE, width=SIDE))
    return Scene(scene.positive, scene.negative, latent)


def from_a_latent(b: Builder) -> Scene:
    """A start from a latent that is there."""
    scene = text_to_video(b)
    start = b.link("MatrixLatent", seed=1, channels=16, frames=FRAMES, height=LATENT_SIDE, width=LATENT_SIDE)
    return Scene(scene.positive, scene.negative, start)
