"""How well cuts inside a reference are told from motion: python -m benchmarks.quality.cuts --json OUT

Looks at clips whose cuts are known, on and off the latent's frames, and at moving clips without any, in two ways: at
the video's frames, as Encode Reference does, and at what the demo's model makes of its latent, for which each place
between two frames of the latent is noted by how much its mismatch stands out.
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
from fastvmt_core.config import CutConfig
from fastvmt_core.grid import latent_frame_of
from fastvmt_core.video.cuts import find_cuts_in_video
from tools.host.layout import REPO
from tools.train.clips import BACKGROUNDS, COLOURS, Floats, cut, make_clip

MODELS = REPO / "assets" / "models"
WHOLE = ("plain", "fast", "jump", "two", "camera", "deform")
"""Kinds of references without a cut."""
SIGMA = 0.3
BLOCK = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where to write the numbers")
    parser.add_argument("--clips", type=int, default=24, help="of each kind (default: 24)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    report = {"video": in_video(options.clips), "latent": measure(Reader(), options.clips)}
    options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for way, figures in report.items():
        print(way, json.dumps({key: value for key, value in figures.items() if key != "stands_out"}, indent=1))
    return 0


def in_video(clips: int) -> dict[str, Any]:
    """What Encode Reference sees: shares of cuts found where they are, of clips where more is seen, and of alarms.

    ``same look`` are cuts after which the sprite is elsewhere, and all else is as it was.
    """
    config = CutConfig()
    found, alarms = {}, {}
    for frames in (17, 33):
        half = (frames + 1) // 2
        shown = {kind: [make_reference(index, kind, frames=frames).frames for index in range(clips)] for kind in WHOLE}
        shown["cut"] = [cut_clip(index, frames, half) for index in range(clips)]
        shown["cut, same look"] = [make_reference(index, "cut", frames=frames).frames for index in range(clips)]
        for kind, each in shown.items():
            seen = [find_cuts_in_video(torch.from_numpy(clip), config) for clip in each]
            true = set() if kind in WHOLE else {half}
            name = f"{kind}, {frames} frames"
            if true:
                found[name] = float(np.mean([true <= set(places) for places in seen]))
                name = f"elsewhere: {name}"
            alarms[name] = float(np.mean([set(places) - true != set() for places in seen]))
    return {"change": config.change, "found": found, "false_alarms": alarms}


def measure(reader: Reader, clips: int) -> dict[str, Any]:
    """Shares of cuts found where they are, and of clips without one that were said to have one."""
    ratio = reader.config.ratio
    stands_out: dict[str, list[list[float]]] = {}
    found, alarms = {}, {}
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
            # A cut inside a frame of the latent shows on one of its two sides.
            place = latent_frame_of(at) - 1
            places = {place} if late == 0 else {place, place + 1}
            found[name] = float(
                np.mean([{n for n, value in enumerate(table) if value > ratio} & places != set() for table in tables])
            )
    return {"ratio": ratio, "found": found, "false_alarms": alarms, "stands_out": stands_out}


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
        names = [
            host.offer(folder, next((MODELS / folder).glob(pattern)))
            for folder, pattern in (("diffusion_models", "tinywan_dit_*"), ("vae", "tinywan_vae_*"))
        ]
        with torch.inference_mode():
            self._model, self._vae = load[0](names[0], "default")[0], load[1](names[1])[0]
            self._empty = host.classes["TinyWanPrompt"].execute("").args[0]
        self.config = host.pack("fastvmt_core.config").CutConfig()

    def stands_out(self, frames: Floats) -> list[float]:
        """For each two neighbours of the latent's frames, their mismatch over the mean of the others'."""
        capture, inversion = self._pack("nodes.host.attention.capture"), self._pack("nodes.host.reading.inversion")
        cuts, wan = (
            self._pack("fastvmt_core.video.cuts"),
            self._pack("nodes.host.models.video_model").VideoModel.of(self._model),
        )
        share, table = self.config.share, []

        class Sampler(inversion.ReadingSampler):
            def read(self, model: Any, latent: torch.Tensor, noised: Any, level: torch.Tensor, extra_args: Any) -> None:  # noqa: ANN401
                _, k = capture.capture_qk(model, noised(latent), level, extra_args, (BLOCK,), wan.grid(latent))
                table.extend(cuts.frame_mismatch(*k[0, n : n + 2], share) for n in range(k.shape[1] - 1))

        import comfy.utils

        with torch.inference_mode():
            latent = self._pack("nodes.host.files.vae").encode_video(self._vae, torch.from_numpy(frames), tiled=False)
            sampler = Sampler((SIGMA,), comfy.utils.ProgressBar(1))
            inversion.read_reference(self._model, latent, self._empty, sampler, 0)
        others = len(table) - 1
        return [round(one * others / (sum(table) - one), 4) for one in table]


if __name__ == "__main__":
    sys.exit(main())
