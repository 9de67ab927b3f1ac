"""A row of the compatibility matrix, and the graph that it is run as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.matrix.packs import Pack
from tests.matrix.parts import (
    FRAMES,
    LATENT_SIDE,
    LENGTH,
    SIDE,
    Builder,
    Link,
    Patch,
    Scene,
    prompt,
    text_to_video,
    vae_of,
)
from tools.host.client import Graph

STEPS = 4


@dataclass(frozen=True)
class Row:
    """One row: a graph with a sampler before us, one that is guided, and the first once more."""

    group: str
    name: str
    model: Callable[[Builder], Link] = lambda b: b.link(
        "UNETLoader", unet_name="made_t2v.safetensors", weight_dtype="default"
    )
    scene: Callable[[Builder], Scene] = text_to_video
    before: Patch = lambda _, model: model
    """Patches that stand before Invert Motion and Apply Motion."""
    after: Patch = lambda _, model: model
    """Patches that stand between Apply Motion and the sampler."""
    motion_from: Callable[[Builder], Link] | None = None
    """The model that the motion is read from, where it is another one."""
    clip: Callable[[Builder], Link] | None = None
    """The reference's frames, where it is a clip that is encoded."""
    cut: bool = False
    """Whether that clip has a cut."""
    channels: int = 16
    reference: Callable[[Builder], Link] | None = None
    """The reference's latent, where it is of another shape."""
    empty: Callable[[Builder], Link] = lambda b: prompt(b, "")
    """The empty prompt."""
    sampler: str = "KSampler"
    """The sampler's node; `sampling` is for it."""
    sampling: dict[str, Any] = field(default_factory=dict)
    guidance: dict[str, Any] = field(default_factory=dict)
    objective: str = ""
    """By which the motion is read, where it is another than FastVMT's."""
    saved: Patch = lambda _, latent: latent
    """What is saved of a sampler's latent."""
    needs: str = ""
    """A program that must be there."""
    pack: Pack | None = None
    """The pack of other people that has one of the nodes."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Nodes that the graph has under another id, for which the host puts the node."""
    refused: str | None = None
    """What the error must say, where a combination is refused with a reason."""

    @property
    def key(self) -> str:
        """Group and name."""
        return f"{self.group}: {self.name}"


SAMPLING = {"seed": 3, "steps": STEPS, "cfg": 4.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
GUIDANCE = {"inner_steps": 3, "lr_start": 0.05, "lr_end": 0.03, "gradient_interval": 1, "end_percent": 0.3}
INVERSION = {
    "seed": 5,
    "reference_sigma": 0.3,
    "block": 2,
    "window": 0,
    "temporal_span": 2,
    "tile_height": 2,
    "tile_width": 2,
    "sharpness": 1.0,
    "centre": "self",
}
SAVED = ("before", "guided", "after")


def graph_of(row: Row, only: str | None = None) -> Graph:
    """The row's graph; its SaveLatent nodes have the ids of `SAVED`.

    `only` leaves one of its samplers alone, without waiting for the others.
    """
    b = Builder()
    unguided = row.before(b, row.model(b))
    scene = row.scene(b)
    latents: dict[str, Link] = {}
    wanted = SAVED if only is None else (only,)
    for run in wanted:
        model = unguided
        if run == "guided":
            model = _guided(b, row, unguided)
        model = row.after(b, model)
        if latents:
            model = b.link("MatrixAfter", model=model, latent=list(latents.values())[-1])
        latents[run] = b.link(
            row.sampler,
            model=model,
            positive=scene.positive,
            negative=scene.negative,
            latent_image=scene.latent,
            **{**SAMPLING, **row.sampling},
        )
    for run, latent in latents.items():
        b.graph[run] = {
            "class_type": "SaveLatent",
            "_meta": {"title": run},
            "inputs": {"samples": row.saved(b, latent), "filename_prefix": run},
        }
    for step in b.graph.values():
        step["class_type"] = row.renamed.get(step["class_type"], step["class_type"])
    return b.graph


def _guided(b: Builder, row: Row, model: Link) -> Link:
    reading = row.motion_from(b) if row.motion_from else model
    if row.clip:
        motion = _motion(b, row, reading, _encoded(b, row.clip(b)), "detect" if row.cut else "ignore")
        motion = b.link("MatrixWithCut", motion=motion) if row.cut else motion
    else:
        sides = {"channels": row.channels, "frames": FRAMES, "height": LATENT_SIDE, "width": LATENT_SIDE}
        reference = row.reference(b) if row.reference else b.link("MatrixLatent", seed=1, **sides)
        motion = _motion(b, row, reading, reference, "ignore")
    weights = b.link(
        "FastVMTLossWeights", amf=5.0, consistency=0.0, distance_decay=0.2, self_pairs=1.0, schedule="constant"
    )
    settings = {"preset": "custom", "strength": 1.0, **GUIDANCE, **row.guidance}
    return b.link("FastVMTApplyMotion", model=model, motion=motion, weights=weights, **settings)


def _motion(b: Builder, row: Row, model: Link, reference: Link, cuts: str) -> Link:
    read = {"model": model, "reference": reference, "empty_prompt": row.empty(b)}
    if row.objective:
        read["objective"] = b.link("FastVMTObjective", objective=row.objective)
    return b.link("FastVMTInvertMotion", cuts=cuts, **read, **INVERSION)


def _encoded(b: Builder, frames: Link) -> Link:
    fitted = {"width": SIDE, "height": SIDE, "length": LENGTH, "fit": "crop", "source_fps": 16.0, "target_fps": 16.0}
    return b.link("FastVMTEncodeReference", vae=vae_of(b), frames=frames, tiled=False, **fitted)
