"""Tiny networks of families beside Wan, trained on the clips of one sprite: ``python -m tools.train.families KIND --out
FOLDER``.

For research alone: they show whether guided clips of a family follow a reference. The network is the host's own class.
Its latents are those of the shipped tiny VAE, mapped to the family's number of channels, so a token is 16 x 16 pixels
and 4 frames in each. The same command resumes a training that was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch.func import functional_call

import tools.train.comfyui  # noqa: F401 (before what imports ComfyUI)
from fastvmt_core.tiny_prompt import encode
from tools.host import made_families
from tools.host.layout import REPO
from tools.host.made_families import Kind, loaded_of, network_of
from tools.host.random_weights import random_weights
from tools.train.clips import make_clip
from tools.train.dit import export
from tools.train.optimizers import make_optimizers, multiplies_in_bfloat16
from tools.train.training import Loss, Pace, noise_levels, train
from tools.train.vae import encode_clips, load_vae

VAE = REPO / "assets" / "models" / "vae" / "tinywan_vae_fp16.safetensors"
TEXT = 64
"""Width of a prompt's vectors."""
CHANNELS = 64
"""Of a token: 2 x 2 latent pixels of the tiny VAE."""
LTXV = {**made_families.TRANSFORMER, "num_layers": 4, "attention_head_dim": 128, "cross_attention_dim": 256}
KINDS = {
    "ltxv": dataclasses.replace(
        made_families.KINDS["ltxv"], arguments=LTXV, metadata={"config": json.dumps({"transformer": LTXV})}
    ),
    "hunyuan15": made_families.KINDS["hunyuan15"],
}
BLOCKS, READERS = ("transformer_blocks.", "double_blocks."), ("attn2", "norm1", "norm2")
"""Names of the blocks, and of their parts that read the tokens which the block writes into later."""


@dataclasses.dataclass(frozen=True)
class FamilyTraining:
    """How such a network is trained: as the shipped tiny Wan was."""

    steps: int
    clips: int = 1500
    batch: int = 12
    muon_rate: float = 4e-3
    adam_rate: float = 2e-3
    shift: float = 5.0
    unprompted: float = 0.12


TRAININGS = {"ltxv": FamilyTraining(steps=6000), "hunyuan15": FamilyTraining(steps=5000)}
"""LTX-Video's network has a quarter of Hunyuan's weights, and takes half the time a step."""


def main() -> None:
    """One network is trained to its end, and written as the host's loader takes it."""
    parser = argparse.ArgumentParser(prog="python -m tools.train.families", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--out", type=Path, required=True, help="folder for the clips' latents, checkpoint and model")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kind, training = KINDS[options.kind], TRAININGS[options.kind]
    options.out.mkdir(parents=True, exist_ok=True)
    latents, prompts = encoded_clips(options.out / "clips.safetensors", training.clips)
    channels = channel_map(latents, kind.latent_channels)
    save_file(channels, options.out / f"{options.kind}_channels.safetensors")
    latents = to_channels(latents, channels)
    model = loaded_of(kind, first_weights(kind))
    network = model.model.diffusion_model.requires_grad_(True)
    with trainable(network):
        train(
            options.kind,
            network,
            make_optimizers(network.named_parameters(), BLOCKS, training.muon_rate, training.adam_rate),
            lambda step: loss(model, latents, prompts, training, step),
            options.out / f"{options.kind}.checkpoint.safetensors",
            Pace(training.steps, ema=0.995),
            saved=lambda weights, progress: export(weights, progress, options.out / f"{options.kind}.safetensors"),
        )


def encoded_clips(path: Path, count: int) -> tuple[torch.Tensor, list[str]]:
    """Latents (count, 16, 5, 16, 16) of clips of one sprite, as Wan sees them, kept in ``path``, and their prompts."""
    if not path.exists():
        vae, parts = load_vae(VAE).eval(), []
        for first in range(0, count, 50):
            parts.append(encode_clips(vae, [make_clip(seed).frames for seed in range(first, min(first + 50, count))]))
        save_file({"latents": torch.cat(parts).half().contiguous()}, path)
    latents = load_file(path)["latents"].float()
    return latents, [make_clip(seed, frames=2).prompt for seed in range(len(latents))]


def channel_map(latents: torch.Tensor, channels: int) -> dict[str, torch.Tensor]:
    """How a token's 64 values become ``channels`` ones: by its principal components, or turned into more dimensions."""
    values = rearrange(latents[:500], "n c f (h a) (w b) -> (n f h w) (c a b)", a=2, b=2)
    mean = values.mean(0)
    _, vectors = torch.linalg.eigh(torch.cov((values - mean).T))
    turned = torch.linalg.qr(torch.randn(channels, CHANNELS, generator=torch.Generator().manual_seed(0)))[0]
    # Rows by falling variance.
    matrix = vectors.T.flip(0)[:channels] if channels < CHANNELS else turned
    scale = ((values - mean) @ matrix.T).std()
    return {"mean": mean, "matrix": (matrix / scale).contiguous(), "inverse": (matrix.T * scale).contiguous()}


def to_channels(latents: torch.Tensor, channels: dict[str, torch.Tensor]) -> torch.Tensor:
    """(B, 16, F, 2 H, 2 W) of the tiny VAE -> (B, C, F, H, W)."""
    values = rearrange(latents, "n c f (h a) (w b) -> n f h w (c a b)", a=2, b=2)
    return rearrange((values - channels["mean"]) @ channels["matrix"].T, "n f h w c -> n c f h w")


def of_channels(latents: torch.Tensor, channels: dict[str, torch.Tensor]) -> torch.Tensor:
    """The inverse of ``to_channels``."""
    values = rearrange(latents, "n c f h w -> n f h w c") @ channels["inverse"].T + channels["mean"]
    return rearrange(values, "n f h w (c a b) -> n c f (h a) (w b)", a=2, b=2)


@lru_cache
def features(prompt: str) -> torch.Tensor:
    """(4, TEXT) of a prompt of one sprite, or of a blank one: the beginning of the tiny model's own vectors."""
    return encode(prompt)[0, :, :TEXT].contiguous()


def first_weights(kind: Kind) -> dict[str, torch.Tensor]:
    """Random weights; each block starts as the identity, and the network predicts nothing."""
    made = random_weights(network_of(kind).state_dict())
    zero = ("adaln_single.linear", "_mod.lin", "scale_shift_table", "proj_out", "final_layer")
    for name, value in made.items():
        if name.endswith("bias") or any(part in name for part in zero):
            value.zero_()
    return made


@contextmanager
def trainable(network: torch.nn.Module) -> Iterator[None]:
    """A scope in which a network of the host's can be trained on a CPU.

    The host's attention for a CPU saves memory and takes twice as long. The blocks write into their input, of which
    autograd has kept what its readers need: they get a copy.
    """
    import comfy.ldm.common_dit as common
    import comfy.ldm.flux.math as flux
    import comfy.ldm.hunyuan_video.model as hunyuan
    import comfy.ldm.modules.attention as attention

    rms_norm = common.rms_norm
    with ExitStack() as changed:
        copied = mock.patch.object(common, "rms_norm", lambda x, *how, **named: rms_norm(x.clone(), *how, **named))
        changed.enter_context(copied)
        for module in (attention, flux, hunyuan):
            changed.enter_context(mock.patch.object(module, "optimized_attention", attention.attention_pytorch))
        for name, module in network.named_modules():
            if name.startswith(BLOCKS) and name.endswith(READERS):
                hook = module.register_forward_pre_hook(lambda module, given: (given[0].clone(), *given[1:]))
                changed.callback(hook.remove)
        yield


def loss(
    model: Any,  # noqa: ANN401
    latents: torch.Tensor,
    prompts: list[str],
    training: FamilyTraining,
    step: int,
) -> Loss:
    """Mean squared error of the predicted velocity, noise - latent, on the batch of ``step``."""
    random = np.random.default_rng((0, step))
    chosen = random.integers(len(latents), size=training.batch)
    blank = random.random(training.batch) < training.unprompted
    generator = torch.Generator().manual_seed(int(random.integers(2**62)))
    clean = latents[chosen]
    noise = torch.randn(clean.shape, generator=generator)
    sigma = noise_levels((len(clean),), generator, training.shift)
    level = rearrange(sigma, "b -> b 1 1 1 1")
    text = torch.stack([features("" if none else prompts[at]) for at, none in zip(chosen, blank, strict=True)])
    predicted = velocity(model, level * noise + (1 - level) * clean, sigma, text)
    return Loss("one sprite", (predicted - (noise - clean)).square().mean())


def velocity(model: Any, x: torch.Tensor, sigma: torch.Tensor, text: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
    """The velocity that the network of a MODEL predicts for latents (B, C, F, H, W); in bfloat16 where there is."""
    network = model.model.diffusion_model
    dtype = torch.bfloat16 if multiplies_in_bfloat16(x.device) else torch.float32
    weights = {name: weight.to(dtype) for name, weight in network.named_parameters()}
    concat = model.model.concat_cond(noise=x, device=x.device)
    inputs = x if concat is None else torch.cat([x, concat], 1)
    # LTX-Video's forward has no default for the prompt's mask.
    how = {"attention_mask": None} if "attention_mask" in network.forward.__code__.co_varnames else {}
    time = model.model.model_sampling.timestep(sigma)
    return functional_call(network, weights, (inputs.to(dtype), time, text.to(dtype)), how).float()


if __name__ == "__main__":
    main()
