"""The transformer's data: scenes encoded once and kept, new ones all the time; which are in use depends on the step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from comfy.ldm.wan.vae import WanVAE
from safetensors import safe_open

from tools.train.checkpoint import write_tensors
from tools.train.scenes import make_scene
from tools.train.vae import encode_clips

FIRST_SEED = 10_000_000
"""Of the scenes; the VAE's and those that are measured on are others."""
SHARD = 4
"""Scenes in a file."""
PICTURED = 3
"""One file in so many also has what the host's WanImageToVideo makes of each scene's first frame."""
REUSE = 48
"""How often a scene is in a batch, on average, before as many new ones have come."""
MOST = 3000
"""Scenes of a part that are in use at a time; older ones are deleted."""


@dataclass(frozen=True)
class Part:
    """Scenes of one kind and size: ``share`` is how often they make a batch, ``batch`` how many are in one.

    ``pooled`` is the share of its batches whose latents are averaged to half their size, and ``first`` the number of
    scenes at step 0.
    """

    name: str
    kind: str
    size: int
    frames: int
    share: float
    batch: int
    first: int
    pooled: float = 0.0

    def shards(self, step: int, resumed: int = 0) -> range:
        """The files that are in use at a step of a training whose earlier latents ended with the step ``resumed``."""
        replaced, new = (int(at * self.share * self.batch / REUSE) for at in (resumed, step))
        scenes = self.first + new
        return range(max(replaced, scenes - MOST) // SHARD, scenes // SHARD)


PARTS = (
    Part("one", "one", 128, 17, 0.39, 16, 48, 0.11),
    Part("camera", "camera", 128, 17, 0.33, 16, 48, 0.11),
    Part("several", "several", 128, 17, 0.17, 16, 48, 0.11),
    Part("large one", "one", 192, 17, 0.03, 6, 8),
    Part("large camera", "camera", 192, 17, 0.03, 6, 8),
    Part("long one", "one", 128, 33, 0.025, 8, 8),
    Part("long camera", "camera", 128, 33, 0.015, 8, 8),
    Part("longest", "one", 128, 65, 0.01, 4, 4),
)


@dataclass(frozen=True)
class Shard:
    """A file's latents (SHARD, 16, F, h, w) float16, normalised, and their prompts.

    ``images`` (the same shape) are the latents of the first frame followed by grey, or None.
    """

    latents: torch.Tensor
    images: torch.Tensor | None
    prompts: tuple[str, ...]


@dataclass
class Pool:
    """The encoded scenes of a part, in memory and in a folder; what is missing there is encoded again, bit for bit."""

    part: Part
    vae: WanVAE
    folder: Path
    resumed: int = 0
    shards: dict[int, Shard] = field(default_factory=dict)

    def at(self, step: int) -> list[Shard]:
        """What is in use at a step; what no longer is gets deleted."""
        numbers = self.part.shards(step, self.resumed)
        for number in numbers:
            if number not in self.shards:
                self.shards[number] = self._read(number)
        for number in [number for number in self.shards if number < numbers.start]:
            del self.shards[number]
            self._file(number).unlink(missing_ok=True)
        return [self.shards[number] for number in numbers]

    def encode(self, step: int) -> None:
        """The files of a step that do not exist yet are written."""
        for number in self.part.shards(step, self.resumed):
            if not self._file(number).exists():
                self._encode(number)

    def _file(self, number: int) -> Path:
        return self.folder / self.part.name.replace(" ", "_") / f"{number:06}.safetensors"

    def _read(self, number: int) -> Shard:
        if not self._file(number).exists():
            self._encode(number)
        with safe_open(self._file(number), "pt") as file:
            images = file.get_tensor("images") if "images" in file.keys() else None  # noqa: SIM118 (no mapping)
            return Shard(file.get_tensor("latents"), images, tuple(file.metadata()["prompts"].split("\n")))

    def _encode(self, number: int) -> None:
        part = self.part
        seeds = range(FIRST_SEED + number * SHARD, FIRST_SEED + (number + 1) * SHARD)
        scenes = [make_scene(part.kind, seed, part.size, part.frames) for seed in seeds]
        tensors = {"latents": encode_clips(self.vae, [scene.frames for scene in scenes]).half()}
        if number % PICTURED == 0:
            tensors["images"] = encode_clips(self.vae, [first_alone(scene.frames) for scene in scenes]).half()
        write_tensors(self._file(number), tensors, {"prompts": "\n".join(scene.prompt for scene in scenes)})


def first_alone(frames: np.ndarray) -> np.ndarray:
    """The first frame, then grey: what WanImageToVideo encodes for it."""
    alone = np.full_like(frames, 0.5)
    alone[0] = frames[0]
    return alone


def open_pools(vae: WanVAE, folder: Path, resumed: int = 0) -> dict[str, Pool]:
    """The pools of PARTS by name, below ``folder``, where each encoder has a folder of its own.

    They begin with the scenes that are new at the step ``resumed``, for a training that goes on without earlier ones.
    """
    digest = hashlib.sha256()
    for name, value in sorted(vae.state_dict().items()):
        if name.startswith(("encoder.", "conv1.")):
            digest.update(value.numpy().tobytes())
    return {part.name: Pool(part, vae, folder / digest.hexdigest()[:12], resumed) for part in PARTS}
