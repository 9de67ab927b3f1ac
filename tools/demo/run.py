"""The demo: transfer the motion of a clip in a real ComfyUI, and show and measure the result.

``bash scripts/demo.sh`` makes everything ready and runs this.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
import torch
from tqdm import tqdm

from fastvmt_core.metrics.fidelity import dense_tracks, motion_fidelity, path_correlation, path_error
from fastvmt_core.tiny_prompt import parse
from tools.demo.reference_video import UnusableVideo, cut_reference, fitted_frames, known_path
from tools.demo.serve import serve
from tools.demo.sheet import Row, draw_sheet
from tools.demo.transfer import RUNS, Recorder, Transfer, load_graph, node, transfer
from tools.host.client import Client, Graph, JobError
from tools.host.layout import REPO, Layout
from tools.host.server import Server, ServerError
from tools.train.clips import FPS, Floats, write_video
from tools.train.track import track

NO_PATH = "the reference is not one of the tiny model's clips, so the path of its object is unknown"
LOST = "the sprite could not be followed in the generated clip"


@dataclass(frozen=True)
class Measured:
    """Paths of the sprite, and how the generated ones follow the reference's; None if they are unknown."""

    paths: dict[str, Floats | None]
    correlation: dict[str, float | None]
    error_px: dict[str, float | None]
    note: str | None


def main(arguments: list[str] | None = None) -> int:
    """0 after a whole demo, 1 after an error, 130 after Ctrl-C."""
    options = _options(arguments)
    try:
        return serve(Layout.of()) if options.serve else _run(options)
    except (UnusableVideo, ValueError, JobError, ServerError) as error:
        print(f"fastvmt: {error}", file=sys.stderr)
        return 1
    except (ConnectionError, requests.ConnectionError) as error:
        print(f"fastvmt: the server went away: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fastvmt: stopped", file=sys.stderr)
        return 130


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo.sh", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--reference", type=Path, default=REPO / "assets" / "reference.mp4", help="any video (default: ours)"
    )
    parser.add_argument("--prompt", default="blue square plain", help="a colour, a shape and a background")
    parser.add_argument("--seed", type=int, default=0, help="of the generated clips' noise")
    parser.add_argument(
        "--out", type=Path, default=REPO / "demo_out", help="folder for the results (default: demo_out)"
    )
    parser.add_argument(
        "--serve", action="store_true", help="open ComfyUI with the demo's workflow instead, until Ctrl-C"
    )
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> int:
    started = float(os.environ.get("FASTVMT_STARTED") or time.time())
    words = parse(options.prompt)
    if words is None:
        raise ValueError(
            '--prompt: expected a colour, a shape and a background such as "blue square plain", got nothing.'
        )
    options.out.mkdir(parents=True, exist_ok=True)
    graph = load_graph("", options.prompt, options.seed)
    with tempfile.TemporaryDirectory() as work:
        clip = Path(work) / "reference.mp4"
        cut_reference(options.reference, clip, _seconds_needed(graph))
        reference = fitted_frames(clip, graph)
        seconds = len(reference) / FPS
        print(f"fastvmt: {len(reference)} frames are used, the clip's first {seconds:.1f} seconds", file=sys.stderr)
        print("fastvmt: starting ComfyUI", file=sys.stderr)
        with Server(layout=Layout.of()) as server, Client(server.url) as client:
            setup = time.time() - started
            version = client.system_stats()["system"]["comfyui_version"]
            graph = load_graph(client.upload_input(clip), options.prompt, options.seed)
            with _Progress() as progress:
                result = transfer(client, graph, progress)
    measured = measure(result.frames, words.sprites[0][0], known_path(options.reference, reference))
    files = _write_clips(options.out, reference, result)
    rows = _rows(reference, result, measured, options.reference.name, options.prompt)
    heading = f"Motion of {options.reference.name}, prompt “{options.prompt}”"
    draw_sheet(rows, measured.paths["reference"], heading).save(options.out / files["sheet"])
    report = {
        "host_version": version,
        "reference": options.reference.name,
        "prompt": options.prompt,
        "seed": options.seed,
        **_guidance(result.record),
        "path_correlation": measured.correlation,
        "path_error_px": measured.error_px,
        "path_note": measured.note,
        "motion_fidelity": fidelity(reference, result.frames),
        "seconds": _seconds(result.record, setup),
        "files": {**files, "report": "report.json"},
    }
    (options.out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _print(report, options.out)
    return 0


def measure(frames: dict[str, Floats], colour: str, known: tuple[str, Floats] | None) -> Measured:
    """The sprite's path (by its ``colour``) in each run, compared with the known one (colour, path)."""
    paths: dict[str, Floats | None] = {run: track(frames[run], colour) for run in RUNS}
    if known is None:
        return Measured({"reference": None, **paths}, dict.fromkeys(RUNS), dict.fromkeys(RUNS), NO_PATH)
    reference = known[1]
    followed = {run: torch.from_numpy(path) for run, path in paths.items() if np.isfinite(path).all()}
    truth = torch.from_numpy(reference)
    note = None if len(followed) == len(paths) else LOST
    correlation = {run: path_correlation(followed[run], truth) if run in followed else None for run in RUNS}
    error = {run: path_error(followed[run], truth) if run in followed else None for run in RUNS}
    return Measured({"reference": reference, **paths}, correlation, error, note)


def fidelity(reference: Floats, frames: dict[str, Floats]) -> dict[str, float | None]:
    """Likeness of each run's movement to the reference's, by optical flow, -1 .. 1; None without OpenCV.

    Coarse, since the noise of a still background counts too; but it needs no knowledge of the clip.
    """
    try:
        tracks = dense_tracks(torch.from_numpy(reference))
    except ImportError:
        return dict.fromkeys(RUNS)
    return {run: motion_fidelity(dense_tracks(torch.from_numpy(frames[run])), tracks) for run in RUNS}


def _seconds_needed(graph: Graph) -> float:
    settings = node(graph, "Encode reference")["inputs"]
    # A little more than the frames take: resampling may need the frame after the last.
    return settings["length"] / settings["target_fps"] + 0.25


def _write_clips(out: Path, reference: Floats, result: Transfer) -> dict[str, str]:
    """The names of all files beside the report; the three clips are written."""
    write_video(out / "reference.mp4", reference, FPS)
    for run in RUNS:
        (out / f"{run}.mp4").write_bytes(result.videos[run])
    return {**{name: f"{name}.mp4" for name in ("reference", *RUNS)}, "sheet": "sheet.png"}


def _rows(reference: Floats, result: Transfer, measured: Measured, name: str, prompt: str) -> list[Row]:
    rows = [Row("reference", (name,), reference, measured.paths["reference"])]
    for run in RUNS:
        correlation, error = measured.correlation[run], measured.error_px[run]
        notes = () if correlation is None else (f"correlation {correlation:.2f}", f"{error:.1f} px off the path")
        rows.append(Row(run, (prompt, *notes), result.frames[run], measured.paths[run]))
    return rows


def _guidance(record: Recorder) -> dict[str, Any]:
    """The report's part about the guidance, from the events that the nodes sent."""
    return {
        **{name: record.guidance.get(name) for name in ("grid", "sigmas", "guided_steps")},
        "gradient_evaluations": sum(step["gradient_evaluations"] for step in record.steps),
        "losses": [step["losses"] for step in record.steps],
    }


def _seconds(record: Recorder, setup: float) -> dict[str, float]:
    nodes = {"invert": "Invert motion", **{f"sample_{run}": f"Sample {run}" for run in RUNS}}
    seconds = {"setup": setup, **{name: record.seconds.get(node, 0.0) for name, node in nodes.items()}}
    return {name: round(value, 2) for name, value in seconds.items()}


def _print(report: dict[str, Any], out: Path) -> None:
    for run in RUNS:
        correlation, error = report["path_correlation"][run], report["path_error_px"][run]
        if correlation is not None:
            print(f"{run:>9}: path correlation {correlation:.3f}, {error:.1f} px from the reference's path")
    for run, score in report["motion_fidelity"].items():
        if report["path_note"] and score is not None:
            print(f"{run:>9}: motion fidelity {score:.3f} by optical flow")
    if report["path_note"]:
        print(f"path not measured: {report['path_note']}")
    print(f"see {out / 'sheet.png'} and the clips and report.json beside it")


class _Progress:
    """A bar on stderr for the node at work; one line a node if stderr is no terminal."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def __call__(self, title: str, done: int, of: int) -> None:
        if not of:
            self._close()
            if not sys.stderr.isatty():
                print(f"fastvmt: {title.lower()}", file=sys.stderr)
            return
        if self._bar is None:
            # disable=None: no bar if stderr is no terminal.
            self._bar = tqdm(total=of, desc=title, file=sys.stderr, disable=None, leave=True)
        self._bar.update(done - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


if __name__ == "__main__":
    sys.exit(main())
