"""How well cuts inside a reference are found: python -m benchmarks.quality.cuts --json OUT

Clips whose cuts are known, on and between the latent's frames, and moving clips without any, by two methods: on the
video's frames, as Encode Reference does, and on the attention of the demo's model to the latent, for which the mismatch
of each two neighbouring latent frames is noted, relative to the others. fastvmt_core/config.py quotes the results.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.runs.in_process import Host
from benchmarks.runs.references import FIRST_SEED, make_reference
from benchmarks.runs.sources import LOADERS, model_files
from fastvmt_core.config import CutConfig
from fastvmt_core.grid import latent_frame_of
from fastvmt_core.video.cuts import find_cuts_in_video
from tools.demo.transfer import GRAPH
from tools.train.clips import cut, make_clip
from tools.train.patterns import BACKGROUNDS, COLOURS, Floats

WHOLE = ("plain", "fast", "jump", "two", "camera", "deform")
"""Kinds of references without a cut."""
SIGMA = 0.3
BLOCK = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file for the numbers")
    parser.add_argument("--clips", type=int, default=24, help="of each kind (default: 24)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    report = {"video": in_video(options.clips), "latent": measure(Reader(), options.clips)}
    options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for method, figures in report.items():
        print(method, json.dumps({key: value for key, value in figures.items() if key != "stands_out"}, indent=1))
    return 0


def in_video(clips: int) -> dict[str, Any]:
    """Results of Encode Reference's method: shares of cuts that are found, and of clips with false alarms.

    ``same sprite`` are cuts after which the sprite has another place, and all else is as before.
    """
    config = CutConfig()
    shares, alarms = {}, {}
    for frames in (17, 33):
        half = (frames + 1) // 2
        shown = {kind: [make_reference(index, kind, frames=frames).frames for index in range(clips)] for kind in WHOLE}
        shown["cut"] = [cut_clip(index, frames, half) for index in range(clips)]
        shown["cut, same sprite"] = [make_reference(index, "cut", frames=frames).frames for index in range(clips)]
        for kind, each in shown.items():
            places_of = [find_cuts_in_video(torch.from_numpy(clip), config) for clip in each]
            true = set() if kind in WHOLE else {half}
            name = f"{kind}, {frames} frames"
            if true:
                shares[name] = float(np.mean([true <= set(places) for places in places_of]))
                name = f"elsewhere: {name}"
            alarms[name] = float(np.mean([set(places) - true != set() for places in places_of]))
    return {"change": config.change, "found": shares, "false_alarms": alarms}


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
            tables = [reader.stands_out(cut_clip(index, frames, at)) for index in range(clips)]
            stands_out[name] = tables
            # A cut inside a latent frame shows on one of its two sides.
            place = latent_frame_of(at) - 1
            places = {place} if late == 0 else {place, place + 1}
            shares[name] = float(
                np.mean([{n for n, value in enumerate(table) if value > ratio} & places != set() for table in tables])
            )
    return {"ratio": ratio, "found": shares, "false_alarms": alarms, "stands_out": stands_out}


def cut_clip(index: int, frames: int, at: int) -> Floats:
    """Two clips of another sprite, background and motion, joined at frame ``at``."""
    random = np.random.default_rng((FIRST_SEED + index, 2))
    colours, backgrounds = random.permutation(list(COLOURS)), random.permutation(list(BACKGROUNDS))
    shots = [
        make_clip(FIRST_SEED + index + 500_000 * n, str(colours[n]), None, str(backgrounds[n]), frames=frames)
        for n in (0, 1)
    ]
    return cut(*shots, at)


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
