"""Runs of the bench: one variant on one reference and seed, workers that share them out, and a file that keeps them."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import queue
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.runs.host_graph import Executor, Result
from benchmarks.runs.in_process import Host
from benchmarks.runs.measures import load_judge, measure, reference_tracks
from benchmarks.runs.quick_cpu import quick_cpu
from benchmarks.runs.references import Reference, make_reference
from benchmarks.runs.research import ROWS, TOUCHED, patched
from benchmarks.runs.variants import FILES, Variant, apply, with_seed
from fastvmt_core.config import ClipConfig
from fastvmt_core.video.clip import fit_clip
from tools.demo.sheet import Row, draw_sheet
from tools.demo.transfer import GRAPH, RUNS, node, node_id, title
from tools.host.client import Graph
from tools.host.layout import REPO
from tools.train.clips import FPS, Floats

FED = "Reference frames"
"""The node in whose place the reference's frames are given."""
FITTED = ("width", "height", "length", "fit", "source_fps", "target_fps")
SOURCES = (
    "fastvmt_core/**/*.py",
    "nodes/**/*.py",
    *(f"tools/train/{name}.py" for name in ("clips", "track", "classifier")),
    *(
        f"benchmarks/runs/{name}.py"
        for name in ("bench", "host_graph", "in_process", "measures", "quick_cpu", "references", "research")
    ),
)
"""Code that decides what a run gives: runs of other code are not reused."""

Key = tuple[str, int, int]
"""Variant's name, reference's index, seed."""


@dataclass(frozen=True)
class Plan:
    """Everything that the workers must know.

    ``model``, ``vae`` are the base's files; ``reference`` the base's arguments of ``make_reference``; ``sheets`` the
    folder for pictures of the first ``pictured`` references' first seed, if any.
    """

    variants: tuple[Variant, ...]
    seeds: int
    model: Path
    vae: Path
    reference: dict[str, Any]
    sheets: Path | None = None
    pictured: int = 3

    def digest(self, variant: Variant) -> str:
        """What a run of this variant is made from, as 16 hex digits: code, graph, files and settings."""
        files = [GRAPH, *self.files(variant).values()]
        parts = [code_digest(), *(file_digest(file) for file in files), variant.change(), self.reference]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def files(self, variant: Variant) -> dict[str, Path]:
        """The model files of a variant by their names in FILES."""
        return {kind: find_model(kind, getattr(variant, kind), getattr(self, kind)) for kind in FILES}


def find_model(kind: str, name: str | None, default: Path) -> Path:
    """The file that ``name`` is: a path, or a name beside the demo's models.

    Raises:
        ValueError: there is none.
    """
    if name is None:
        return default
    folder = REPO / "assets" / "models" / {"model": "diffusion_models"}.get(kind, kind)
    for file in (Path(name), folder / name):
        if file.is_file():
            return file.resolve()
    raise ValueError(f"{kind}: expected a file or the name of one of the demo's, got {name!r}.")


def file_digest(file: Path) -> str:
    """16 hex digits of a file's SHA-256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def code_digest() -> str:
    """16 hex digits of all code that decides what a run gives."""
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for file in sorted(REPO.glob(pattern)):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


class Bench:
    """Runs variants in this process; models, references, motions and unguided clips are shared between them."""

    def __init__(self, plan: Plan) -> None:
        torch.set_num_threads(1)
        _one_thread_for_opencv()
        self._plan = plan
        self._host = Host()
        self._executor = Executor(self._host.classes, self._host.receiver.drain)
        self._judge = load_judge()
        base = json.loads(GRAPH.read_text(encoding="utf-8"))
        self._graphs = {variant.name: self._graph(base, variant) for variant in plan.variants}
        self._variants = {variant.name: variant for variant in plan.variants}
        self._references: dict[str, tuple[Reference, torch.Tensor | None, Result]] = {}
        self._unguided: dict[str, tuple[dict[str, Any], Floats, list[Floats]]] = {}

    def run(self, key: Key) -> dict[str, Any]:
        """Figures of one run, guided and not.

        Raises:
            ValueError: the nodes refuse the variant.
        """
        name, index, seed = key
        variant = self._variants[name]
        reference, tracks, feed = self._reference(name, index)
        graph = with_seed(self._graphs[name], seed, reference.prompt)
        feeds = {node_id(graph, FED): feed}
        unguided, plain, plain_paths = self._unguided_clip(graph, feeds, reference, tracks)
        row = ROWS[variant.patch] if variant.patch else None
        salts = dict.fromkeys(TOUCHED, variant.patch or "")
        with patched(row, self._host.pack):
            decoded = self._executor.run(graph, node_id(graph, "Decode guided"), feeds, salts)
            stages = [self._executor.run(graph, stage, feeds, salts) for stage in _stages(graph)]
        frames = _pictures(decoded)
        figures, paths = measure(frames, reference, tracks, self._judge)
        guided = {**_timed(figures, stages), **_guidance(stages)}
        if self._plan.sheets is not None and seed == 0 and index < self._plan.pictured:
            clips = {"unguided": (plain, plain_paths, unguided), "guided": (frames, paths, guided)}
            _draw(self._plan.sheets, variant.name, reference, clips)
        return {
            "variant": name,
            "reference": index,
            "seed": seed,
            "prompt": reference.prompt,
            "guided": _rounded(guided),
            "unguided": _rounded(unguided),
        }

    def _graph(self, base: Graph, variant: Variant) -> Graph:
        row = ROWS.get(variant.patch) if variant.patch else None
        if variant.patch and row is None:
            raise ValueError(f"patch: expected one of {', '.join(ROWS)}, got {variant.patch!r}.")
        wanted = self._wanted(variant)
        encoded = {"width": wanted["size"], "height": wanted["size"], "length": wanted["frames"]}
        given = {f"Encode reference.{key}": value for key, value in encoded.items()}
        added, inputs = (dict(getattr(row, part)) if row else {} for part in ("nodes", "inputs"))
        # The row first, then what the variant says itself.
        graph = apply(base, Variant(variant.name, {**given, **inputs}, added), self._host.input_names)
        graph = apply(graph, variant, self._host.input_names)
        folders = {"model": "diffusion_models", "vae": "vae"}
        for kind, file in self._plan.files(variant).items():
            where, key = FILES[kind]
            node(graph, where)["inputs"][key] = self._host.offer(folders[kind], file)
        return graph

    def _wanted(self, variant: Variant) -> dict[str, Any]:
        return {**self._plan.reference, **variant.reference}

    def _reference(self, name: str, index: int) -> tuple[Reference, torch.Tensor | None, Result]:
        """A reference as its nodes will fit it, its tracks, and its frames in place of the loader's."""
        wanted = self._wanted(self._variants[name])
        settings = node(self._graphs[name], "Encode reference")["inputs"]
        config = ClipConfig(**{**{key: settings[key] for key in FITTED}, "source_fps": float(FPS)})
        key = json.dumps([index, wanted, repr(config)], sort_keys=True)
        if key not in self._references:
            if len(self._references) > 16:
                self._references.clear()
            clip = make_reference(index, **wanted)
            frames = torch.from_numpy(clip.frames)
            # The loader's outputs: frames, sound, frames a second.
            shown = {**wanted, "part": wanted.get("part", 0) if wanted.get("kind") == "shot" else 0}
            feed = Result(json.dumps(["reference", index, shown], sort_keys=True), (frames, None, float(FPS)))
            fitted = fit_clip(frames, config).frames.numpy()
            targets = tuple(
                replace(target, path=fitted_path(target.path, clip.frames.shape[1:3], fitted, config.fit))
                for target in clip.targets
            )
            reference = replace(clip, frames=fitted, targets=targets)
            self._references[key] = reference, reference_tracks(fitted), feed
        return self._references[key]

    def _unguided_clip(
        self, graph: Graph, feeds: dict[str, Result], reference: Reference, tracks: torch.Tensor | None
    ) -> tuple[dict[str, Any], Floats, list[Floats]]:
        sampled = self._executor.run(graph, node_id(graph, "Sample unguided"), feeds)
        key = f"{sampled.signature} {reference.name}"
        if key not in self._unguided:
            if len(self._unguided) > 16:
                self._unguided.clear()
            frames = _pictures(self._executor.run(graph, node_id(graph, "Decode unguided"), feeds))
            figures, paths = measure(frames, reference, tracks, self._judge)
            self._unguided[key] = _timed(figures, [sampled]), frames, paths
        return self._unguided[key]


def fitted_path(path: Floats, size: tuple[int, int], fitted: Floats, fit: str) -> Floats:
    """Where a path (T, 2) in pixels of a clip of ``size`` (H, W) lies in the fitted clip (T', H', W', 3)."""
    after = np.array(fitted.shape[2:0:-1], float)
    before = np.array(size[::-1], float)
    scale = after / before
    if fit != "stretch":
        scale = np.full(2, scale.max() if fit == "crop" else scale.min())
    # The centre of the first pixel is (0, 0), half a pixel from the corner that scaling keeps.
    return ((path + 0.5) * scale - 0.5 + (after - before * scale) / 2)[: len(fitted)]


def _pictures(decoded: Result) -> Floats:
    return decoded.outputs[0].float().cpu().numpy().clip(0, 1)


def _stages(graph: Graph) -> list[str]:
    """The guided run's samplers: one, or one for each of two experts."""
    return [identity for identity in graph if title(graph, identity).startswith("Sample guided")]


def _guidance(stages: Sequence[Result]) -> dict[str, Any]:
    """Gradients and losses of a guided run, from the events that its nodes sent."""
    steps = [data for stage in stages for kind, data in stage.events if kind == "fastvmt.guided_step"]
    losses = [loss for step in steps for loss in step["losses"] if loss is not None]
    return {
        "gradient_evaluations": sum(step["gradient_evaluations"] for step in steps),
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
    }


def _timed(figures: dict[str, Any], stages: Sequence[Result]) -> dict[str, Any]:
    return {**figures, **{key: sum(getattr(stage, key) for stage in stages) for key in ("seconds", "cpu_seconds")}}


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in figures.items()}


def _draw(
    folder: Path, name: str, reference: Reference, clips: dict[str, tuple[Floats, list[Floats], dict[str, Any]]]
) -> None:
    """Write a picture of one run: the reference, unguided, guided."""
    truth = reference.targets[0].path
    rows = [Row("reference", (reference.name,), reference.frames, truth)]
    for run in RUNS:
        frames, paths, figures = clips[run]
        notes = (f"correlation {figures['correlation']:.2f}", f"{figures['error_px']:.1f} px off the path")
        rows.append(Row(run, notes, frames, paths[0]))
    folder.mkdir(parents=True, exist_ok=True)
    plain = "".join(letter if letter.isalnum() or letter in "=.,_-" else "_" for letter in name)
    file = folder / f"{plain}-{reference.name.replace(' ', '_')}.png"
    draw_sheet(rows, truth, f"{name}: motion of {reference.name}, look of “{reference.prompt}”").save(file)


def _one_thread_for_opencv() -> None:
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(1)


class Store:
    """Keeps runs as they come, in ``<file>.partial`` (one JSON a line), so that a bench that was stopped goes on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._partial = file.with_name(f"{file.name}.partial")

    def read(self) -> list[dict[str, Any]]:
        """All runs of this file and of a bench that was stopped; a line cut off by the stop is left out."""
        runs = json.loads(self._file.read_text(encoding="utf-8"))["runs"] if self._file.exists() else []
        for line in self._partial.read_text(encoding="utf-8").splitlines() if self._partial.exists() else []:
            try:
                runs.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return runs

    def add(self, run: dict[str, Any]) -> None:
        """Keep one run."""
        with self._partial.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")

    def finish(self, report: dict[str, Any]) -> None:
        """Write the whole report, and drop what it replaces."""
        written = self._file.with_name(f"{self._file.name}.new")
        written.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        os.replace(written, self._file)
        self._partial.unlink(missing_ok=True)


class WorkerError(RuntimeError):
    """A worker could not start or died; the message says why."""


def run_all(plan: Plan, keys: Sequence[Key], workers: int) -> Iterator[dict[str, Any]]:
    """Run everything, a whole reference a worker at a time; yields each run as it is done.

    A run that fails comes as {"variant", "reference", "seed", "error"}.

    Raises:
        WorkerError: a variant does not fit the graph, or a process ended by itself.
    """
    batches: dict[int, list[Key]] = {}
    for key in sorted(keys, key=lambda key: key[1:]):
        batches.setdefault(key[1], []).append(key)
    # Set before a child imports torch: each one has a core of its own.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    context = multiprocessing.get_context("spawn")
    tasks, results = context.Queue(), context.Queue()
    for batch in batches.values():
        tasks.put(batch)
    count = min(workers, len(batches))
    started = [context.Process(target=_work, args=(plan, tasks, results), daemon=True) for _ in range(count)]
    for process in started:
        tasks.put(None)
        process.start()
    try:
        waiting = len(keys)
        while waiting:
            try:
                run = results.get(timeout=2)
            except queue.Empty as empty:
                if not any(process.is_alive() for process in started):
                    raise WorkerError(f"all workers ended with {waiting} runs to go") from empty
                continue
            if "fatal" in run:
                raise WorkerError(run["fatal"])
            waiting -= 1
            yield run
        for process in started:
            process.join(10)
    finally:
        for process in started:
            process.terminate()
            process.join()


def _work(plan: Plan, tasks: Any, results: Any) -> None:  # noqa: ANN401
    """Run batches until there is none left (a worker process)."""
    logging.getLogger().setLevel(logging.WARNING)
    with quick_cpu():
        _work_through(plan, tasks, results)


def _work_through(plan: Plan, tasks: Any, results: Any) -> None:  # noqa: ANN401
    try:
        bench = Bench(plan)
    except ValueError as error:
        results.put({"fatal": _plain(str(error))})
        return
    except Exception:
        results.put({"fatal": _plain(traceback.format_exc())})
        return
    asker = multiprocessing.parent_process()
    for batch in iter(tasks.get, None):
        for key in batch:
            if asker is not None and not asker.is_alive():
                return
            results.put(_attempt(bench.run, key))


def _attempt(run: Callable[[Key], dict[str, Any]], key: Key) -> dict[str, Any]:
    try:
        return run(key)
    except Exception as error:
        # One variant that the nodes refuse must not cost a night of others.
        said = _plain(f"{type(error).__name__}: {error}")
        return {"variant": key[0], "reference": key[1], "seed": key[2], "error": said}


def _plain(text: str) -> str:
    """The text without this machine's folders."""
    return text.replace(str(REPO), ".").replace(str(Path.home()), "~")
