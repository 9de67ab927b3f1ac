"""Pictures of what was trained, and the numbers to them."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comfy.ldm.wan.model import WanModel
from comfy.ldm.wan.vae import WanVAE
from PIL import Image

from fastvmt_core.tiny_prompt import parse
from tools.train import dit, vae
from tools.train.classifier import Classifier
from tools.train.clips import ALL_BACKGROUNDS, BACKGROUNDS, COLOURS, LANDMARKS, SHAPES, Floats, make_clip

SHOWN_FRAMES = 5
SHOWN_CLIPS = 12
SIZES = ((128, 17), (192, 17), (128, 33))
"""Pixels a side and frames of the sampled clips."""
SAMPLES = (30, 6, 6)
"""How many of each."""


def reconstructions(model: WanVAE, classifier: Classifier, first_seed: int, sheet: Path, clips: int = 36) -> dict:
    """How well the VAE gives true clips back; draws some of them beside the truth."""
    looks = zip(range(clips), cycle(ALL_BACKGROUNDS), cycle(SHAPES))
    true = [
        make_clip(first_seed + n, shape=shape, background=background, camera=background == LANDMARKS)
        for n, background, shape in looks
    ]
    made = vae.decode_clips(model, vae.encode_clips(model, true))
    errors = [np.square(clip.frames - frames).mean() for clip, frames in zip(true, made, strict=True)]
    judged = [classifier.judge(frames) for frames in made]
    pairs = list(zip(true, made, strict=True))[:SHOWN_CLIPS]
    _draw([np.concatenate([_strip(clip.frames), _strip(frames)], 1) for clip, frames in pairs], sheet)
    return {
        "psnr_db": round(float(np.mean(-10 * np.log10(errors))), 2),
        "colour_right": float(np.mean([c == clip.colour for (c, _), clip in zip(judged, true, strict=True)])),
        "shape_right": float(np.mean([s == clip.shape for (_, s), clip in zip(judged, true, strict=True)])),
    }


def samples(transformer: WanModel, model: WanVAE, classifier: Classifier, sheet: Path) -> dict[str, Any]:
    """Sample prompts at each size: how many show the colour and the shape asked for; draws some."""
    figures: dict[str, Any] = {}
    rows = []
    for (side, length), count in zip(SIZES, SAMPLES, strict=True):
        prompts = _prompts(count)
        latent = ((length - 1) // 4 + 1, side // 8, side // 8)
        made = vae.decode_clips(model, dit.sample(transformer, prompts, latent, seed=side + length))
        asked = [parse(prompt).sprites[0] for prompt in prompts]
        judged = [classifier.judge(frames) for frames in made]
        figures[f"{side}x{side}x{length}"] = {
            "colour_kept": float(np.mean([j[0] == a[0] for j, a in zip(judged, asked, strict=True)])),
            "shape_kept": float(np.mean([j[1] == a[1] for j, a in zip(judged, asked, strict=True)])),
        }
        rows += [_strip(frames) for frames in made[: SHOWN_CLIPS if side == 128 and length == 17 else 3]]
    _draw(rows, sheet)
    return figures


def curves(of_stages: dict[str, list[list[float]]], sheet: Path) -> None:
    """The loss of each stage over its steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(of_stages), figsize=(4 * len(of_stages), 3), squeeze=False)
    for axis, (stage, curve) in zip(axes[0], of_stages.items(), strict=True):
        axis.plot(*zip(*curve, strict=True), linewidth=1)
        axis.set(title=stage, xlabel="step", ylabel="loss", yscale="log")
    figure.tight_layout()
    sheet.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(sheet, dpi=110)
    pyplot.close(figure)


def _prompts(count: int) -> list[str]:
    """Prompts in which every colour, shape and background comes up."""
    words = (list(COLOURS), list(SHAPES), list(BACKGROUNDS))
    return [" ".join(kind[(n + n // 6 * turn) % len(kind)] for turn, kind in enumerate(words)) for n in range(count)]


def _strip(frames: Floats) -> Floats:
    """A few frames of a clip side by side, 128 pixels high."""
    shown = frames[np.linspace(0, len(frames) - 1, SHOWN_FRAMES).round().astype(int)]
    strip = torch.from_numpy(np.concatenate(list(shown), 1)).permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(strip, (128, 128 * SHOWN_FRAMES), mode="area")[0].permute(1, 2, 0).numpy()


def _draw(rows: list[Floats], sheet: Path) -> None:
    sheet.parent.mkdir(parents=True, exist_ok=True)
    half = -(-len(rows) // 2) if rows[0].shape[1] < 1000 else len(rows)
    columns = [np.concatenate(rows[first : first + half]) for first in range(0, len(rows), half)]
    tall = max(len(column) for column in columns)
    columns = [np.pad(column, ((0, tall - len(column)), (0, 8), (0, 0)), constant_values=1.0) for column in columns]
    picture = np.concatenate(columns, 1)
    Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8)).save(sheet)
