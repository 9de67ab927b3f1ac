"""The tiny Wan VAE: ComfyUI's own class, and what makes it quick to run and to train.

Import ``tools.train.comfyui`` first: it makes ComfyUI's modules importable.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import comfy.ldm.wan.vae as wan_vae
import torch
import torch.nn.functional as F
from comfy.latent_formats import Wan21
from einops import rearrange
from safetensors.torch import load_file

from tools.train.checkpoint import write_tensors
from tools.train.optimizers import multiplies_in_bfloat16
from tools.train.patterns import Floats

CHANNELS = 16


class _FastNorm(wan_vae.RMS_norm):
    """The same norm; F.normalize takes half of a CPU's training time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-12) * (self.scale * self.gamma).to(x.dtype)


def make_vae(width: int) -> wan_vae.WanVAE:
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


def half_precision(device: torch.device) -> torch.autocast:
    """A scope in which products are in bfloat16, where the device has it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=multiplies_in_bfloat16(device))


def standardised(latent: torch.Tensor) -> torch.Tensor:
    """A latent (B, 16, F, h, w) as the transformer sees it, by the host's means and spreads."""
    return Wan21().process_in(latent)


def export(vae: wan_vae.WanVAE, path: Path) -> None:
    """The VAE is written as the host's loader takes it, in half precision."""
    write_tensors(path, {name: value.half() for name, value in vae.state_dict().items()})


@torch.no_grad()
def encode_clips(vae: wan_vae.WanVAE, clips: Sequence[Floats]) -> torch.Tensor:
    """The latents of clips (T, H, W, 3) of one size, (N, 16, F, h, w) float32, as the transformer sees them."""
    latents = []
    for first in range(0, len(clips), 2):
        pair = [torch.from_numpy(frames) for frames in clips[first : first + 2]]
        pixels = rearrange(torch.stack([*pair, *pair][:2]), "b t h w c -> b c t h w") * 2 - 1
        with half_precision(pixels.device):
            latents.append(standardised(encode(vae, pixels)[0].float())[: len(pair)])
    return torch.cat(latents)
