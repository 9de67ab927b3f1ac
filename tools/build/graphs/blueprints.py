"""The blueprints: chains of nodes that the page offers as one node."""

from __future__ import annotations

from tools.build.graphs.parts import BLUE, BROWN, GREY, PANEL, REPORT, VIOLET, empty_latent, invert
from tools.build.spec import OUTSIDE, Blueprint, From, Group, Node, Workflow

SAMPLING = ("seed", "steps", "cfg")


def blueprints() -> list[Blueprint]:
    """Every blueprint."""
    return [transfer(), library(), compare()]


def _outside(*names: str) -> dict[str, From]:
    """Inputs of a node that are the blueprint's own, under the same names."""
    return {name: From(OUTSIDE, name) for name in names}


def _encode() -> Node:
    inputs = _outside("vae", "video")
    return Node("FastVMTEncodeReference", "Encode reference", inputs, extra=REPORT)


def transfer() -> Blueprint:
    """A clip and a prompt in, a video out that moves like the clip."""
    sample = {
        **_outside("model", "positive", "negative"),
        "motion": From("Invert motion", "motion"),
        "latent_image": From("Empty latent", "LATENT"),
    }
    decode = {
        "samples": From("Sample", "latent"),
        "vae": From(OUTSIDE, "vae"),
        "motion": From("Invert motion", "motion"),
    }
    create = {"images": From("Decode", "frames"), "fps": From("Encode reference", "fps")}
    columns = (
        (Group("1  Reference", (_encode(), empty_latent()), BLUE),),
        (Group("2  Motion", (invert(From(OUTSIDE, "model"), conditions=From(OUTSIDE, "empty_prompt")),), VIOLET),),
        (Group("3  Sample", (Node("FastVMTSampler", "Sample", sample, extra=PANEL),), BROWN, 360),),
        (
            Group(
                "4  Video",
                (Node("FastVMTDecodeShots", "Decode", decode, extra=REPORT), Node("CreateVideo", "Create", create)),
                GREY,
            ),
        ),
    )
    size = tuple(("Encode reference", name) for name in ("width", "height", "length"))
    sampling = tuple(("Sample", name) for name in ("preset", "strength", *SAMPLING, "memory"))
    return Blueprint(
        Workflow("FastVMT Transfer Motion", "Generates a video that moves like a reference clip.", columns),
        (("video", From("Create", "VIDEO")), ("motion", From("Invert motion", "motion"))),
        (*size, *sampling),
    )


def library() -> Blueprint:
    """A clip in, its motion out and in a file."""
    keep = {"motion": From("Invert motion", "motion")}
    columns = (
        (Group("1  Reference", (_encode(),), BLUE),),
        (Group("2  Motion", (invert(From(OUTSIDE, "model"), conditions=From(OUTSIDE, "empty_prompt")),), VIOLET),),
        (Group("3  Keep", (Node("FastVMTSaveMotion", "Save motion", keep, extra=REPORT),), GREY),),
    )
    size = tuple(("Encode reference", name) for name in ("width", "height", "length"))
    return Blueprint(
        Workflow(
            "FastVMT Motion Library",
            "Reads the motion of a clip and keeps it in models/fastvmt_motion, for Load Motion.",
            columns,
        ),
        (("motion", From("Save motion", "motion")), ("file", From("Save motion", "file"))),
        (*size, ("Save motion", "name"), ("Save motion", "note"), ("Save motion", "keep_reference")),
    )


def compare() -> Blueprint:
    """A motion and a prompt in, the same seed with and without the motion out."""
    conditions = _outside("positive", "negative", "latent_image")
    shared = _outside("seed", "steps", "cfg")
    guided = {**_outside("model", "motion"), **conditions, **shared}
    unguided = {**_outside("model"), **conditions, **shared, "sampler_name": "euler", "scheduler": "simple"}

    def decoded(name: str, latent: From) -> Node:
        return Node("VAEDecode", f"Decode {name}", {"samples": latent, "vae": From(OUTSIDE, "vae")})

    columns = (
        (
            Group("1  With", (Node("FastVMTSampler", "Sample with", guided, extra=PANEL),), BROWN, 360),
            Group("1  Without", (Node("KSampler", "Sample without", unguided),), BROWN, 360),
        ),
        (
            Group(
                "2  Frames",
                (
                    decoded("with", From("Sample with", "latent")),
                    decoded("without", From("Sample without", "LATENT")),
                ),
                GREY,
            ),
        ),
    )
    return Blueprint(
        Workflow("FastVMT Compare Motion", "The same seed with and without a motion.", columns),
        (("with", From("Decode with", "IMAGE")), ("without", From("Decode without", "IMAGE"))),
        (("Sample with", "preset"), ("Sample with", "strength")),
    )
