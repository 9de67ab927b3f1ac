"""How the transformer is trained: flow matching on the pools of encoded scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from comfy.ldm.wan.model import WanModel
from einops import rearrange

from tools.train.dit import conditioned, velocity
from tools.train.latents import SHARD, Pool
from tools.train.training import Loss, Pace, noise_levels


@dataclass(frozen=True)
class TransformerTraining:
    """How the transformer is trained.

    Args:
        pace: steps, learning rates' rise and fall, average of the weights.
        muon_rate, adam_rate: highest learning rates.
        shift: of the noise levels, sigmoid(1.1 z) before.
        unprompted: share of the scenes with the null prompt.
        imaged: share of the scenes with the first frame given, of those that have its latent.
        frame_levels: share of the batches with a moving camera whose frames each have a noise level of their own.
    """

    pace: Pace = Pace(steps=40_000, warm_up=300, decay=0.3, ema=0.999)
    muon_rate: float = 4e-3
    adam_rate: float = 2e-3
    shift: float = 5.0
    unprompted: float = 0.12
    imaged: float = 0.75
    frame_levels: float = 0.8


def loss(dit: WanModel, pools: dict[str, Pool], training: TransformerTraining, seed: int, step: int) -> Loss:
    """Mean squared error of the predicted velocity, noise - scene, on the batch of ``step``."""
    random = np.random.default_rng((seed, step))
    generator = torch.Generator().manual_seed(int(random.integers(2**62)))
    parts = [pool.part for pool in pools.values()]
    part = parts[int(random.choice(len(parts), p=[part.share for part in parts]))]
    pooled = random.random() < part.pooled
    latents, images, known, prompts = _drawn(pools[part.name], training, random, step, part.batch * (1 + pooled))
    if pooled:
        latents, images = (F.avg_pool3d(values, (1, 2, 2)) for values in (latents, images))
    noise = torch.randn(latents.shape, generator=generator)
    own = part.kind == "camera" and random.random() < training.frame_levels
    sigma = noise_levels((len(latents), latents.shape[2] if own else 1), generator, training.shift)
    level = rearrange(sigma, "b f -> b 1 f 1 1")
    x = level * noise + (1 - level) * latents
    predicted = velocity(dit, x, sigma if own else sigma[:, 0], prompts, conditioned(images, known))
    return Loss("pooled" if pooled else part.name, (predicted - (noise - latents)).square().mean())


def _drawn(
    pool: Pool, training: TransformerTraining, random: np.random.Generator, step: int, count: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[str]]:
    """Latents and images (count, 16, F, h, w), where the image is known (count,), and prompts."""
    shards = pool.at(step)
    places = random.integers((len(shards), SHARD), size=(count, 2))
    chosen = [(shards[shard], scene) for shard, scene in places]
    known = [shard.images is not None and random.random() < training.imaged for shard, _ in chosen]
    latents = torch.stack([shard.latents[scene] for shard, scene in chosen]).float()
    images = torch.stack(
        [
            shard.images[scene] if given else torch.zeros_like(shard.latents[scene])
            for (shard, scene), given in zip(chosen, known, strict=True)
        ]
    )
    prompts = ["" if random.random() < training.unprompted else shard.prompts[scene] for shard, scene in chosen]
    return latents, images.float(), torch.tensor(known), prompts
