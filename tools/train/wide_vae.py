"""The wider VAE: twice the channels, started from the narrow one's weights, trained on every kind of scene.

Import ``tools.train.comfyui`` first: it makes ComfyUI's modules importable.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import comfy.ldm.wan.vae as wan_vae
import numpy as np
import torch
from einops import rearrange

from tools.train.optimizers import multiplies_in_bfloat16
from tools.train.scenes import KINDS, Scene, make_scene
from tools.train.vae import decode, encode, load_vae, make_vae, standardised


@dataclass(frozen=True)
class VaeTraining:
    """How the VAE is trained.

    Args:
        steps: of the whole training.
        windows: (pixels a side, frames, clips in a batch) of what it sees; each makes as many batches. Whole frames
            and long clips are among them: a decoder that never saw them blots their edges and their later frames.
        kinds: how often each kind of scene occurs.
        near: share of the windows that are put around a sprite.
        sprite_weight: how many times as much a sprite's pixels count.
        kl_weight: of the divergence from a standard normal latent.
        asymmetry: spread of the halves of a doubled weight, as a share of it; twins would stay twins.
        muon_rate, adam_rate: learning rates.
        ema: decay of the average of the weights, a step.
        first_seed: of the scenes; the transformer's and the bench's are others.
    """

    steps: int = 2500
    windows: tuple[tuple[int, int, int], ...] = (
        (72, 9, 2),
        (72, 9, 2),
        (72, 9, 2),
        (48, 17, 2),
        (48, 17, 2),
        (40, 33, 2),
        (128, 9, 2),
    )
    kinds: tuple[tuple[str, float], ...] = (("one", 0.4), ("camera", 0.4), ("several", 0.2))
    near: float = 0.6
    sprite_weight: float = 3.0
    kl_weight: float = 1e-4
    asymmetry: float = 0.3
    muon_rate: float = 2e-3
    adam_rate: float = 1e-3
    ema: float = 0.998
    first_seed: int = 50_000_000


@torch.no_grad()
def widened(path: Path, training: VaeTraining, seed: int) -> wan_vae.WanVAE:
    """A VAE of twice the channels that computes what the VAE of a file does (nearly: see ``asymmetry``).

    Each channel inside becomes two. A weight that read one of them reads both, a part of it each.
    """
    narrow = load_vae(path)
    wide = make_vae(2 * narrow.decoder.head[0].gamma.shape[0])
    generator = torch.Generator().manual_seed(seed)
    weights = narrow.state_dict()
    for name, target in wide.state_dict().items():
        value = weights[name]
        for axis in (0, 1):
            if axis < value.ndim and target.shape[axis] == 2 * value.shape[axis]:
                value = value.repeat_interleave(2, axis)
                if axis == 1 and value.ndim > 2:
                    uneven = torch.randn(value[:, ::2].shape, generator=generator) * training.asymmetry
                    halves = torch.stack((0.5 + uneven, 0.5 - uneven), 2).flatten(1, 2)
                    value = value * halves
        if name.endswith("to_qkv.weight"):
            # Products of queries and keys have twice the terms, and are divided by the root of their number.
            value[: 2 * len(value) // 3] *= 2**-0.25
        if name.endswith("to_qkv.bias"):
            value[: 2 * len(value) // 3] *= 2**-0.25
        target.copy_(value)
    return wide


def loss(vae: wan_vae.WanVAE, training: VaeTraining, seed: int, step: int) -> torch.Tensor:
    """L1 + L2 with the sprites counting more, and a little KL, on the batch of ``step``."""
    device = next(vae.parameters()).device
    pixels, weight = (tensor.to(device) for tensor in batch(training, seed, step))
    with torch.autocast(device.type, torch.bfloat16, enabled=multiplies_in_bfloat16(device)):
        mean, log_variance = encode(vae, pixels)
        log_variance = log_variance.float().clamp(-20, 4)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(step)).to(device)
        error = decode(vae, mean + noise * (log_variance / 2).exp()).float() - pixels
    kl = 0.5 * (standardised(mean.float()).square() + log_variance.exp() - 1 - log_variance).mean()
    return ((error.abs() + error.square()) * weight).sum() / weight.sum() / 3 + training.kl_weight * kl


def batch(training: VaeTraining, seed: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The windows of a step (B, 3, T, S, S) in [-1, 1], and how much each pixel counts (B, 1, T, S, S)."""
    random = np.random.default_rng((seed, step))
    side, frames, count = training.windows[int(random.integers(len(training.windows)))]
    pairs = [_window(training, random, side, frames) for _ in range(count)]
    return tuple(torch.stack(parts) for parts in zip(*pairs, strict=True))


def _window(
    training: VaeTraining, random: np.random.Generator, side: int, frames: int
) -> tuple[torch.Tensor, torch.Tensor]:
    kinds, shares = zip(*training.kinds, strict=True)
    kind = kinds[int(random.choice(len(kinds), p=shares))]
    scene = make_scene(kind, training.first_seed + int(random.integers(10_000_000)), frames=max(frames, 17))
    length, size = scene.frames.shape[:2]
    first = int(random.integers(length - frames + 1))
    middle = (
        scene.actors[0].path[first + frames // 2] if random.random() < training.near else random.uniform(0, size, 2)
    )
    x, y = (np.clip(middle + random.uniform(-20, 20, 2) - side / 2, 0, size - side)).astype(int)
    window = np.s_[first : first + frames, y : y + side, x : x + side]
    weight = 1 + (training.sprite_weight - 1) * sprites_cover(scene)[window]
    pixels = torch.from_numpy(scene.frames[window]) * 2 - 1
    return rearrange(pixels, "t h w c -> c t h w").contiguous(), torch.from_numpy(weight)[None]


def sprites_cover(scene: Scene) -> np.ndarray:
    """(T, H, W) float32: 1 on and just around the sprites."""
    height, width = scene.frames.shape[1:3]
    y, x = np.mgrid[:height, :width]
    reach = [actor.path for actor in scene.actors], [1.25 * actor.radius + 2 for actor in scene.actors]
    near = [
        np.hypot(x - path[:, 0, None, None], y - path[:, 1, None, None]) < radius
        for path, radius in zip(*reach, strict=True)
    ]
    return np.any(near, axis=0).astype(np.float32)


@torch.no_grad()
def quality(vae: wan_vae.WanVAE, size: int, frames: int, clips: int, first_seed: int = 500) -> dict[str, float]:
    """PSNR in dB of reconstructed scenes that it was not trained on, by background, and the mean as "all"."""
    errors: dict[str, list[float]] = {}
    for number in range(clips):
        scene = make_scene(list(KINDS)[number % len(KINDS)], first_seed + number, size, frames)
        pixels = rearrange(torch.from_numpy(scene.frames), "t h w c -> 1 c t h w") * 2 - 1
        error = (decode(vae, encode(vae, pixels)[0]).clamp(-1, 1) - pixels).square().mean() / 4
        errors.setdefault(scene.background, []).append(-10 * float(error.log10()))
    means = {name: round(float(np.mean(values)), 2) for name, values in sorted(errors.items())}
    return {**means, "all": round(float(np.mean([value for values in errors.values() for value in values])), 2)}
