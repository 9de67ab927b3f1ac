"""The classifier: which colour and which shape the sprite of a clip has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from safetensors.torch import load_file
from torch import nn

from tools.train.checkpoint import write_tensors
from tools.train.clips import make_clip
from tools.train.patterns import COLOURS, SHAPES, Floats

WIDTHS = (24, 48, 64)
RATE = 2e-3
BATCH = 24
FIRST_SEED = 80_000_000
"""Of the clips it learns from."""


class Classifier(nn.Module):
    """Frames (N, 3, H, W) in [0, 1] -> logits of the colours and of the shapes, at any place of the sprite."""

    def __init__(self) -> None:
        super().__init__()
        layers, before = [], 3
        for width in WIDTHS:
            layers += [nn.Conv2d(before, width, 5, stride=2, padding=2), nn.BatchNorm2d(width), nn.SiLU()]
            before = width
        layers += [nn.Conv2d(before, before, 5, padding=2), nn.BatchNorm2d(before), nn.SiLU()]
        self.features = nn.Sequential(*layers)
        self.where = nn.Conv2d(before, 1, 1)
        self.colours = nn.Linear(before, len(COLOURS))
        self.shapes = nn.Linear(before, len(SHAPES))

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (N, colours) and (N, shapes), read at the likely place of the sprite."""
        features = self.features(frames * 2 - 1)
        share = self.where(features).flatten(2).softmax(-1)
        read = torch.einsum("nop,ncp->nc", share, features.flatten(2))
        return self.colours(read), self.shapes(read)

    @classmethod
    def load(cls, path: Path) -> Classifier:
        """The classifier of a file, ready to judge."""
        classifier = cls()
        classifier.load_state_dict(load_file(path))
        return classifier.eval()

    def save(self, path: Path) -> None:
        """The weights are written as safetensors."""
        write_tensors(path, self.state_dict())

    @torch.no_grad()
    def judge(self, frames: Floats) -> tuple[str, str]:
        """Colour and shape of the sprite in a clip (T, H, W, 3) in [0, 1], all frames taken together."""
        images = rearrange(torch.from_numpy(np.asarray(frames, np.float32)), "t h w c -> t c h w")
        sums = [reduce(logits.log_softmax(-1), "t k -> k", "sum") for logits in self(images)]
        return tuple(list(names)[int(total.argmax())] for names, total in zip((COLOURS, SHAPES), sums, strict=True))


def loss(classifier: Classifier, seed: int, step: int) -> torch.Tensor:
    """Cross entropy of colour and shape on single frames, blurred and faded as generated clips are."""
    random = np.random.default_rng((seed, step))
    images, colours, shapes = [], [], []
    while len(images) < BATCH:
        clip = make_clip(FIRST_SEED + int(random.integers(10_000_000)), camera=random.random() < 0.3, frames=5)
        for time in (0, 4):
            images.append(_worn(clip.frames[time], random))
            colours.append(list(COLOURS).index(clip.colour))
            shapes.append(list(SHAPES).index(clip.shape))
    device = next(classifier.parameters()).device
    of_colour, of_shape = classifier(torch.stack(images).to(device))
    in_colour = F.cross_entropy(of_colour, torch.tensor(colours, device=device))
    return in_colour + F.cross_entropy(of_shape, torch.tensor(shapes, device=device))


def _worn(frame: Floats, random: np.random.Generator) -> torch.Tensor:
    """(3, H, W) of a frame with some blur, noise, tint and contrast."""
    image = rearrange(torch.from_numpy(frame), "h w c -> 1 c h w")
    sigma = float(random.uniform(0.1, 2.0))
    taps = torch.exp(-0.5 * (torch.arange(-4, 5) / sigma) ** 2)
    taps = (taps / taps.sum()).repeat(3, 1)
    padded = F.pad(image, (4, 4, 4, 4), mode="replicate")
    image = F.conv2d(F.conv2d(padded, taps[:, None, :, None], groups=3), taps[:, None, None, :], groups=3)[0]
    noise = torch.from_numpy(random.normal(size=image.shape).astype(np.float32))
    smooth = F.interpolate(noise[None, :, ::8, ::8], size=image.shape[1:], mode="bilinear")[0]
    tint = torch.from_numpy(random.uniform(-0.05, 0.05, (3, 1, 1)).astype(np.float32))
    image = image * float(random.uniform(0.8, 1.1)) + tint
    return (image + float(random.uniform(0, 0.05)) * noise + float(random.uniform(0, 0.08)) * smooth).clamp(0, 1)


def accuracy(classifier: Classifier, first_seed: int, clips: int) -> tuple[float, float]:
    """Shares of true clips whose colour and whose shape it recognises."""
    right = np.zeros(2)
    for seed in range(first_seed, first_seed + clips):
        clip = make_clip(seed, camera=seed % 3 == 0)
        right += np.array(classifier.judge(clip.frames)) == (clip.colour, clip.shape)
    return tuple(right / clips)
