"""What the tiny model's templates share: its loader, reference, prompts and samplers, at the demo's settings."""

from __future__ import annotations

from tools.build.graphs.parts import BLUE, CURVE, GREEN, PANEL, REPORT, VIOLET, demo_widgets, invert, video
from tools.build.spec import From, Group, Node

FRAMES = From("Reference frames", "images")
"""Output of `frames`."""


def start() -> tuple[Group, ...]:
    """The first column: model and reference."""
    return (Group("1  Model and reference", (*tiny_model(), *reference()), BLUE),)


def tiny_model() -> tuple[Node, ...]:
    """The loader, and its shift."""
    return (
        Node("TinyWanLoader", "Tiny Wan"),
        Node("ModelSamplingSD3", "Shift", {"model": From("Tiny Wan", "MODEL"), **demo_widgets("Shift")}),
    )


def reference() -> tuple[Node, ...]:
    """The clip, encoded."""
    clip = {"vae": From("Tiny Wan", "VAE"), "video": From("Tiny Wan", "reference")}
    return (
        Node("FastVMTEncodeReference", "Encode reference", {**clip, **demo_widgets("Encode reference")}, extra=REPORT),
    )


def frames() -> Node:
    """The reference as images, for nodes that draw on them or compare with them."""
    return Node("GetVideoComponents", "Reference frames", {"video": From("Tiny Wan", "reference")})


def prompts_and_motion(prompt: str = "blue square plain") -> tuple[Group, ...]:
    """The second column: prompts, the motion and its weights."""
    return (
        Group("2  Prompt", (tiny_prompt("Prompt", prompt), tiny_prompt("Empty prompt", "")), GREEN),
        Group("3  Motion", (invert(From("Shift", "MODEL"), demo_widgets("Invert motion")), weights()), VIOLET),
    )


def tiny_prompt(name: str, text: str) -> Node:
    """A prompt of the tiny model."""
    return Node("TinyWanPrompt", name, {"prompt": text})


def weights() -> Node:
    """The weights of the demo, with the curve."""
    return Node("FastVMTLossWeights", "Loss weights", demo_widgets("Loss weights"), extra=CURVE)


def sampler(name: str, motion: From, prompt: str = "Prompt", seed: int = 0) -> Node:
    """The sampler of the demo, along a motion."""
    sample = {
        "model": From("Shift", "MODEL"),
        "motion": motion,
        "positive": From(prompt, "CONDITIONING"),
        "negative": From("Empty prompt", "CONDITIONING"),
        "latent_image": From("Empty latent", "LATENT"),
        "weights": From("Loss weights", "weights"),
        **demo_widgets("Sample guided"),
        **demo_widgets("Apply motion"),
        "seed": seed,
    }
    return Node("FastVMTSampler", f"Sample {name}", sample, extra=PANEL)


def tiny_video(name: str) -> tuple[Node, ...]:
    """What a node of ``sampler`` made."""
    return video(name, From(f"Sample {name}", "latent"), From("Tiny Wan", "VAE"))


def ksampler(name: str, model: From) -> Node:
    """The host's sampler at the demo's settings."""
    prompts = {"positive": From("Prompt", "CONDITIONING"), "negative": From("Empty prompt", "CONDITIONING")}
    latent = {"latent_image": From("Empty latent", "LATENT")}
    return Node("KSampler", f"Sample {name}", {"model": model, **prompts, **latent, **demo_widgets(f"Sample {name}")})
