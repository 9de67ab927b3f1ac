"""The tiny Wan transformer: ComfyUI's own class, trained by flow matching on encoded clips.

Import ``tools.train.comfyui`` first: it makes ComfyUI's modules importable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import comfy.ldm.wan.model as wan_model
import comfy.ops
import numpy as np
import torch
from comfy.ldm.modules.attention import attention_basic
from safetensors.torch import load_file

from fastvmt_core.tiny_prompt import encode as encode_prompt
from tools.train.checkpoint import write_tensors
from tools.train.dataset import Encoded
from tools.train.optimizers import multiplies_in_bfloat16

SHIFT = 5.0
"""Of the noise levels it is trained at; sigmoid(1.1 z) before."""
UNPROMPTED = 0.12
"""Share of the batch that is trained with the null prompt."""
MUON_RATE, ADAM_RATE = 4e-3, 2e-3
EMA = 0.995


@dataclass(frozen=True)
class Shape:
    """Size of a transformer."""

    dim: int = 256
    depth: int = 6
    ffn: int = 512


def make_dit(shape: Shape = Shape()) -> wan_model.WanModel:
    """A transformer with random weights; each block starts as the identity."""
    dit = wan_model.WanModel(
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


def load_dit(path: Path) -> wan_model.WanModel:
    """The transformer of a file, in float32."""
    dit = make_dit()
    dit.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return dit


def keep_queries_and_keys(dit: wan_model.WanModel) -> None:
    """The queries and keys of the self-attentions stay as they are: training them on makes motion harder to read.

    Measured over 16 references: .973 with it kept, .918 to .955 without, .967 before (assets/models/MODEL_CARD.md).
    """
    for block in dit.blocks:
        for part in (block.self_attn.q, block.self_attn.k, block.self_attn.norm_q, block.self_attn.norm_k):
            part.requires_grad_(False)


def export(dit: wan_model.WanModel, path: Path) -> None:
    """The transformer is written as the host's loader takes it, in half precision."""
    write_tensors(path, {name: value.half() for name, value in dit.state_dict().items()})


def flow_matching_loss(dit: wan_model.WanModel, data: list[Encoded], seed: int, step: int) -> torch.Tensor:
    """Mean squared error of the predicted velocity, noise - clip, on the batch of ``step``."""
    random = np.random.default_rng((seed, step))
    part = data[int(random.choice(len(data), p=_shares(data)))]
    chosen = random.choice(len(part.prompts), part.bucket.batch)
    generator = torch.Generator().manual_seed(int(random.integers(2**62)))
    device = next(dit.parameters()).device
    clips = part.latents[chosen].float().to(device)
    noise = torch.randn(clips.shape, generator=generator).to(device)
    raw = torch.sigmoid(1.1 * torch.randn(16 * len(clips), generator=generator)[: len(clips)])
    sigma = (SHIFT * raw / (1 + (SHIFT - 1) * raw)).to(device)
    prompts = ["" if random.random() < UNPROMPTED else part.prompts[index] for index in chosen]
    level = sigma[:, None, None, None, None]
    half = torch.autocast(device.type, torch.bfloat16, enabled=multiplies_in_bfloat16(device))
    with half, _trained_quickly(device):
        predicted = velocity(dit, level * noise + (1 - level) * clips, sigma, prompts)
    return (predicted - (noise - clips)).square().mean()


def velocity(dit: wan_model.WanModel, x: torch.Tensor, sigma: torch.Tensor, prompts: list[str]) -> torch.Tensor:
    """The predicted velocity (B, 16, F, h, w) at noise levels (B,)."""
    return dit(x, sigma * 1000, _context(prompts).to(x.device))


def sample(
    dit: wan_model.WanModel, prompts: list[str], latent: tuple[int, int, int], seed: int, steps: int = 25
) -> torch.Tensor:
    """(N, 16, F, h, w) by Euler steps, shift 8 and CFG 4, for the report; ``latent`` is (F, h, w)."""
    x = torch.randn(len(prompts), 16, *latent, generator=torch.Generator().manual_seed(seed))
    even = torch.linspace(1, 0, steps + 1)
    sigmas = 8 * even / (1 + 7 * even)
    with torch.no_grad():
        for now, after in zip(sigmas[:-1], sigmas[1:], strict=True):
            level = now.expand(len(x))
            prompted, null = (velocity(dit, x, level, words) for words in (prompts, [""] * len(x)))
            x = x + (after - now) * (null + 4 * (prompted - null))
    return x


@contextmanager
def _trained_quickly(device: torch.device) -> Iterator[None]:
    """On a CPU: the host's attention by two plain products, and rotation by a complex one (1.3 times as fast)."""
    original = wan_model.optimized_attention, wan_model.apply_rope1
    if device.type == "cpu":
        wan_model.optimized_attention, wan_model.apply_rope1 = attention_basic, _rotate
    try:
        yield
    finally:
        wan_model.optimized_attention, wan_model.apply_rope1 = original


def _rotate(x: torch.Tensor, freqs: torch.Tensor) -> torch.Tensor:
    """Rotary positions: ``x`` (B, L, heads, d) turned by ``freqs`` (1, L, 1, d / 2, 2, 2), matrices of rotation."""
    turns = torch.complex(freqs[..., 0, 0].float(), freqs[..., 1, 0].float())
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(-2).type_as(x)


def _shares(data: list[Encoded]) -> np.ndarray:
    """How often each bucket makes a batch: clips count alike, so buckets with small batches come more often."""
    batches = np.array([part.bucket.share / part.bucket.batch for part in data])
    return batches / batches.sum()


@lru_cache(maxsize=4096)
def _features(prompt: str) -> torch.Tensor:
    return encode_prompt(prompt)[0]


def _context(prompts: list[str]) -> torch.Tensor:
    """(B, words, 4096); prompts of one length, as those of one sprite and the null prompt are."""
    return torch.stack([_features(prompt) for prompt in prompts])
