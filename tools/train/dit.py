"""The tiny Wan transformer: ComfyUI's own class, with the input for an image, and what makes it quick on a CPU.

Import ``tools.train.comfyui`` first: it makes ComfyUI's modules importable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import comfy.ldm.wan.model as wan_model
import comfy.ops
import torch
from comfy.ldm.modules.attention import attention_basic
from torch.func import functional_call

from tools.train.checkpoint import Progress, write_tensors
from tools.train.optimizers import multiplies_in_bfloat16
from tools.train.prompts import encode

LATENT, MASK = 16, 4
"""Channels of a latent, and of the mask that tells which frames of an image's latent are known."""


@dataclass(frozen=True)
class Shape:
    """Size of a transformer."""

    dim: int = 256
    depth: int = 6
    ffn: int = 512


@dataclass(frozen=True)
class Attended:
    """A self-attention's queries and keys (with their rotation) and values, each (B, tokens, heads, d)."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor


def make_dit(shape: Shape = Shape()) -> wan_model.WanModel:
    """A transformer with random weights; each block starts as the identity.

    It takes a latent, and the mask and latent of an image, as Wan 2.2's I2V models do: zeros without an image.
    """
    dit = wan_model.WanModel(
        in_dim=2 * LATENT + MASK,
        dim=shape.dim,
        ffn_dim=shape.ffn,
        num_heads=shape.dim // 128,
        num_layers=shape.depth,
        operations=comfy.ops.disable_weight_init,
        dtype=torch.float32,
    )
    with torch.no_grad():
        for name, weight in dit.named_parameters():
            last = name.rpartition("weight")[0].rstrip(".")
            if name.endswith("bias") or last.endswith((".o", "ffn.2", "head.head", "time_projection.1")):
                weight.zero_()
            elif "norm" in name:
                weight.fill_(1.0)
            elif name.endswith("modulation"):
                weight.normal_(std=0.02)
                if weight.shape[1] == 6:
                    weight[:, [2, 5]] = 1.0
            else:
                weight.normal_(std=weight[0].numel() ** -0.5)
    return dit


def export(weights: Mapping[str, torch.Tensor], progress: Progress, path: Path) -> None:
    """A transformer's weights are written as the host's loader takes them, in half precision, with their progress."""
    write_tensors(path, {name: value.half() for name, value in weights.items()}, progress.metadata)


def velocity(
    dit: wan_model.WanModel,
    x: torch.Tensor,
    sigma: torch.Tensor,
    prompts: list[str],
    images: torch.Tensor | None = None,
    attended: list[Attended] | None = None,
) -> torch.Tensor:
    """The predicted velocity (B, 16, F, h, w) float32; in bfloat16 where the device has it, beside float32 weights.

    Args:
        dit: the transformer.
        x: noisy latents (B, 16, F, h, w).
        sigma: noise levels (B,), or (B, F) of each frame.
        prompts: B of them.
        images: (B, 20, F, h, w) of ``conditioned``, or None for no image.
        attended: a list that gets the self-attention of each block.
    """
    if images is None:
        images = x.new_zeros(len(x), MASK + LATENT, *x.shape[2:])
    # The host embeds patches in float32 whatever the precision of the other weights.
    kind = torch.bfloat16 if multiplies_in_bfloat16(x.device) else torch.float32
    weights = {
        name: weight if name.startswith("patch_embedding") else weight.to(kind)
        for name, weight in dit.named_parameters()
    }
    inputs = torch.cat([x, images], 1).to(kind), sigma * 1000, encode(prompts).to(x.device, kind)
    with _quick(x.device, attended):
        return functional_call(dit, weights, inputs).float()


def conditioned(images: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """(B, 20, F, h, w) for ``velocity``: of latents (B, 16, F, h, w) of first frames, where ``known`` (B,) is true."""
    mask = torch.zeros_like(images[:, :MASK])
    mask[:, :, 0] = 1
    return torch.cat([mask, images], 1) * known[:, None, None, None, None]


@contextmanager
def _quick(device: torch.device, attended: list[Attended] | None) -> Iterator[None]:
    """On a CPU: the host's attention by two plain products, and rotation by a complex one (1.3 times as fast)."""
    original = wan_model.optimized_attention, wan_model.apply_rope1
    attend, rotate = (attention_basic, _rotate) if device.type == "cpu" else original

    def noted(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, **options: object) -> torch.Tensor:
        if attended is not None and q.shape == k.shape:
            attended.append(Attended(*(part.unflatten(-1, (heads, -1)).float() for part in (q, k, v))))
        return attend(q, k, v, heads, **options)

    wan_model.optimized_attention, wan_model.apply_rope1 = noted, rotate
    try:
        yield
    finally:
        wan_model.optimized_attention, wan_model.apply_rope1 = original


def _rotate(x: torch.Tensor, freqs: torch.Tensor) -> torch.Tensor:
    """Rotary positions: ``x`` (B, L, heads, d) turned by ``freqs`` (1, L, 1, d / 2, 2, 2), matrices of rotation."""
    turns = torch.complex(freqs[..., 0, 0].float(), freqs[..., 1, 0].float())
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(-2).type_as(x)
