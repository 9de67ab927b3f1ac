"""Whether edits of a motion do the same to the generated video.

python -m benchmarks.quality.motion_tools --json OUT

Runs the demo's graph with the motion nodes between Invert Motion and Apply Motion, in a ComfyUI in this process, on
clips whose path is known: the path of the generated clip is compared with the edited path. A bench that was stopped
resumes with the same command; ``python -m benchmarks.quality.motion_tools_page`` writes the page.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.runs.bench import FED, feed_of, frames_of
from benchmarks.runs.host_graph import Executor, Result
from benchmarks.runs.in_process import Host
from benchmarks.runs.references import Reference, make_reference
from benchmarks.runs.sources import code_digest, file_digest, model_files, use_models
from benchmarks.runs.store import Store
from benchmarks.runs.variants import Link, Variant, apply
from fastvmt_core.metrics.fidelity import path_correlation
from tools.demo.sheet import Row, draw_sheet
from tools.demo.transfer import GRAPH, node, node_id
from tools.host.client import Graph
from tools.train.clips import RADIUS, SIZE, Floats, make_clip, render
from tools.train.track import track

LEAST_CORRELATION, SLOPES = 0.8, (0.7, 1.3)
"""The bounds of a row: correlation with the edited path at least, and slope of travel between."""
LARGER, LONGER = 192, 25
"""Pixels a side, and frames, of the rows that load a motion at another size and length."""
DRAWN = 2
"""Clips of which sheets are drawn."""
GUIDANCE = {"inner_steps": 15, "end_percent": 0.2}
"""Widgets of Apply Motion in every row: many inner steps at the first steps, which decide the motion."""
BLEND, RIGHT = "left a, right b", "Right half"

Edited = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Case:
    """One row: the edit between Invert Motion and Apply Motion, and the path that should result.

    ``edit`` is the Edit Motion widget's choice, or None; ``path`` maps the reference's path to the edited one.
    ``refresh`` reads the motion again; ``size`` and ``frames`` are the video's; ``saved`` saves and loads the motion;
    ``guidance`` are widgets of Apply Motion that differ from GUIDANCE.
    """

    name: str
    path: Edited
    edit: str | None = None
    amount: float = 1.0
    refresh: bool = True
    size: int = SIZE
    frames: int | None = None
    saved: bool = False
    guidance: tuple[tuple[str, float], ...] = ()


def about_middle(factor: float) -> Edited:
    """The path larger or smaller about its middle."""
    return lambda path: path.mean(0) + factor * (path - path.mean(0))


def mirrored(path: Floats) -> Floats:
    """The path with left and right exchanged."""
    return path * [-1, 1] + [SIZE - 1, 0]


def backwards(path: Floats) -> Floats:
    """The path from its end to its start."""
    return path[::-1].copy()


def enlarged(path: Floats) -> Floats:
    """The path on the larger frame."""
    return (path + 0.5) * LARGER / SIZE - 0.5


def longer(path: Floats) -> Floats:
    """The path in more frames."""
    times = np.linspace(0, len(path) - 1, LONGER)
    return np.stack([np.interp(times, np.arange(len(path)), axis) for axis in path.T], 1)


def unchanged(path: Floats) -> Floats:
    """The path as it is."""
    return path


EDITS = (
    Case("mirror", mirrored, "mirror left and right"),
    Case("reverse", backwards, "reverse"),
    Case("amplify 0.5", about_middle(0.5), "amplify", 0.5),
    Case("amplify 1.5", about_middle(1.5), "amplify", 1.5),
)
CASES = (
    Case("as it is", unchanged, refresh=False),
    *EDITS,
    *(replace(edit, name=f"{edit.name}, vectors alone", refresh=False) for edit in EDITS),
    # Two motions, or another length, are more than the tiny model is used to, and need stronger guidance.
    Case(BLEND, unchanged, guidance=(("strength", 2.0), ("end_percent", 0.4))),
    Case(f"saved, loaded at {LARGER} x {LARGER}", enlarged, size=LARGER, saved=True),
    Case(f"saved, loaded at {LONGER} frames", longer, frames=LONGER, saved=True, guidance=(("end_percent", 0.4),)),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 1 if a row misses its bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file for the numbers")
    parser.add_argument("--clips", type=int, default=16, help="clips (default: 16)")
    parser.add_argument("--cases", nargs="+", choices=[case.name for case in CASES], help="rows (default: all)")
    parser.add_argument("--sheets", type=Path, help=f"folder for contact sheets of the first {DRAWN} clips of each row")
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if options.cases is None or case.name in options.cases]
    store, digests = Store(options.json), {case.name: _digest(case) for case in CASES}
    runs = [run for run in store.read() if run["digest"] == digests.get(run["case"])]
    done = {(run["case"], run["clip"]) for run in runs}
    wanted = [(clip, case) for clip in suitable(options.clips) for case in cases if (case.name, clip) not in done]
    bench = Bench(options.sheets) if wanted else None
    for clip, case in tqdm(wanted):
        run = {"case": case.name, "clip": clip, "digest": digests[case.name], **bench.run(clip, case)}
        store.add(run)
        runs.append(run)
    runs.sort(key=lambda run: (list(digests).index(run["case"]), run["clip"]))
    report = {"least_correlation": LEAST_CORRELATION, "slopes": SLOPES, "rows": rows_of(runs), "runs": runs}
    store.finish({**report, "fidelity": fidelity_of(runs)})
    for name, row in report["rows"].items():
        print(f"{name}: {json.dumps(row)}")
    return 0 if all(row["reached"] for row in report["rows"].values() if row["asked"]) else 1


def suitable(clips: int) -> list[int]:
    """The first ``clips`` references whose path moves, and stays inside the frame when amplified by 1.5."""
    return list(islice((i for i in count() if _fits(make_reference(i, frames=17).targets[0].path)), clips))


def _fits(path: Floats) -> bool:
    large, low = about_middle(1.5)(path), RADIUS[0]
    return bool((large >= low).all() and (large <= SIZE - 1 - low).all() and np.ptp(path, axis=0).max() >= 20)


class Bench:
    """The demo's graph in this process, with motion nodes added to it."""

    def __init__(self, sheets: Path | None) -> None:
        torch.set_num_threads(1)
        self._sheets = sheets
        self._drawn = suitable(DRAWN) if sheets is not None else []
        self._host = Host()
        self._executor = Executor(self._host.classes, self._host.receiver.drain)
        self._base = _graph()
        use_models(self._base, model_files(self._base, {}), self._host)
        self._folder = tempfile.TemporaryDirectory()
        folder = self._host.pack("nodes.host.files.motion_folder")
        folder.folder_paths.folder_names_and_paths[folder.FOLDER] = ([self._folder.name], {folder.ENDING})

    def run(self, clip: int, case: Case) -> dict[str, Any]:
        """Correlation, slope and distance of the generated path to the edited one; of the first row fidelity too."""
        clips = halves(clip) if case.name == BLEND else [make_reference(clip)]
        reference = clips[0]
        graph = apply(self._base, variant_of(case, clip, self._base), self._host.input_names)
        node(graph, "Prompt")["inputs"]["prompt"] = reference.prompt
        feeds = {node_id(graph, FED): feed_of(reference.frames)}
        if len(clips) > 1:
            feeds[node_id(graph, f"{FED} b")] = feed_of(clips[1].frames)
            white = torch.zeros(1, SIZE, SIZE)
            white[..., SIZE // 2 :] = 1
            feeds[node_id(graph, RIGHT)] = Result("the right half", (white,))
        frames = frames_of(self._executor.run(graph, node_id(graph, "Decode guided"), feeds))
        wanted = [case.path(each.targets[0].path) for each in clips]
        colour = reference.targets[0].colour
        paths = [track(frames, colour)] if len(clips) == 1 else [track_half(frames, colour, side) for side in (0, 1)]
        compared = [compare(path, truth) for path, truth in zip(paths, wanted, strict=True)]
        figures = dict(zip(("correlation", "slope", "error_px"), np.mean(compared, axis=0).tolist(), strict=True))
        if clip in self._drawn:
            notes = ("correlation {correlation:.2f}", "slope {slope:.2f}", "{error_px:.1f} px off")
            row = Row("generated", tuple(note.format(**figures) for note in notes), frames, paths[0])
            self._draw(case, clip, reference, row, wanted[0])
        if case.name == "as it is":
            unguided = frames_of(self._executor.run(graph, node_id(graph, "Decode unguided"), feeds))
            figures |= self._fidelities(frames, unguided, reference)
        return {name: round(value, 4) for name, value in figures.items()}

    def _fidelities(self, guided: Floats, unguided: Floats, reference: Reference) -> dict[str, float]:
        """Motion Fidelity of the reference itself, mirrored in two directions, and of both generated clips."""
        judge = self._host.classes["FastVMTMotionFidelity"]
        true = torch.from_numpy(reference.frames)
        across, down = np.ptp(reference.targets[0].path, axis=0)
        clips = {
            "same": true,
            # A vertical movement stays the same when left and right change places: mirror along the longer axis.
            "mirrored": true.flip(2 if across >= down else 1),
            "mirrored_sideways": true.flip(2),
            "guided": torch.from_numpy(guided),
            "unguided": torch.from_numpy(unguided),
        }
        return {f"fidelity_{name}": judge.execute(clip, true, 8).args[0] for name, clip in clips.items()}

    def _draw(self, case: Case, clip: int, reference: Reference, generated: Row, wanted: Floats) -> None:
        wanted, path = ((each + 0.5) * SIZE / case.size - 0.5 for each in (wanted, generated.path))
        original = Row("reference", (reference.name,), reference.frames, reference.targets[0].path)
        same = wanted if len(wanted) == len(generated.frames) else None
        heading = f"{case.name}: “{reference.prompt}”, cyan: the edited path"
        sheet = draw_sheet([original, replace(generated, path=path)], same, heading)
        self._sheets.mkdir(parents=True, exist_ok=True)
        name = "".join(letter if letter.isalnum() or letter == "." else "_" for letter in case.name)
        sheet.reduce(2).save(self._sheets / f"{name}-{clip}.jpg", quality=85)


def variant_of(case: Case, clip: int, graph: Graph) -> Variant:
    """The case as a variant of the demo's graph: its nodes, and Apply Motion's inputs."""
    nodes: dict[str, Any] = {}
    last = "Invert motion"

    def add(title: str, class_type: str, **inputs: object) -> str:
        nodes[title] = {"class_type": class_type, "inputs": inputs}
        return title

    if case.name == BLEND:
        encode, invert = (node(graph, title) for title in ("Encode reference", "Invert motion"))
        fed = add(f"{FED} b", "GetVideoComponents")
        other = {**encode["inputs"], "frames": Link(fed, 0), "source_fps": Link(fed, 2)}
        other = add("Encode reference b", encode["class_type"], **other)
        other = add("Invert motion b", invert["class_type"], **{**invert["inputs"], "reference": Link(other, 0)})
        both = {"motion_a": Link(last, 0), "motion_b": Link(other, 0), "mask": Link(add(RIGHT, "SolidMask"), 0)}
        last = add("Blend", "FastVMTBlendMotion", **both, blend="mask", weight=1.0, feather=0.0)
    if case.edit is not None:
        edit = {"edit": case.edit, "amount": case.amount, "freeze_from": 0, "freeze_to": 0}
        last = add("Edit", "FastVMTEditMotion", motion=Link(last, 0), **edit)
    if case.saved:
        # A name for each clip: the executor knows a file by its name alone.
        kept = {"name": f"clip{clip}", "note": "", "keep_reference": True, "replace": True}
        add("Save", "FastVMTSaveMotion", motion=Link(last, 0), **kept)
        last = add("Load", "FastVMTLoadMotion", motion=Link("Save", 1))
    if case.refresh:
        links = {"motion": Link(last, 0), "model": Link("Shift", 0), "empty_prompt": Link("Empty prompt", 0)}
        size = {"width": case.size, "height": case.size, "length": case.frames or 0}
        last = add("Refresh", "FastVMTRefreshMotion", **links, **size)
    inputs = {f"Apply motion.{name}": value for name, value in {**GUIDANCE, **dict(case.guidance)}.items()}
    inputs["Apply motion.motion"] = Link(last, 0)
    if case.size != SIZE or case.frames:
        size = {"width": case.size, "height": case.size, "length": case.frames or 17}
        inputs |= {f"Empty latent.{name}": value for name, value in size.items()}
    return Variant(case.name, inputs, nodes)


def track_half(frames: Floats, colour: str, side: int) -> Floats:
    """The path of the sprite in the left (0) or the right (1) half, in pixels of the whole frame."""
    middle = frames.shape[2] // 2
    return track(frames[:, :, side * middle : (side + 1) * middle], colour) + [side * middle, 0]


def halves(clip: int) -> list[Reference]:
    """Two references with their sprites in the left and in the right half, and one prompt for both."""
    one, other = make_reference(clip), make_reference(clip + 500)
    # One appearance for both: the model draws the prompt's sprite wherever something is to move.
    target = one.targets[0]
    references = []
    for reference, middle in ((one, 0.27), (other, 0.73)):
        path = reference.targets[0].path
        spread = path - path.mean(0)
        # A half is narrow: the path is compressed sideways, and kept inside vertically.
        spread = spread * np.minimum(1.0, np.array([10.0, 40.0]) / np.maximum(np.abs(spread).max(0), 1e-6))
        moved = spread + np.array([middle * SIZE, SIZE / 2])
        sprite = replace(make_clip(1000 + clip, background="plain").sprites[0], path=moved, radius=RADIUS[0])
        frames = render([sprite], "plain", SIZE, np.zeros((len(moved), 2)))
        prompt = f"{target.colour} {target.shape} plain"
        targets = (replace(target, path=moved),)
        references.append(replace(one, frames=frames, prompt=prompt, targets=targets, name=f"half {clip}"))
    return references


def compare(path: Floats, wanted: Floats) -> tuple[float, float, float]:
    """Correlation, slope of travel, mean distance in pixels; a lost sprite has 0, 0 and half the frame."""
    if not np.isfinite(path).all() or len(path) != len(wanted):
        return 0.0, 0.0, SIZE / 2
    centred, truth = path - path.mean(0), wanted - wanted.mean(0)
    slope = float((centred * truth).sum() / (truth**2).sum())
    correlation = path_correlation(torch.from_numpy(path), torch.from_numpy(wanted.astype(path.dtype)))
    return correlation, slope, float(np.linalg.norm(path - wanted, axis=1).mean())


def rows_of(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each row its means, and whether they reach the bounds; rows of vectors alone are for comparison."""
    rows = {}
    for case in CASES:
        own = [run for run in runs if run["case"] == case.name]
        if not own:
            continue
        means = {
            name: round(float(np.mean([run[name] for run in own])), 3) for name in ("correlation", "slope", "error_px")
        }
        reached = means["correlation"] >= LEAST_CORRELATION
        reached &= case.saved or SLOPES[0] <= means["slope"] <= SLOPES[1]
        rows[case.name] = {
            "clips": len(own),
            **means,
            "clips_reaching": sum(run["correlation"] >= LEAST_CORRELATION for run in own),
            "asked": "vectors alone" not in case.name,
            "reached": bool(reached),
        }
    return rows


def fidelity_of(runs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Means of Motion Fidelity over the clips that have it."""
    judged = [run for run in runs if "fidelity_guided" in run]
    if not judged:
        return None
    names = ("same", "mirrored", "mirrored_sideways", "guided", "unguided")
    means = {name: round(float(np.mean([run[f"fidelity_{name}"] for run in judged])), 3) for name in names}
    above = sum(run["fidelity_guided"] > run["fidelity_unguided"] for run in judged)
    return {"clips": len(judged), **means, "guided_above_unguided": above}


def _digest(case: Case) -> str:
    """What a row's runs are made from: the change of another row leaves them as they are."""
    files = [GRAPH, Path(__file__), *model_files(_graph(), {}).values()]
    settings = {**vars(case), "path": case.path.__qualname__}
    parts = [code_digest(), *(file_digest(file) for file in files), json.dumps(settings, sort_keys=True)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _graph() -> Graph:
    return json.loads(GRAPH.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
