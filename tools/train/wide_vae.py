"""The wider VAE: twice the channels, started from the narrow one's weights, trained on every kind of scene.

Import ``tools.train.comfyui`` first: it makes ComfyUI's modules importable.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import comfy.ldm.wan.vae as wan_vae
import numpy as np
import torch
import torch.nn.functional as F
from comfy.latent_formats import Wan21
from einops import rearrange

from tools.train.scenes import KINDS, Scene, make_scene
from tools.train.training import Loss, Pace
from tools.train.vae import CHANNELS, decode, encode, half_precision, load_vae, make_vae, standardised

ALIGNED_ON = 12
"""Batches whose latents decide how latents are aligned to the host's previews."""


@dataclass(frozen=True)
class VaeTraining:
    """How the VAE is trained.

    Args:
        pace: of the encoder's and decoder's training.
        decoder: of the decoder's alone, beside the transformer's, which needs the encoder as it then is.
        windows: (pixels a side, frames, clips in a batch) of what it sees; each makes as many batches. Whole frames
            and long clips are among them: a decoder that never saw them blots their edges and their later frames.
        kinds: how often each kind of scene occurs.
        near: share of the windows that are put around a sprite.
        sprite_weight: how many times as much a sprite's pixels count.
        kl_weight: of the divergence from a standard normal latent.
        preview_weight: of the difference between the colours that the host's preview reads in a latent and the clip's.
        asymmetry: spread of the halves of a doubled weight, as a share of it; twins would stay twins.
        muon_rate, adam_rate: learning rates.
        first_seed: of the scenes; the transformer's and the bench's are others.
        tested: (pixels a side, number) of the other scenes on which it is measured.
    """

    pace: Pace = Pace(steps=800, ema=0.99)
    decoder: Pace = Pace(steps=3000, ema=0.998)
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
    preview_weight: float = 4.0
    asymmetry: float = 0.3
    muon_rate: float = 2e-3
    adam_rate: float = 1e-3
    first_seed: int = 50_000_000
    tested: tuple[tuple[int, int], ...] = ((128, 12), (192, 6))


@torch.no_grad()
def start(path: Path, training: VaeTraining, seed: int) -> wan_vae.WanVAE:
    """The VAE that the training starts from: that of a file, widened, its latents aligned to the host's previews."""
    vae = widened(path, training, seed)
    windows = [batch(training, seed, training.pace.steps + number)[0] for number in range(ALIGNED_ON)]
    latents = [standardised(encode(vae, pixels)[0]) for pixels in windows]
    samples = [rearrange(latent, "b c f h w -> 1 c 1 1 (b f h w)") for latent in latents]
    colours = [rearrange(averaged(pixels), "b c f h w -> 1 c 1 1 (b f h w)") for pixels in windows]
    align(vae, torch.cat(samples, -1), torch.cat(colours, -1))
    return vae


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


def loss(vae: wan_vae.WanVAE, training: VaeTraining, seed: int, step: int) -> Loss:
    """L1 + L2 with the sprites counting more, the previews' error and a little KL, on the batch of ``step``."""
    device = next(vae.parameters()).device
    pixels, weight = (tensor.to(device) for tensor in batch(training, seed, step))
    with half_precision(device):
        mean, log_variance = encode(vae, pixels)
        log_variance = log_variance.float().clamp(-20, 4)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(step)).to(device)
        error = decode(vae, mean + noise * (log_variance / 2).exp()).float() - pixels
    latent = standardised(mean.float())
    kl = 0.5 * (latent.square() + log_variance.exp() - 1 - log_variance).mean()
    previews = (previewed(latent) - averaged(pixels)).square().mean()
    reconstruction = ((error.abs() + error.square()) * weight).sum() / weight.sum() / 3
    value = reconstruction + training.preview_weight * previews + training.kl_weight * kl
    return Loss(f"{pixels.shape[-1]} px x {pixels.shape[2]}", value)


def previewed(latent: torch.Tensor) -> torch.Tensor:
    """(B, 3, F, h, w) in [-1, 1]: the colours that the host's preview shows of a latent (B, 16, F, h, w)."""
    factors, bias = (
        torch.tensor(values, device=latent.device)
        for values in (Wan21.latent_rgb_factors, Wan21.latent_rgb_factors_bias)
    )
    return torch.einsum("bcfhw,cr->brfhw", latent, factors) + bias[:, None, None, None]


@torch.no_grad()
def align(vae: wan_vae.WanVAE, latents: torch.Tensor, colours: torch.Tensor) -> None:
    """Fold a linear map into the VAE's ends: the host's previews of latents show their colours, as well as they can.

    The decoder undoes the map. What the previews do not read becomes uncorrelated, of variance 1.

    Args:
        vae: the one that gave ``latents`` (N, 16, F, h, w), after the host's normalisation.
        latents: of any clips.
        colours: (N, 3, F, h, w) in [-1, 1], what they should show (``averaged``).
    """
    samples, wanted = (values.double().transpose(0, 1).flatten(1) for values in (latents, colours))
    mean = samples.mean(1, keepdim=True)
    whitening = torch.linalg.inv(torch.linalg.cholesky(torch.cov(samples)))
    white = whitening @ (samples - mean)
    offset = wanted.mean(1, keepdim=True)
    reading = (wanted - offset) @ white.T / white.shape[1]
    factors, bias = (torch.tensor(v).double() for v in (Wan21.latent_rgb_factors, Wan21.latent_rgb_factors_bias))
    seen, scale = torch.linalg.qr(factors, mode="complete")
    unread = torch.linalg.qr(reading.T, mode="complete")[0][:, 3:]
    to_seen = torch.linalg.inv(scale[:3].T)
    turn = seen[:, :3] @ to_seen @ reading + seen[:, 3:] @ unread.T
    shift = seen[:, :3] @ to_seen @ (offset - bias[:, None])
    wan = Wan21()
    spread, middle = wan.latents_std.double().flatten(), wan.latents_mean.double().reshape(-1, 1)
    # In the VAE's own units: raw -> gain @ raw + move.
    gain = spread[:, None] * (turn @ whitening) / spread
    move = middle + spread[:, None] * (shift - turn @ whitening @ mean) - gain @ middle
    into, out = vae.conv1, vae.conv2
    into.weight[:CHANNELS] = torch.einsum("ij,jkabc->ikabc", gain.float(), into.weight[:CHANNELS])
    into.bias[:CHANNELS] = (gain @ into.bias[:CHANNELS].double() + move.flatten()).float()
    back = torch.linalg.inv(gain)
    out.bias -= torch.einsum("oj,j->o", out.weight[:, :, 0, 0, 0].double(), (back @ move).flatten()).float()
    out.weight.copy_(torch.einsum("ojabc,ji->oiabc", out.weight.double(), back).float())


def averaged(pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, F, h, w): the mean colour of what each place of a latent shows of pixels (B, 3, T, H, W)."""
    first, later = pixels[:, :, :1], pixels[:, :, 1:]
    return torch.cat([F.avg_pool3d(first, (1, 8, 8)), F.avg_pool3d(later, (4, 8, 8))], 2)


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
def quality(vae: wan_vae.WanVAE, size: int, clips: int, first_seed: int = 500) -> dict[str, float]:
    """PSNR in dB of reconstructed scenes that it was not trained on, by background, and the mean as "all"."""
    errors: dict[str, list[float]] = {}
    for number in range(clips):
        scene = make_scene(list(KINDS)[number % len(KINDS)], first_seed + number, size)
        pixels = rearrange(torch.from_numpy(scene.frames), "t h w c -> 1 c t h w") * 2 - 1
        with half_precision(pixels.device):
            shown = decode(vae, encode(vae, pixels)[0]).float()
        error = (shown.clamp(-1, 1) - pixels).square().mean() / 4
        errors.setdefault(scene.background, []).append(-10 * float(error.log10()))
    means = {name: round(float(np.mean(values)), 2) for name, values in sorted(errors.items())}
    return {**means, "all": round(float(np.mean([value for values in errors.values() for value in values])), 2)}
