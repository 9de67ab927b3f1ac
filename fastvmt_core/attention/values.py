"""Flow of values: where each token's content goes in the next frame, by the values of one self-attention.

q and k carry a token's position and appearance; its values carry its content, and match where the content moved. On the
demo's tiny model the flow of values has a cosine of .85 with the true displacement, the attention motion flow of the
same pass one of .43 (benchmarks/results/shown_motion.json).

Axes: F latent frames, H and W rows and columns of tokens, n heads, d channels of a head.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

TEMPERATURE = 0.07
"""T: the cosine of two tokens' values is divided by it."""
STILLNESS = 0.4
"""Taken from the logit for a displacement of one token, by its square for others: flat areas match everywhere."""


def value_features(v: Tensor) -> Tensor:
    """(F, H, W, n * d) float32: a clip's values less their mean over all its tokens, of unit length.

    Args:
        v: (F, H, W, n, d).
    """
    features = rearrange(v, "f h w n d -> f h w (n d)").float()
    return torch.nn.functional.normalize(features - features.mean((0, 1, 2)), dim=-1)


@torch.no_grad()
def value_steps(v: Tensor, temperature: float = TEMPERATURE, stillness: float = STILLNESS) -> Tensor:
    """(F - 1, H, W, 2) float32 on the CPU, tokens (dx, dy): the expected displacement of each token to the next frame.

    The logit of a displacement d is cosine / T - stillness |d|^2.

    Args:
        v: (F, H, W, n, d), values of a block's self-attention.
        temperature: T.
        stillness: cost of a displacement of one token.
    """
    frames, height, width = v.shape[:3]
    features = rearrange(value_features(v), "f h w c -> f (h w) c")
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    positions = rearrange(torch.stack((x, y), -1), "h w xy -> (h w) xy").to(features)
    cost = stillness * torch.cdist(positions, positions).square()
    steps = positions.new_zeros(frames - 1, height * width, 2)
    for time in range(frames - 1):
        logits = features[time] @ features[time + 1].T / temperature - cost
        steps[time] = logits.softmax(-1) @ positions - positions
    return rearrange(steps, "f (h w) xy -> f h w xy", h=height).cpu()
