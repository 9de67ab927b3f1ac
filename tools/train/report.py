"""Numbers of trained models: how well the VAE reconstructs clips, and whether samples show their prompts."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from comfy.ldm.wan.model import WanModel
from comfy.ldm.wan.vae import WanVAE

from fastvmt_core.tiny_prompt import parse
from tools.train import dit, vae
from tools.train.classifier import Classifier
from tools.train.clips import make_clip
from tools.train.patterns import ALL_BACKGROUNDS, BACKGROUNDS, COLOURS, LANDMARKS, SHAPES

SAMPLES = {(128, 17): 30, (192, 17): 6, (128, 33): 6}
"""How many clips are sampled, by pixels a side and frames."""


def reconstructions(model: WanVAE, classifier: Classifier, first_seed: int, clips: int = 36) -> dict[str, float]:
    """PSNR in dB of reconstructed clips, and the shares whose colour and shape are still recognised."""
    true = [
        make_clip(first_seed + n, shape=shape, background=background, camera=background == LANDMARKS)
        for n, background, shape in zip(range(clips), cycle(ALL_BACKGROUNDS), cycle(SHAPES))
    ]
    generated = vae.decode_clips(model, vae.encode_clips(model, true))
    errors = [np.square(clip.frames - frames).mean() for clip, frames in zip(true, generated, strict=True)]
    shown = [classifier.judge(frames) for frames in generated]
    return {
        "psnr_db": round(float(np.mean(-10 * np.log10(errors))), 2),
        "colour_right": float(np.mean([c == clip.colour for (c, _), clip in zip(shown, true, strict=True)])),
        "shape_right": float(np.mean([s == clip.shape for (_, s), clip in zip(shown, true, strict=True)])),
    }


def samples(transformer: WanModel, model: WanVAE, classifier: Classifier) -> dict[str, Any]:
    """The shares of sampled clips, at each size, that show the colour and the shape of their prompts."""
    figures: dict[str, Any] = {}
    for (side, length), count in SAMPLES.items():
        prompts = _prompts(count)
        latent = ((length - 1) // 4 + 1, side // 8, side // 8)
        frames = vae.decode_clips(model, dit.sample(transformer, prompts, latent, seed=side + length))
        wanted = [parse(prompt).sprites[0] for prompt in prompts]
        kept = np.array([classifier.judge(clip) for clip in frames]) == np.array(wanted)
        colour, shape = kept.mean(0).tolist()
        figures[f"{side}x{side}x{length}"] = {"colour_kept": colour, "shape_kept": shape}
    return figures


def _prompts(count: int) -> list[str]:
    """Prompts in which every colour, shape and background occurs."""
    words = (list(COLOURS), list(SHAPES), list(BACKGROUNDS))
    return [" ".join(kind[(n + n // 6 * turn) % len(kind)] for turn, kind in enumerate(words)) for n in range(count)]
