"""Whether a drawn motion is followed as well as a real clip's of the same path.

python -m benchmarks.quality.drawn_motion [--json OUT] [--paths 32] [--texture-paths 8] [--seeds 2]

Lines, arcs, loops, and paths that stop and start again: each as a clip of the kind that the tiny model knows, and as a
drawing, with and without the textures of what has none. Each is the reference of the demo's graph, in a ComfyUI in this
process, with one prompt; the path of the generated clip is compared with the one that was drawn. A bench that was
stopped resumes with the same command.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.runs.bench import FED, feed_of, frames_of
from benchmarks.runs.bootstrap import mean_interval, paired_difference
from benchmarks.runs.host_graph import Executor
from benchmarks.runs.in_process import Host
from benchmarks.runs.references import Reference, Target
from benchmarks.runs.sources import files_digest, model_files, use_models
from benchmarks.runs.store import Store
from benchmarks.runs.variants import with_seed
from fastvmt_core.drawing.description import Drawing, DrawnObject, Ellipse, Move
from fastvmt_core.drawing.render import Canvas, Texture, render
from fastvmt_core.metrics.fidelity import path_correlation, path_error
from tools.demo.transfer import GRAPH, node_id
from tools.host.client import Graph
from tools.host.layout import REPO
from tools.train.clips import FPS, FRAMES, SIZE, Sprite, place
from tools.train.clips import render as render_sprites
from tools.train.patterns import BACKGROUNDS, COLOURS, SHAPES, Floats
from tools.train.track import track

RESULTS = Path(__file__).resolve().parents[1] / "results" / "drawn_motion.json"
FIRST_SEED = 40_000
RADIUS = 18.0
"""Pixels of what moves, as the model's sprites have."""
LEAST_CORRELATION, MOST_ERROR = 0.95, 6.0
"""What a row is asked for."""
REAL = "real"
ROWS: dict[str, Texture | None] = {
    REAL: None,
    "drawn": Texture(),
    "drawn, no texture": Texture(0.0, 0.0),
    "drawn, only the object has one": Texture(ground=0.0),
}
"""Textures of the drawing; None: the clip of a sprite in its place."""
MAIN = (REAL, "drawn")
"""The rows of all paths."""


def _line(t: Floats, _: np.random.Generator) -> Floats:
    return np.stack([t, 0 * t], 1)


def _arc(t: Floats, random: np.random.Generator) -> Floats:
    angle = t * random.uniform(0.6, 1.4) * np.pi
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def _loop(t: Floats, random: np.random.Generator) -> Floats:
    angle = 2 * np.pi * t * random.uniform(0.9, 1.1)
    return np.stack([np.cos(angle), random.uniform(0.5, 1.0) * np.sin(angle)], 1)


def _stops(t: Floats, random: np.random.Generator) -> Floats:
    # Half the path, a pause of a third of the time, a turn, and the other half.
    begin = random.uniform(0.25, 0.4)
    first, second = np.clip(t / begin, 0, 1), np.clip((t - begin - 0.33) / (0.67 - begin), 0, 1)
    turn = random.uniform(-1.2, 1.2)
    return np.stack([first + np.cos(turn) * second, np.sin(turn) * second], 1)


PATHS: dict[str, Callable[[Floats, np.random.Generator], Floats]] = {
    "line": _line,
    "arc": _arc,
    "loop": _loop,
    "stops": _stops,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 1 if the drawn motions miss what they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers")
    parser.add_argument("--paths", type=int, default=32, help="paths (default: 32)")
    parser.add_argument("--texture-paths", type=int, default=8, help="paths of the rows of other textures (default: 8)")
    parser.add_argument("--seeds", type=int, default=2, help="seeds of each (default: 2)")
    options = parser.parse_args(arguments)
    store, digest = Store(options.json), _digest()
    runs = [run for run in store.read() if run["digest"] == digest]
    done = {(run["row"], run["path"], run["seed"]) for run in runs}
    wanted = [(row, path, seed) for seed in range(options.seeds) for path in range(options.paths) for row in ROWS]
    wanted = [each for each in wanted if each not in done and (each[0] in MAIN or each[1] < options.texture_paths)]
    bench = Bench() if wanted else None
    for row, path, seed in tqdm(wanted):
        run = {"row": row, "path": path, "seed": seed, "kind": kind_of(path), "digest": digest}
        run |= bench.run(row, path, seed)
        store.add(run)
        runs.append(run)
    report = report_of(runs)
    store.finish(report)
    for name, row in report["rows"].items():
        print(f"{name}: {json.dumps(row)}")
    return 0 if report["rows"]["drawn"]["reached"] else 1


def kind_of(index: int) -> str:
    """A name in PATHS: they take turns."""
    return list(PATHS)[index % len(PATHS)]


@lru_cache
def reference_of(index: int, row: str) -> Reference:
    """The clip of a row on path `index`, and the prompt of another colour and shape."""
    random = np.random.default_rng(FIRST_SEED + index)
    curve = PATHS[kind_of(index)](np.linspace(0, 1, FRAMES), random)
    angle = random.uniform(0, 2 * np.pi)
    curve = curve @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    path = place(curve, random, RADIUS, travel=(60.0, 150.0))
    colours, shapes = random.permutation(list(COLOURS)), random.permutation(list(SHAPES))
    # The drawing's first object is red: what is asked for must not look like it, nor like the sprite.
    colour, wanted = [str(each) for each in colours if each != "red"][:2]
    if ROWS[row] is None:
        frames = render_sprites([Sprite(colour, str(shapes[0]), path, RADIUS)], "plain", SIZE, np.zeros((FRAMES, 2)))
    else:
        frames = drawn(path, ROWS[row])
    prompt = f"{wanted} {shapes[1]} {random.choice(list(BACKGROUNDS))}"
    return Reference(f"{row} {index}", frames, prompt, (Target(wanted, str(shapes[1]), path),))


def drawn(path: Floats, texture: Texture) -> Floats:
    """(T, H, W, 3): the crude clip of a disc on a path (T, 2), a point a frame."""
    points = tuple(map(tuple, ((path + 0.5) / SIZE).tolist()))
    times = tuple(np.linspace(0, 1, len(points)).tolist())
    radius = RADIUS / SIZE
    disc = DrawnObject(Ellipse(points[0], (radius, radius)), Move(points, "timed", times))
    return render(Drawing((disc,)), Canvas(SIZE, SIZE, len(points), float(FPS)), texture_of=texture).frames.numpy()


class Bench:
    """The demo's graph in this process."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._host = Host()
        self._executor = Executor(self._host.classes, self._host.receiver.drain)
        self._graph = _graph()
        use_models(self._graph, model_files(self._graph, {}), self._host)

    def run(self, row: str, path: int, seed: int) -> dict[str, float | bool]:
        """Correlation and distance of the generated path to the one that was drawn."""
        reference = reference_of(path, row)
        graph = with_seed(self._graph, seed, reference.prompt)
        feeds = {node_id(graph, FED): feed_of(reference.frames)}
        result = self._executor.run(graph, node_id(graph, "Decode guided"), feeds)
        target = reference.targets[0]
        generated = track(frames_of(result), target.colour)
        if not np.isfinite(generated).all():
            return {"correlation": 0.0, "error_px": SIZE / 2, "lost": True}
        pair = torch.from_numpy(generated), torch.from_numpy(target.path)
        return {
            "correlation": round(path_correlation(*pair), 4),
            "error_px": round(path_error(*pair), 3),
            "lost": False,
        }


def report_of(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """For each row its means with intervals over paths, by kind of path too, and its difference from the real clips."""
    rows = {}
    for name in ROWS:
        own = [run for run in runs if run["row"] == name]
        if not own:
            continue
        row: dict[str, Any] = {"clips": len(own), "paths": len({run["path"] for run in own})}
        for figure in ("correlation", "error_px"):
            row[figure] = _rounded(mean_interval([run[figure] for run in own], [run["path"] for run in own]))
            if name != REAL:
                mine, real = (
                    {(r["path"], r["seed"]): r[figure] for r in runs if r["row"] == each} for each in (name, REAL)
                )
                row[f"{figure}_less_real"] = _rounded(paired_difference(mine, real))
        row["lost"] = sum(run["lost"] for run in own)
        row["correlation_by_kind"] = {
            kind: round(float(np.mean([run["correlation"] for run in own if run["kind"] == kind])), 3)
            for kind in PATHS
            if any(run["kind"] == kind for run in own)
        }
        row["reached"] = row["correlation"][0] >= LEAST_CORRELATION and row["error_px"][0] <= MOST_ERROR
        rows[name] = row
    return {"least_correlation": LEAST_CORRELATION, "most_error_px": MOST_ERROR, "rows": rows, "runs": list(runs)}


def _rounded(interval: tuple[float, float, float] | None) -> list[float] | None:
    return None if interval is None else [round(value, 4) for value in interval]


def _digest() -> str:
    """What the runs are made from, as far as this bench is about it: the drawing, the graph and the models."""
    folders = [*(REPO / "fastvmt_core").glob("[!v]*/*.py"), *(REPO / "nodes" / "host").rglob("*.py"), Path(__file__)]
    files = [GRAPH, *sorted(folders), *model_files(_graph(), {}).values()]
    return files_digest(files)


def _graph() -> Graph:
    return json.loads(GRAPH.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
