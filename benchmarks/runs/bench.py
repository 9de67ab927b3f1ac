"""The bench in one process: a run is one variant on one reference and seed, guided and not, and its figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.runs.cache import Cache
from benchmarks.runs.host_graph import Executor, Result
from benchmarks.runs.in_process import Host
from benchmarks.runs.measures import load_judge, measure, reference_tracks
from benchmarks.runs.references import Reference, make_reference
from benchmarks.runs.research import ROWS, TOUCHED, patched
from benchmarks.runs.sources import code_digest, file_digest, use_models
from benchmarks.runs.tuning import BenchTune
from benchmarks.runs.variants import Variant, apply, with_seed
from fastvmt_core.config import ClipConfig
from fastvmt_core.video.clip import fit_clip
from tools.demo.transfer import GRAPH, node, node_id
from tools.host.client import Graph
from tools.train.clips import FPS, Floats

FED = "Reference frames"
"""The node in whose place the reference's frames are given."""
FITTED = ("width", "height", "length", "fit", "target_fps")
"""Inputs of Encode reference that change how a clip is fitted."""
KEPT = 16
"""References, and unguided clips, kept in memory: as many as the variants of one reference need, and more."""


@dataclass(frozen=True)
class RunKey:
    """Which run: the variant's name, the reference's index, the sampler's seed."""

    variant: str
    reference: int
    seed: int


@dataclass(frozen=True)
class Plan:
    """The variants, the model files by their names in LOADERS, and the base's options of ``make_reference``."""

    variants: tuple[Variant, ...]
    files: Mapping[str, Path]
    reference: Mapping[str, Any]

    def digest(self, variant: Variant) -> str:
        """16 hex digits of what a run of this variant is made from: code, graph, files and settings."""
        digests = [file_digest(file) for file in (GRAPH, *self.files.values())]
        parts = [code_digest(), *digests, variant.change(), dict(self.reference)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class FittedReference:
    """A reference as its nodes will fit it, its dense tracks, and its frames in place of the loader's output."""

    reference: Reference
    tracks: torch.Tensor | None
    feed: Result


class Bench:
    """Runs variants in this process; models, references, motions and unguided clips are shared between them.

    Raises:
        ValueError: a variant does not fit the graph.
    """

    def __init__(self, plan: Plan) -> None:
        torch.set_num_threads(1)
        one_thread_for_opencv()
        self._plan = plan
        self._host = Host()
        self._host.classes[BenchTune.__name__] = BenchTune
        self._executor = Executor(self._host.classes, self._host.receiver.drain)
        self._judge = load_judge()
        base = json.loads(GRAPH.read_text(encoding="utf-8"))
        self._variants = {variant.name: variant for variant in plan.variants}
        self._graphs = {variant.name: self._graph(base, variant) for variant in plan.variants}
        self._references: Cache[FittedReference] = Cache(KEPT)
        self._unguided: Cache[dict[str, Any]] = Cache(KEPT)

    def run(self, key: RunKey) -> dict[str, Any]:
        """Figures of one run, guided and not, as JSON takes them.

        Raises:
            ValueError: the nodes refuse the variant.
        """
        variant = self._variants[key.variant]
        fitted = self._fitted(variant, key.reference)
        reference = fitted.reference
        graph = with_seed(
            self._graphs[key.variant], key.seed, reference.prompt, reference.caption, reference.targets[0].path
        )
        feeds = {node_id(graph, FED): fitted.feed}
        unguided = self._unguided_figures(graph, feeds, fitted)
        salts = dict.fromkeys(TOUCHED, variant.patch or "")
        with patched(ROWS.get(variant.patch), self._host.pack):
            decoded = self._executor.run(graph, node_id(graph, "Decode guided"), feeds, salts)
            sampled = self._executor.run(graph, node_id(graph, "Sample guided"), feeds, salts)
        tuning = self._tuning(graph, feeds)
        guided = measure(frames_of(decoded), fitted.reference, fitted.tracks, self._judge)
        return {
            "variant": key.variant,
            "reference": key.reference,
            "seed": key.seed,
            "prompt": fitted.reference.prompt,
            "guided": _rounded({**guided, **_seconds(sampled), **_guidance(sampled), **tuning}),
            "unguided": _rounded(unguided),
        }

    def _tuning(self, graph: Graph, feeds: dict[str, Result]) -> dict[str, Any]:
        """Iterations and seconds of a rival that was trained on the reference; nothing for all others."""
        trained = next((name for name in graph if graph[name]["class_type"] == BenchTune.__name__), None)
        if trained is None:
            return {}
        seconds = self._executor.run(graph, trained, feeds).cpu_seconds
        return {"tuning_iterations": graph[trained]["inputs"]["steps"], "tuning_cpu_seconds": seconds}

    def _graph(self, base: Graph, variant: Variant) -> Graph:
        settings = self._reference_settings(variant)
        if variant.patch not in (None, *ROWS):
            raise ValueError(f"patch: expected one of {', '.join(ROWS)}, got {variant.patch!r}.")
        graph = apply(base, variant, self._host.input_names)
        size = {"width": settings["size"], "height": settings["size"], "length": settings["frames"]}
        node(graph, "Encode reference")["inputs"].update(size)
        use_models(graph, self._plan.files, self._host)
        return graph

    def _reference_settings(self, variant: Variant) -> dict[str, Any]:
        return {**self._plan.reference, **variant.reference}

    def _fitted(self, variant: Variant, index: int) -> FittedReference:
        settings = self._reference_settings(variant)
        inputs = node(self._graphs[variant.name], "Encode reference")["inputs"]
        config = ClipConfig(**{key: inputs[key] for key in FITTED}, source_fps=float(FPS))
        key = json.dumps([index, settings, repr(config)], sort_keys=True)
        return self._references.get(key, lambda: fitted_reference(index, settings, config))

    def _unguided_figures(self, graph: Graph, feeds: dict[str, Result], fitted: FittedReference) -> dict[str, Any]:
        sampled = self._executor.run(graph, node_id(graph, "Sample unguided"), feeds)

        def figures() -> dict[str, Any]:
            decoded = self._executor.run(graph, node_id(graph, "Decode unguided"), feeds)
            return {**measure(frames_of(decoded), fitted.reference, fitted.tracks, self._judge), **_seconds(sampled)}

        return self._unguided.get((sampled.signature, fitted.reference.name), figures)


def feed_of(frames: Floats) -> Result:
    """The loader's outputs for a clip's frames (T, H, W, 3) in [0, 1]: frames, sound, frames a second."""
    return Result(hashlib.sha256(frames.tobytes()).hexdigest(), (torch.from_numpy(frames), None, float(FPS)))


def fitted_reference(index: int, settings: dict[str, Any], config: ClipConfig) -> FittedReference:
    """Reference ``index`` of these ``make_reference`` options as Encode Reference fits it."""
    clip = make_reference(index, **settings)
    frames = torch.from_numpy(clip.frames)
    # Of a cut clip both parts are the same frames.
    shown = {**settings, "part": settings.get("part", 0) if settings.get("kind") == "shot" else 0}
    # The loader's outputs: frames, sound, frames a second.
    feed = Result(json.dumps(["reference", index, shown], sort_keys=True), (frames, None, float(FPS)))
    fitted = fit_clip(frames, config).frames.numpy()
    targets = tuple(
        replace(target, path=fitted_path(target.path, clip.frames.shape[1:3], fitted, config.fit))
        for target in clip.targets
    )
    return FittedReference(replace(clip, frames=fitted, targets=targets), reference_tracks(fitted), feed)


def fitted_path(path: Floats, size: Sequence[int], fitted: Floats, fit: str) -> Floats:
    """A path (T, 2) in pixels of a clip of ``size`` (H, W), in pixels of the fitted clip (T', H', W', 3)."""
    after = np.array(fitted.shape[2:0:-1], float)
    before = np.array(size[::-1], float)
    scale = after / before
    if fit != "stretch":
        scale = np.full(2, scale.max() if fit == "crop" else scale.min())
    # The centre of the first pixel is (0, 0), half a pixel from the corner that scaling keeps.
    return ((path + 0.5) * scale - 0.5 + (after - before * scale) / 2)[: len(fitted)]


def frames_of(decoded: Result) -> Floats:
    """(T, H, W, 3) in [0, 1] of a decode node's result."""
    return decoded.outputs[0].float().cpu().numpy().clip(0, 1)


def one_thread_for_opencv() -> None:
    """OpenCV keeps to one thread from now on, where it is installed."""
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(1)


def _guidance(sampled: Result) -> dict[str, Any]:
    """Gradients and losses of a guided run, from the events that its sampler sent."""
    steps = [data for kind, data in sampled.events if kind == "fastvmt.guided_step"]
    losses = [loss for step in steps for loss in step["losses"] if loss is not None]
    return {
        "gradient_evaluations": sum(step["gradient_evaluations"] for step in steps),
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
    }


def _seconds(sampled: Result) -> dict[str, float]:
    return {"seconds": sampled.seconds, "cpu_seconds": sampled.cpu_seconds}


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in figures.items()}
