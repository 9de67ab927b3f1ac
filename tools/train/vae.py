"""The tiny Wan VAE: ComfyUI's own class at base width 8, trained on crops of the clips.

Import ``tools.train.comfyui`` first: it makes ComfyUI's modules importable.
"""

from __future__ import annotations

from pathlib import Path

import comfy.ldm.wan.vae as wan_vae
import numpy as np
import torch
import torch.nn.functional as F
from comfy.latent_formats import Wan21
from einops import rearrange
from safetensors.torch import load_file

from tools.train.checkpoint import write_tensors
from tools.train.clips import SIZE, Clip, make_clip

WIDTH, CHANNELS = 8, 16
BATCH = 2
WINDOWS = ((72, 9), (72, 33), (SIZE, 17))
"""(pixels a side, frames) of the windows of its clips in a batch, each as often: trained on the first alone, a
decoder blots later frames, and the edges of whole frames."""
LENGTH = 33
"""Frames of the clips it learns from."""
JUMPS, JUMP = 0.4, (20.0, 80.0)
"""Share of the clips whose sprite jumps in the middle, and how far, in pixels, so that cuts are in its data."""
MUON_RATE, ADAM_RATE = 1e-3, 1e-3
SPRITE_WEIGHT = 4.0
KL_WEIGHT = 1e-4
FIRST_SEED = 50_000_000
"""Of the clips it learns from; the transformer's and the bench's are others."""


class _FastNorm(wan_vae.RMS_norm):
    """The same norm; F.normalize takes half of a CPU's training time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-12) * (self.scale * self.gamma).to(x.dtype)


def make_vae(width: int = WIDTH) -> wan_vae.WanVAE:
    """A VAE with random weights, made to train: near-identity since the host's initialisation loses the image."""
    vae = wan_vae.WanVAE(
        dim=width,
        z_dim=CHANNELS,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        dropout=0.0,
    )
    for module in vae.modules():
        if isinstance(module, wan_vae.ResidualBlock) and isinstance(module.shortcut, torch.nn.Conv3d):
            _pass_through(module.shortcut)
        if isinstance(module, wan_vae.Resample) and module.mode == "downsample3d":
            _pass_through(module.time_conv, tap=2)
        if isinstance(module, wan_vae.Resample) and module.mode == "upsample3d":
            _pass_through(module.time_conv, tap=2)
        if type(module) is wan_vae.RMS_norm:
            module.__class__ = _FastNorm
    with torch.no_grad():
        vae.conv1.bias[CHANNELS:] = -6.0
    return vae


def _pass_through(conv: torch.nn.Conv3d, tap: int = 0) -> None:
    """Input channel c becomes output channel c (and c + n of twice as many), plus a little noise."""
    with torch.no_grad():
        conv.weight.mul_(0.1)
        conv.bias.zero_()
        out, into = conv.weight.shape[:2]
        for channel in range(max(out, into)):
            conv.weight[channel % out, channel % into, tap, 0, 0] += 1.0 / max(1, into // out)


def load_vae(path: Path) -> wan_vae.WanVAE:
    """The VAE of a file, in float32."""
    weights = {name: value.float() for name, value in load_file(path).items()}
    vae = make_vae(len(weights["decoder.head.0.gamma"]))
    vae.load_state_dict(weights)
    return vae


def encode(vae: wan_vae.WanVAE, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 3, T, H, W) in [-1, 1] -> mean and log variance (B, 16, F, h, w).

    The same numbers as the host's chunks, in one pass. Give batches of two or more: PyTorch takes a convolution
    for small batches that is five times slower.
    """
    return vae.conv1(_run(vae.encoder, [*vae.encoder.downsamples, *vae.encoder.middle], pixels)).chunk(2, dim=1)


def decode(vae: wan_vae.WanVAE, latent: torch.Tensor) -> torch.Tensor:
    """(B, 16, F, h, w) -> (B, 3, T, H, W); see ``encode``."""
    return _run(vae.decoder, [*vae.decoder.middle, *vae.decoder.upsamples], vae.conv2(latent))


def _run(coder: torch.nn.Module, stages: list[torch.nn.Module], x: torch.Tensor) -> torch.Tensor:
    x = coder.conv1(x)
    for stage in stages:
        x = _resample(stage, x) if isinstance(stage, wan_vae.Resample) else stage(x)
    return coder.head(x)


def _resample(stage: wan_vae.Resample, x: torch.Tensor) -> torch.Tensor:
    """A resampling as in the host's chunks: frame 0 is never mixed with others, time is halved or doubled."""
    if stage.mode == "upsample3d" and x.shape[2] > 1:
        later = rearrange(stage.time_conv(x[:, :, 1:]), "b (two c) t h w -> b c (t two) h w", two=2)
        x = torch.cat([x[:, :, :1], later], dim=2)
    time = x.shape[2]
    x = rearrange(stage.resample(rearrange(x, "b c t h w -> (b t) c h w")), "(b t) c h w -> b c t h w", t=time)
    if stage.mode == "downsample3d" and time > 1:
        later = F.conv3d(x, stage.time_conv.weight, stage.time_conv.bias, stride=(2, 1, 1))
        x = torch.cat([x[:, :, :1], later], dim=2)
    return x


def batch(seed: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The crops of a step (B, 3, T, S, S) in [-1, 1], of one of WINDOWS, and how much each pixel counts."""
    random = np.random.default_rng((seed, step))
    side, frames = WINDOWS[int(random.integers(len(WINDOWS)))]
    pairs = [_crop(random, side, frames) for _ in range(BATCH)]
    return tuple(torch.stack(parts) for parts in zip(*pairs, strict=True))


def _crop(random: np.random.Generator, side: int, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    seed = FIRST_SEED + int(random.integers(10_000_000))
    jump = random.uniform(*JUMP) if random.random() < JUMPS else 0.0
    clip = make_clip(seed, frames=LENGTH, second=random.random() < 0.3, camera=random.random() < 0.5, jump=jump)
    first = int(random.integers(LENGTH - frames + 1))
    # Around a place of the path more often than anywhere else: the sprites must be drawn well.
    middle = clip.path[first + frames // 2] if random.random() < 0.8 else random.uniform(0, SIZE, 2)
    x, y = (np.clip(middle + random.uniform(-20, 20, 2) - side / 2, 0, SIZE - side)).astype(int)
    window = np.s_[first : first + frames, y : y + side, x : x + side]
    weight = 1 + (SPRITE_WEIGHT - 1) * _sprite_cover(clip)[window]
    pixels = torch.from_numpy(clip.frames[window]) * 2 - 1
    return rearrange(pixels, "t h w c -> c t h w").contiguous(), torch.from_numpy(weight)[None]


def _sprite_cover(clip: Clip) -> np.ndarray:
    """(T, H, W) float32: 1 on and just around the sprites."""
    height, width = clip.frames.shape[1:3]
    y, x = np.mgrid[:height, :width]
    near = [
        np.hypot(x - sprite.path[:, 0, None, None], y - sprite.path[:, 1, None, None]) < sprite.radius + 2
        for sprite in clip.sprites
    ]
    return np.any(near, axis=0).astype(np.float32)


def loss(vae: wan_vae.WanVAE, seed: int, step: int) -> torch.Tensor:
    """L1 + L2 / 2 with the sprites counting more, and a little KL, on the batch of ``step``."""
    device = next(vae.parameters()).device
    pixels, weight = (tensor.to(device) for tensor in batch(seed, step))
    mean, log_variance = encode(vae, pixels)
    log_variance = log_variance.clamp(-20, 4)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(step)).to(device)
    error = decode(vae, mean + noise * (log_variance / 2).exp()) - pixels
    kl = 0.5 * (standardised(mean).square() + log_variance.exp() - 1 - log_variance).mean()
    return ((error.abs() + 0.5 * error.square()) * weight).sum() / weight.sum() / 3 + KL_WEIGHT * kl


def standardised(latent: torch.Tensor) -> torch.Tensor:
    return Wan21().process_in(latent)


@torch.no_grad()
def normalise(vae: wan_vae.WanVAE, latents: torch.Tensor) -> None:
    """Fold an affine map into the VAE's ends that gives ``latents`` (N, 16, F, h, w) the Wan 2.1 statistics.

    After the host's process_in they then have mean 0 and variance 1 in each channel.
    """
    mean, std = (getattr(latents, kind)(dim=(0, 2, 3, 4)) for kind in ("mean", "std"))
    wanted = Wan21()
    gain = wanted.latents_std.flatten() / std
    shift = wanted.latents_mean.flatten() - gain * mean
    vae.conv1.weight[:CHANNELS] *= gain[:, None, None, None, None]
    vae.conv1.bias[:CHANNELS] = vae.conv1.bias[:CHANNELS] * gain + shift
    vae.conv1.bias[CHANNELS:] += 2 * gain.log()
    vae.conv2.bias -= torch.einsum("oi,i->o", vae.conv2.weight[:, :, 0, 0, 0], shift / gain)
    vae.conv2.weight /= gain[None, :, None, None, None]


def export(vae: wan_vae.WanVAE, path: Path) -> None:
    """The VAE is written as the host's loader takes it, in half precision."""
    write_tensors(path, {name: value.half() for name, value in vae.state_dict().items()})


@torch.no_grad()
def encode_clips(vae: wan_vae.WanVAE, clips: list[Clip], raw: bool = False) -> torch.Tensor:
    """The latents of clips of one size, (N, 16, F, h, w), as the transformer sees them (``raw``: as the VAE does)."""
    latents = []
    for first in range(0, len(clips), 2):
        pair = [torch.from_numpy(clip.frames) for clip in clips[first : first + 2]]
        pixels = rearrange(torch.stack([*pair, *pair][:2]), "b t h w c -> b c t h w") * 2 - 1
        mean = encode(vae, pixels.to(next(vae.parameters()).device))[0][: len(pair)]
        latents.append((mean if raw else standardised(mean)).cpu())
    return torch.cat(latents)


@torch.no_grad()
def decode_clips(vae: wan_vae.WanVAE, latents: torch.Tensor) -> np.ndarray:
    """(N, T, H, W, 3) in [0, 1] of latents as the transformer makes them, two at a time."""
    frames = []
    for pair in Wan21().process_out(latents).split(2):
        pixels = decode(vae, torch.cat([pair, pair])[:2])[: len(pair)]
        frames.append(rearrange(pixels.clamp(-1, 1) / 2 + 0.5, "b c t h w -> b t h w c"))
    return torch.cat(frames).numpy()
