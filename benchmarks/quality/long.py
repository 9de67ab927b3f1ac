"""Whether a clip longer than the model's own follows its reference, with context windows and without.

python -m benchmarks.quality.long [--json OUT] [--references 4] [--rows ROW ...]

A sprite that goes round and round is the reference of the demo's graph, in a ComfyUI in this process. Context windows
are the host's node, before Invert Motion and Apply Motion. Beside the path it is measured how far the sprite's step at
the edge of a window, and anywhere else, is from the reference's, and how much memory the sampling takes. A bench that
was stopped resumes with the same command.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.runs.bench import FED, feed_of, frames_of
from benchmarks.runs.bootstrap import mean_interval
from benchmarks.runs.host_graph import Executor
from benchmarks.runs.in_process import Host
from benchmarks.runs.references import Reference, Target
from benchmarks.runs.sources import files_digest, model_files, use_models
from benchmarks.runs.store import Store
from benchmarks.runs.variants import Link, Variant, apply, with_seed
from benchmarks.speed.measuring import LEAN, Peak
from fastvmt_core.grid import first_video_frame, latent_frames
from fastvmt_core.metrics.fidelity import path_correlation, path_error
from tools.demo.transfer import GRAPH, node, node_id
from tools.host.client import Graph
from tools.host.layout import REPO
from tools.train.clips import MARGIN, SIZE, Sprite
from tools.train.clips import render as render_sprites
from tools.train.patterns import BACKGROUNDS, COLOURS, SHAPES, Floats
from tools.train.track import track

RESULTS = Path(__file__).resolve().parents[1] / "results" / "long.json"
FIRST_SEED = 60_000
RADIUS = 18.0
"""Pixels."""
LAP = 64
"""Frames of the curve's slower axis: some 70 px in 17 frames, as the clips that the model knows."""
LONGEST = 33
"""Frames of the longest clip that the model has seen."""
LEAST_CORRELATION, MOST_JUMP = 0.95, 1.5
"""What a row with windows is asked for: path correlation, pixels at a window's edge beyond what there is elsewhere."""


@dataclass(frozen=True)
class Row:
    """A length and how the model is evaluated."""

    frames: int
    """Of the clip."""
    window: int = 0
    """Frames of a context window; 0: the whole clip at once."""
    overlap: int = 8
    """Frames."""

    def edges(self) -> list[int]:
        """Latent frames at which a window begins, or the one before it has ended."""
        if not self.window:
            return []
        # As ComfyUI's node counts them.
        length, overlap, frames = (self.window - 1) // 4 + 1, (self.overlap - 1) // 4 + 1, latent_frames(self.frames)
        starts = [min(start, frames - length) for start in range(0, frames - overlap, length - overlap)]
        return sorted({*starts[1:], *(start + length for start in starts[:-1])})


ROWS = {
    "33 frames": Row(33),
    "65 frames at once": Row(65),
    "65 frames, windows of 33": Row(65, 33),
    "257 frames, windows of 33": Row(257, 33),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 1 if a row with windows misses what it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers")
    parser.add_argument("--references", type=int, default=4, help="references of each row (default: 4)")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="rows (default: all)")
    options = parser.parse_args(arguments)
    store, digest = Store(options.json), _digest()
    runs = [run for run in store.read() if run["digest"] == digest]
    done = {(run["row"], run["reference"]) for run in runs}
    wanted = [(row, reference) for reference in range(options.references) for row in options.rows]
    wanted = [each for each in wanted if each not in done]
    bench = Bench() if wanted else None
    for row, reference in tqdm(wanted):
        run = {"row": row, "reference": reference, "digest": digest, **bench.run(row, reference)}
        store.add(run)
        runs.append(run)
    report = report_of(runs)
    store.finish(report)
    for name, row in report["rows"].items():
        print(f"{name}: {json.dumps(row)}")
    return 0 if all(row.get("reached", True) for row in report["rows"].values()) else 1


@lru_cache
def reference_of(index: int, frames: int) -> Reference:
    """Sprite `index` on its curve; the same path and prompt at every length, as far as it goes."""
    random = np.random.default_rng(FIRST_SEED + index)
    t = 2 * np.pi * np.arange(frames) / LAP
    ratio, phases, room = random.uniform(1.1, 1.5), random.uniform(0, 2 * np.pi, 2), SIZE - 1 - 2 * (RADIUS + MARGIN)
    curve = np.stack([np.sin(t + phases[0]), np.sin(ratio * t + phases[1])], 1)
    path = (SIZE - 1) / 2 + curve * room / 2
    (own, wanted), (shape, other) = random.permutation(list(COLOURS))[:2], random.permutation(list(SHAPES))[:2]
    sprite = Sprite(str(own), str(shape), path, RADIUS)
    images = render_sprites([sprite], "plain", SIZE, np.zeros((frames, 2)))
    prompt = f"{wanted} {other} {random.choice(list(BACKGROUNDS))}"
    return Reference(f"long {index}", images, prompt, (Target(str(wanted), str(other), path),))


class Bench:
    """The demo's graph in this process."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._host = Host()
        self._executor = Executor(self._host.classes, self._host.receiver.drain)
        self._peak = Peak()

    def run(self, row: str, index: int) -> dict[str, float | bool]:
        """Figures of one run."""
        reference, settings = reference_of(index, ROWS[row].frames), ROWS[row]
        graph = apply(_graph(), variant_of(settings), self._host.input_names)
        node(graph, "Encode reference")["inputs"]["length"] = settings.frames
        use_models(graph, model_files(graph, {}), self._host)
        graph = with_seed(graph, index, reference.prompt)
        feeds = {node_id(graph, FED): feed_of(reference.frames)}
        self._executor.run(graph, node_id(graph, "Apply motion"), feeds)
        before = self._peak.reset()
        sampled = self._executor.run(graph, node_id(graph, "Sample guided"), feeds)
        peak = self._peak.read() - before
        result = self._executor.run(graph, node_id(graph, "Decode guided"), feeds)
        target = reference.targets[0]
        return {
            **figures_of(track(frames_of(result), target.colour), target.path, settings),
            "peak_mib": round(peak / 2**20, 1),
            "cpu_seconds": round(sampled.cpu_seconds, 1),
        }


def variant_of(row: Row) -> Variant:
    """The row's context windows in the demo's graph."""
    if not row.window:
        return Variant("at once")
    windows = {
        "class_type": "WanContextWindowsManual",
        "inputs": {
            "model": Link("Shift", 0),
            "context_length": row.window,
            "context_overlap": row.overlap,
            "context_schedule": "standard_static",
            "context_stride": 1,
            "closed_loop": False,
            "fuse_method": "pyramid",
        },
    }
    wired = dict.fromkeys(("Invert motion.model", "Apply motion.model"), Link("Windows", 0))
    return Variant("windows", wired, {"Windows": windows})


def figures_of(path: Floats, truth: Floats, row: Row) -> dict[str, Any]:
    """How closely a path (T, 2) follows the true one, in pixels; of a lost sprite only that it was lost."""
    if not np.isfinite(path).all():
        return {"correlation": 0.0, "error_px": SIZE / 2, "lost": True, "jump_px": None, "step_px": None}
    pair = torch.from_numpy(path), torch.from_numpy(truth)
    apart = np.linalg.norm(np.diff(path, axis=0) - np.diff(truth, axis=0), axis=1)
    # Of the step that leads into a latent frame's first frame of the video.
    edges = [first_video_frame(edge) - 1 for edge in row.edges()]
    return {
        "correlation": round(path_correlation(*pair), 4),
        "error_px": round(path_error(*pair), 3),
        "lost": False,
        "jump_px": round(float(apart[edges].mean()), 3) if edges else None,
        "worst_jump_px": round(float(apart[edges].max()), 3) if edges else None,
        "step_px": round(float(np.delete(apart, edges).mean()), 3),
        "worst_step_px": round(float(np.delete(apart, edges).max()), 3),
    }


def report_of(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each row means over its references, with an interval for the path."""
    rows = {}
    for name, settings in ROWS.items():
        own = [run for run in runs if run["row"] == name]
        if not own:
            continue
        followed = [run for run in own if not run["lost"]]
        row: dict[str, Any] = {"references": len(own), "lost": len(own) - len(followed)}
        interval = mean_interval([run["correlation"] for run in own], [run["reference"] for run in own])
        row["correlation"] = [round(value, 4) for value in interval]
        for figure in ("error_px", "jump_px", "worst_jump_px", "step_px", "worst_step_px", "peak_mib", "cpu_seconds"):
            known = [run[figure] for run in own if run.get(figure) is not None]
            row[figure] = round(float(np.mean(known)), 3) if known else None
        if settings.window:
            row["reached"] = (
                row["correlation"][0] >= LEAST_CORRELATION
                and bool(followed)
                and row["jump_px"] - row["step_px"] <= MOST_JUMP
            )
        rows[name] = row
    return {"least_correlation": LEAST_CORRELATION, "most_jump_px": MOST_JUMP, "rows": rows, "runs": list(runs)}


def _digest() -> str:
    """What the runs are made from: the graph, the models and the pack's own files that they pass through."""
    rooms = [REPO / "fastvmt_core" / room for room in ("attention", "guidance", "motion", "objectives")]
    rooms += [REPO / "nodes" / "host" / room for room in ("reading", "sampling")]
    code = [file for room in rooms for file in sorted(room.glob("*.py"))]
    files = [GRAPH, *code, Path(__file__), *model_files(_graph(), {}).values()]
    return files_digest(files)


def _graph() -> Graph:
    return json.loads(GRAPH.read_text(encoding="utf-8"))


if __name__ == "__main__":
    if not os.environ.items() >= LEAN.items():
        os.execve(
            sys.executable, [sys.executable, "-m", "benchmarks.quality.long", *sys.argv[1:]], {**os.environ, **LEAN}
        )
    sys.exit(main())
