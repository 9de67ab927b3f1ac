"""Do edits of a motion do to the generated video what they say? python -m benchmarks.quality.motion_tools --json OUT

Runs the demo's graph with the motion nodes between Invert Motion and Apply Motion, in a ComfyUI in this process, on
clips whose path is known: the path of what is generated is compared with the edited path. A bench that was stopped goes
on where it was. --page writes docs/motion-tools.md from the numbers.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.quality.motion_tools_page import write_page
from benchmarks.runs.bench import Store, code_digest, file_digest, find_model
from benchmarks.runs.host_graph import Executor, Result
from benchmarks.runs.in_process import Host
from benchmarks.runs.references import Reference, make_reference
from benchmarks.runs.variants import FILES
from fastvmt_core.metrics.fidelity import path_correlation
from tools.demo.sheet import Row, draw_sheet
from tools.demo.transfer import GRAPH, node, node_id
from tools.host.client import Graph
from tools.train.clips import FPS, RADIUS, SIZE, Floats, make_clip, render
from tools.train.track import track

FED = "Reference frames"
LEAST_CORRELATION, SLOPES = 0.8, (0.7, 1.3)
"""What is asked for: correlation with the edited path at least, and slope of travel between."""
LARGER, LONGER = 192, 25
"""Pixels a side, and frames, of the rows that load a motion at another size and length."""
SHEETS = 2
"""Clips of which sheets are drawn."""

Edited = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Case:
    """One row: the nodes between Invert Motion and Apply Motion, and the path that should come of them.

    ``edit`` is the Edit Motion widget's choice, or None; ``path`` maps the reference's path to the edited one.
    ``refresh`` reads the motion again; ``size`` and ``frames`` are the video's; ``saved`` takes the way over a file;
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
    """Larger or smaller about the middle of the way."""
    return lambda path: path.mean(0) + factor * (path - path.mean(0))


def mirrored(path: Floats) -> Floats:
    """Left and right exchanged."""
    return path * [-1, 1] + [SIZE - 1, 0]


def enlarged(path: Floats) -> Floats:
    """On the larger picture."""
    return (path + 0.5) * LARGER / SIZE - 0.5


def longer(path: Floats) -> Floats:
    """In more frames."""
    times = np.linspace(0, len(path) - 1, LONGER)
    return np.stack([np.interp(times, np.arange(len(path)), axis) for axis in path.T], 1)


def unchanged(path: Floats) -> Floats:
    """The path as it is."""
    return path


CASES = (
    Case("as it is", unchanged, refresh=False),
    Case("mirror", mirrored, "mirror left and right"),
    Case("reverse", lambda path: path[::-1].copy(), "reverse"),
    Case("amplify 0.5", about_middle(0.5), "amplify", 0.5),
    Case("amplify 1.5", about_middle(1.5), "amplify", 1.5),
    Case("mirror, vectors alone", mirrored, "mirror left and right", refresh=False),
    Case("reverse, vectors alone", lambda path: path[::-1].copy(), "reverse", refresh=False),
    Case("amplify 0.5, vectors alone", about_middle(0.5), "amplify", 0.5, refresh=False),
    Case("amplify 1.5, vectors alone", about_middle(1.5), "amplify", 1.5, refresh=False),
    # Two things, or another length, are more than the tiny model is used to, and have to be asked for harder.
    Case("left a, right b", unchanged, guidance=(("strength", 2.0), ("end_percent", 0.4))),
    Case(f"saved, loaded at {LARGER} x {LARGER}", enlarged, size=LARGER, saved=True),
    Case(f"saved, loaded at {LONGER} frames", longer, frames=LONGER, saved=True, guidance=(("end_percent", 0.4),)),
)
GUIDANCE = {"inner_steps": 15, "end_percent": 0.2}
"""Widgets of Apply Motion in every row: many nudges at the first steps, where a motion is decided."""
BLEND = "left a, right b"
RIGHT = "Right half"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; 1 where a row misses what is asked of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where to write the numbers")
    parser.add_argument("--clips", type=int, default=16, help="clips (default: 16)")
    parser.add_argument("--cases", nargs="+", choices=[case.name for case in CASES], help="rows (default: all)")
    parser.add_argument("--sheets", type=Path, help=f"folder for a picture of the first {SHEETS} clips of each row")
    parser.add_argument("--page", type=Path, help="write the page to this file")
    parser.add_argument("--fuzz", type=Path, help="JSON of tools/fuzz_motion.py, for the page")
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if options.cases is None or case.name in options.cases]
    store, digests = Store(options.json), {case.name: _digest(case) for case in CASES}
    runs = [run for run in store.read() if run["digest"] == digests.get(run["case"])]
    done = {(run["case"], run["clip"]) for run in runs}
    wanted = [(clip, case) for clip in suitable(options.clips) for case in cases if (case.name, clip) not in done]
    if wanted:
        bench, started = Bench(options.sheets), time.monotonic()
        for count, (clip, case) in enumerate(wanted, 1):
            run = {"case": case.name, "clip": clip, "digest": digests[case.name], **bench.run(clip, case)}
            store.add(run)
            runs.append(run)
            left = (time.monotonic() - started) / count * (len(wanted) - count) / 60
            figures = ", ".join(f"{name} {run[name]:.2f}" for name in ("correlation", "slope"))
            print(f"[{count}/{len(wanted)}] {case.name}, clip {clip}: {figures} ({left:.0f} min left)", file=sys.stderr)
    names = [case.name for case in CASES]
    runs.sort(key=lambda run: (names.index(run["case"]), run["clip"]))
    report = {"least_correlation": LEAST_CORRELATION, "slopes": SLOPES, "rows": _rows(runs), "runs": runs}
    report["fidelity"] = _fidelity(runs)
    store.finish(report)
    for name, row in report["rows"].items():
        print(f"{name}: {json.dumps(row)}")
    print(json.dumps(report["fidelity"]))
    if options.page:
        fuzz = json.loads(options.fuzz.read_text(encoding="utf-8")) if options.fuzz else None
        write_page(options.page, report, fuzz, options.sheets)
    return 0 if all(row["reached"] for row in report["rows"].values() if row["asked"]) else 1


def suitable(count: int) -> list[int]:
    """The first `count` references whose path can be amplified by 1.5 inside the picture, and moves some way."""
    found: Iterator[int] = (index for index in range(1000) if _fits(make_reference(index, frames=17).targets[0].path))
    return [next(found) for _ in range(count)]


def _fits(path: Floats) -> bool:
    large, low = about_middle(1.5)(path), RADIUS[0]
    return bool((large >= low).all() and (large <= SIZE - 1 - low).all() and np.ptp(path, axis=0).max() >= 20)


class Bench:
    """The demo's graph in this process, with motion nodes put into it."""

    def __init__(self, sheets: Path | None) -> None:
        torch.set_num_threads(1)
        self._sheets = sheets
        self._drawn = suitable(SHEETS) if sheets is not None else []
        self._host = Host()
        self._executor = Executor(self._host.classes, self._host.receiver.drain)
        self._base = json.loads(GRAPH.read_text(encoding="utf-8"))
        for kind, folder in (("model", "diffusion_models"), ("vae", "vae")):
            where, key = FILES[kind]
            file = find_model(kind, node(self._base, where)["inputs"][key], Path())
            node(self._base, where)["inputs"][key] = self._host.offer(folder, file)
        self._folder = tempfile.TemporaryDirectory()
        folder = self._host.pack("nodes.host.files.motion_folder")
        folder.folder_paths.folder_names_and_paths[folder.FOLDER] = ([self._folder.name], {folder.ENDING})

    def run(self, clip: int, case: Case) -> dict[str, Any]:
        """Correlation and slope of the generated path on the edited one, and fidelity beside it."""
        clips = halves(clip) if case.name == BLEND else [make_reference(clip)]
        reference = clips[0]
        graph = self._graph(case, clip, reference.prompt)
        feeds = {node_id(graph, FED): _feed(reference)}
        if len(clips) > 1:
            feeds[node_id(graph, f"{FED} b")] = _feed(clips[1])
            white = torch.zeros(1, SIZE, SIZE)
            white[..., SIZE // 2 :] = 1
            feeds[node_id(graph, RIGHT)] = Result("the right half", (white,))
        frames = self._decoded(graph, "guided", feeds)
        found = []
        for number, each in enumerate(clips):
            target = each.targets[0]
            wanted = case.path(target.path)
            path = track(frames, target.colour) if len(clips) == 1 else track_half(frames, target.colour, number)
            found.append((wanted, path, *_compared(path, wanted)))
        figures = {
            "correlation": float(np.mean([each[2] for each in found])),
            "slope": float(np.mean([each[3] for each in found])),
            "error_px": float(np.mean([each[4] for each in found])),
        }
        if case.name == "as it is":
            figures |= self._judged(graph, feeds, frames, reference)
        if clip in self._drawn:
            self._draw(case, clip, reference, frames, found)
        return {name: round(value, 4) for name, value in figures.items()}

    def _graph(self, case: Case, clip: int, prompt: str) -> Graph:
        graph = copy.deepcopy(self._base)
        node(graph, "Prompt")["inputs"]["prompt"] = prompt
        last = "Invert motion"
        if case.name == BLEND:
            _copy_of_reading(graph)
            # Fed, as the frames are.
            _add(graph, RIGHT, "SolidMask", {})
            both = {"motion_a": ["Invert motion", 0], "motion_b": ["Invert motion b", 0], "mask": [RIGHT, 0]}
            _add(graph, "Blend", "FastVMTBlendMotion", {**both, "blend": "mask", "weight": 1.0, "feather": 0.0})
            last = "Blend"
        if case.edit is not None:
            edit = {"edit": case.edit, "amount": case.amount, "freeze_from": 0, "freeze_to": 0}
            _add(graph, "Edit", "FastVMTEditMotion", {"motion": [last, 0], **edit})
            last = "Edit"
        if case.saved:
            # A name for each clip: the executor knows a file by its name alone.
            kept = {"name": f"clip{clip}", "note": "", "keep_reference": True, "replace": True}
            _add(graph, "Save", "FastVMTSaveMotion", {"motion": [last, 0], **kept})
            _add(graph, "Load", "FastVMTLoadMotion", {"motion": ["Save", 1]})
            last = "Load"
        if case.refresh:
            size = {"width": case.size, "height": case.size, "length": case.frames or 0}
            given = {"model": ["Shift", 0], "empty_prompt": ["Empty prompt", 0]}
            _add(graph, "Refresh", "FastVMTRefreshMotion", {"motion": [last, 0], **given, **size})
            last = "Refresh"
        node(graph, "Apply motion")["inputs"].update(GUIDANCE | dict(case.guidance), motion=[node_id(graph, last), 0])
        if case.size != SIZE or case.frames:
            node(graph, "Empty latent")["inputs"].update(width=case.size, height=case.size, length=case.frames or 17)
        return graph

    def _decoded(self, graph: Graph, run: str, feeds: dict[str, Result]) -> Floats:
        result = self._executor.run(graph, node_id(graph, f"Decode {run}"), feeds)
        return result.outputs[0].float().cpu().numpy().clip(0, 1)

    def _judged(self, graph: Graph, feeds: dict[str, Result], guided: Floats, reference: Reference) -> dict[str, float]:
        """What Motion Fidelity says of the reference itself, mirrored two ways, and of both generated clips."""
        judge = self._host.classes["FastVMTMotionFidelity"]
        true = torch.from_numpy(reference.frames)
        across, down = np.ptp(reference.targets[0].path, axis=0)
        made = {
            "same": true,
            # What moves up and down moves alike when left and right change places; so turn round what it does most.
            "mirrored": true.flip(2 if across >= down else 1),
            "mirrored_sideways": true.flip(2),
            "guided": torch.from_numpy(guided),
            "unguided": torch.from_numpy(self._decoded(graph, "unguided", feeds)),
        }
        return {f"fidelity_{name}": judge.execute(clip, true, 8).args[0] for name, clip in made.items()}

    def _draw(self, case: Case, clip: int, reference: Reference, frames: Floats, found: list[tuple]) -> None:
        wanted, path, correlation, slope, error = found[0]
        if frames.shape[1] != SIZE:
            frames = np.stack([_small(frame) for frame in frames])
            wanted, path = ((each + 0.5) * SIZE / case.size - 0.5 for each in (wanted, path))
        notes = (f"correlation {correlation:.2f}", f"slope {slope:.2f}", f"{error:.1f} px off")
        rows = [
            Row("reference", (reference.name,), reference.frames, reference.targets[0].path),
            Row("generated", notes, frames, path),
        ]
        same = wanted if len(wanted) == len(frames) else None
        self._sheets.mkdir(parents=True, exist_ok=True)
        picture = draw_sheet(rows, same, f"{case.name}: “{reference.prompt}”, cyan: the edited path")
        picture.convert("RGB").resize((picture.width // 2, picture.height // 2)).save(
            self._sheets / f"{sheet_name(case.name)}-{clip}.jpg", quality=85
        )


def _small(frame: Floats) -> Floats:
    """A frame at the size of the others."""
    picture = Image.fromarray((frame * 255).round().astype(np.uint8))
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32) / 255


def sheet_name(case: str) -> str:
    """A row's name as a file's."""
    return "".join(sign if sign.isalnum() or sign == "." else "_" for sign in case)


def track_half(frames: Floats, colour: str, side: int) -> Floats:
    """The path of the sprite in the left (0) or the right (1) half, in pixels of the whole."""
    middle = frames.shape[2] // 2
    return track(frames[:, :, side * middle : (side + 1) * middle], colour) + [side * middle, 0]


def halves(clip: int) -> list[Reference]:
    """Two clips, one with its sprite in the left half and one in the right, and one prompt for both."""
    one, other = make_reference(clip), make_reference(clip + 500)
    made = []
    for reference, middle in ((one, 0.27), (other, 0.73)):
        path = reference.targets[0].path
        spread = path - path.mean(0)
        # A half is narrow: the way is pressed together sideways, and kept inside up and down.
        spread = spread * np.minimum(1.0, np.array([10.0, 40.0]) / np.maximum(np.abs(spread).max(0), 1e-6))
        moved = spread + np.array([middle * SIZE, SIZE / 2])
        drawn = make_clip(1000 + clip, background="plain")
        sprite = replace(drawn.sprites[0], path=moved, radius=RADIUS[0])
        frames = render([sprite], "plain", SIZE, np.zeros((len(moved), 2)))
        made.append((frames, moved, reference.targets[0]))
    # One look for both: the model draws what the prompt says wherever something is to move.
    look = made[0][2]
    prompt = f"{look.colour} {look.shape} plain"
    return [
        replace(one, frames=frames, prompt=prompt, targets=(replace(look, path=path),), name=f"half {clip}")
        for frames, path, _ in made
    ]


def _copy_of_reading(graph: Graph) -> None:
    """A second reference, encoded and read as the first is."""
    for title in (FED, "Encode reference", "Invert motion"):
        twin = copy.deepcopy(node(graph, title))
        twin["_meta"]["title"] = f"{title} b"
        graph[f"b:{node_id(graph, title)}"] = twin
    of = {node_id(graph, title): node_id(graph, f"{title} b") for title in (FED, "Encode reference", "Invert motion")}
    for twin in of.values():
        inputs = graph[twin]["inputs"]
        inputs.update({key: [of[v[0]], v[1]] for key, v in inputs.items() if isinstance(v, list) and v[0] in of})


def _add(graph: Graph, title: str, class_type: str, inputs: dict[str, Any]) -> None:
    linked = {
        name: [node_id(graph, value[0]), value[1]] if isinstance(value, list) else value
        for name, value in inputs.items()
    }
    graph[f"added:{title}"] = {"class_type": class_type, "_meta": {"title": title}, "inputs": linked}


def _feed(reference: Reference) -> Result:
    made_from = hashlib.sha256(reference.frames.tobytes()).hexdigest()
    return Result(made_from, (torch.from_numpy(reference.frames), None, float(FPS)))


def _compared(path: Floats, wanted: Floats) -> tuple[float, float, float]:
    """Correlation, slope of travel, mean distance in pixels; a lost sprite has 0, 0 and half the picture."""
    if not np.isfinite(path).all() or len(path) != len(wanted):
        return 0.0, 0.0, SIZE / 2
    found, known = path - path.mean(0), wanted - wanted.mean(0)
    slope = float((found * known).sum() / (known**2).sum())
    correlation = path_correlation(torch.from_numpy(path), torch.from_numpy(wanted.astype(path.dtype)))
    return correlation, slope, float(np.linalg.norm(path - wanted, axis=1).mean())


def _rows(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each row its means, and whether they reach what is asked; rows of vectors alone are there to compare."""
    rows = {}
    for case in CASES:
        mine = [run for run in runs if run["case"] == case.name]
        if not mine:
            continue
        means = {
            name: round(float(np.mean([run[name] for run in mine])), 3) for name in ("correlation", "slope", "error_px")
        }
        slope_counts = not case.saved
        reached = means["correlation"] >= LEAST_CORRELATION
        reached &= not slope_counts or SLOPES[0] <= means["slope"] <= SLOPES[1]
        asked = "vectors alone" not in case.name
        each = sum(run["correlation"] >= LEAST_CORRELATION for run in mine)
        rows[case.name] = {
            "clips": len(mine),
            **means,
            "clips_reaching": each,
            "asked": asked,
            "reached": bool(reached),
        }
    return rows


def _fidelity(runs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    judged = [run for run in runs if "fidelity_guided" in run]
    if not judged:
        return None
    names = ("same", "mirrored", "mirrored_sideways", "guided", "unguided")
    means = {name: round(float(np.mean([run[f"fidelity_{name}"] for run in judged])), 3) for name in names}
    above = sum(run["fidelity_guided"] > run["fidelity_unguided"] for run in judged)
    return {"clips": len(judged), **means, "guided_above_unguided": above}


def _digest(case: Case) -> str:
    """What a row's runs are made from: another row that changes leaves them as they are."""
    files = [
        GRAPH,
        *(find_model(kind, node(_graph(), w)["inputs"][k], Path()) for kind, (w, k) in FILES.items()),
    ]
    settings = {**vars(case), "path": case.path.__qualname__, "guidance": GUIDANCE | dict(case.guidance)}
    parts = [code_digest(), *(file_digest(file) for file in files), json.dumps(settings, sort_keys=True)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _graph() -> Graph:
    return json.loads(GRAPH.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
