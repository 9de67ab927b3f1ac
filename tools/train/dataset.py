"""The transformer's data: clips of a few sizes and lengths, encoded once to latents and kept in files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from comfy.ldm.wan.vae import WanVAE
from safetensors import safe_open

from tools.train.checkpoint import write_tensors
from tools.train.clips import Clip, make_clip
from tools.train.vae import encode_clips

FIRST_SEED = 10_000_000
SHARD = 10
"""Clips in a file; a stopped encoding resumes at the next one."""


@dataclass(frozen=True)
class Bucket:
    """Clips of one kind: ``share`` is how large a part of all clips they are, ``batch`` how many make a batch."""

    name: str
    size: int
    frames: int
    share: float
    batch: int


SMALL = Bucket("small", 128, 17, 0.5, 16)
"""The clips that a transformer begins with."""
BUCKETS = (SMALL, Bucket("large", 192, 17, 0.2, 6), Bucket("long", 128, 33, 0.3, 8))


def draw_clip(bucket: Bucket, number: int) -> Clip:
    """Clip ``number`` of a bucket.

    None shows two sprites or a moving camera: a model trained on two sprites puts a second one on the reference's
    motion and leaves the first in its place, and one trained on a moving camera cannot be guided to it.
    """
    seed = FIRST_SEED + 100_000 * BUCKETS.index(bucket) + number
    return make_clip(seed, size=bucket.size, frames=bucket.frames)


def encode_bucket(vae: WanVAE, bucket: Bucket, clips: int, folder: Path) -> None:
    """A bucket's share of ``clips`` clips is encoded into files of SHARD each; existing files are kept."""
    started = time.monotonic()
    shards = max(1, round(bucket.share * clips / SHARD))
    for shard in range(shards):
        path = folder / f"{bucket.name}_{shard:03}.safetensors"
        if path.exists():
            continue
        drawn = [draw_clip(bucket, shard * SHARD + index) for index in range(SHARD)]
        prompts = "\n".join(clip.prompt for clip in drawn)
        write_tensors(path, {"latents": encode_clips(vae, drawn).half()}, {"prompts": prompts})
        seconds = time.monotonic() - started
        print(f"clips: {bucket.name} {(shard + 1) * SHARD} of {shards * SHARD}, {seconds:.0f} s", flush=True)


@dataclass(frozen=True)
class Encoded:
    """A bucket's latents (N, 16, F, h, w) float16, normalised, and the prompt of each."""

    bucket: Bucket
    latents: torch.Tensor
    prompts: tuple[str, ...]


def load_bucket(bucket: Bucket, folder: Path) -> Encoded:
    """The latents of all files of a bucket.

    Raises:
        ValueError: there are none.
    """
    latents, prompts = [], []
    for path in sorted(folder.glob(f"{bucket.name}_*.safetensors")):
        with safe_open(path, "pt") as file:
            latents.append(file.get_tensor("latents"))
            prompts += file.metadata()["prompts"].split("\n")
    if not latents:
        raise ValueError(f"data: expected files {bucket.name}_*.safetensors, got none; encode the clips first.")
    return Encoded(bucket, torch.cat(latents), tuple(prompts))
