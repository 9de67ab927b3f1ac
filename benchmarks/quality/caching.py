"""Whether a gradient that is used again can be seen: python -m benchmarks.quality.caching [--references 16]

The same references and seeds at three intervals between gradients, in a ComfyUI in this process. Flicker and motion
are measured, and a small classifier tries to tell the intervals apart (caching_seen.py). Writes results/caching.json
and from it docs/caching.md, whose text is caching.md; ``--page`` writes the page alone. Clips are kept below
.host/caching, so that a bench that was stopped resumes with the same command.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.quality.caching_seen import FRESH, OTHERS, UNGUIDED, figures_of, page, report_of
from benchmarks.runs.bench import FED, feed_of, frames_of
from benchmarks.runs.host_graph import Executor
from benchmarks.runs.in_process import Host
from benchmarks.runs.quick_cpu import quick_cpu
from benchmarks.runs.references import Reference, make_reference
from benchmarks.runs.sources import files_digest, model_files, use_models
from benchmarks.runs.variants import with_seed
from tools.demo.transfer import GRAPH, node, node_id
from tools.host.client import Graph
from tools.host.layout import REPO, Layout

HERE = Path(__file__).resolve().parent
RESULTS, TEXT, PAGE = HERE.parent / "results" / "caching.json", HERE / "caching.md", REPO / "docs" / "caching.md"
SCHEDULE = {"inner_steps": 10, "lr_start": 0.03, "lr_end": 0.02}
"""The paper's number of inner steps, at learning rates with which they go as far as the demo's six."""
INTERVALS = {name: int(name.split()[-1]) for name in (FRESH, *OTHERS)}


def main(arguments: Sequence[str] | None = None) -> int:
    """0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=16, help="references, one seed each (default: 16)")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    options = parser.parse_args(arguments)
    if not options.page:
        clips = Clips()
        runs = [
            {"row": row, "reference": index, **figures_of(clips.get(row, index), reference_of(index))}
            for index in tqdm(range(options.references))
            for row in (UNGUIDED, *INTERVALS)
        ]
        report = report_of(runs, clips.get, options.references)
        RESULTS.write_text(json.dumps({**report, "schedule": SCHEDULE, "runs": runs}, indent=1) + "\n", "utf-8")
    report = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(page(TEXT.read_text(encoding="utf-8"), report), encoding="utf-8")
    return 0


@lru_cache
def reference_of(index: int) -> Reference:
    """A reference of the bench of motion transfer."""
    return make_reference(index)


class Clips:
    """The clips that the demo's graph makes, each one once."""

    def __init__(self) -> None:
        graph = json.loads(GRAPH.read_text(encoding="utf-8"))
        files = [GRAPH, Path(__file__), *model_files(graph, {}).values()]
        files += [*sorted((REPO / "fastvmt_core").rglob("*.py")), *sorted((REPO / "nodes" / "host").rglob("*.py"))]
        self._folder = Layout.of().host / "caching" / files_digest(files)
        self._maker: Maker | None = None

    def get(self, row: str, index: int) -> np.ndarray:
        """(T, H, W, 3) in [0, 1], in steps of 1 / 255."""
        file = self._folder / f"{row} {index}.npz"
        if not file.exists():
            self._maker = self._maker or Maker()
            frames = (self._maker.make(row, index) * 255).round().astype(np.uint8)
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(file, frames=frames)
        return np.load(file)["frames"].astype(np.float32) / 255


class Maker:
    """The demo's graph in this process."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._host = Host()
        self._executor = Executor(self._host.classes, self._host.receiver.drain)
        self._graph: Graph = json.loads(GRAPH.read_text(encoding="utf-8"))
        use_models(self._graph, model_files(self._graph, {}), self._host)

    def make(self, row: str, index: int) -> np.ndarray:
        """The clip of one row, (T, H, W, 3) in [0, 1]."""
        reference = reference_of(index)
        graph = with_seed(self._graph, index, reference.prompt)
        if row != UNGUIDED:
            node(graph, "Apply motion")["inputs"].update(SCHEDULE, gradient_interval=INTERVALS[row])
        wanted = "Decode unguided" if row == UNGUIDED else "Decode guided"
        with quick_cpu():
            feeds = {node_id(graph, FED): feed_of(reference.frames)}
            return frames_of(self._executor.run(graph, node_id(graph, wanted), feeds))


if __name__ == "__main__":
    sys.exit(main())
