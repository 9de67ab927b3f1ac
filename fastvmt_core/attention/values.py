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
from torch.nn.functional import normalize

from .windows import token_positions

TEMPERATURE = 0.07
"""T: the cosine of two tokens' values is divided by it."""
STILLNESS = 0.4
"""Taken from the logit for a displacement of one token, by its square for others: flat areas match everywhere."""


def value_features(v: Tensor, mean: Tensor) -> Tensor:
    """(H, W, n * d) float32: a frame's values less `mean`, of unit length.

    Args:
        v: (H, W, n, d).
        mean: (n, d), of all tokens of the clip.
    """
    return normalize(rearrange(v.float() - mean, "h w n d -> h w (n d)"), dim=-1)


@torch.no_grad()
def value_steps(v: Tensor, temperature: float = TEMPERATURE, stillness: float = STILLNESS) -> Tensor:
    """(F - 1, H, W, 2) float32, tokens (dx, dy): the expected displacement of each token to the next frame.

    The logit of a displacement d is cosine / T - stillness |d|^2.

    Args:
        v: (F, H, W, n, d), values of a block's self-attention.
        temperature: T.
        stillness: cost of a displacement of one token.
    """
    frames, height, width = v.shape[:3]
    # Frame by frame: a whole clip's values in float32 would take VRAM that no plan has counted.
    mean = torch.stack([frame.float().mean((0, 1)) for frame in v]).mean(0)
    positions = rearrange(token_positions(height, width, device=v.device), "h w xy -> (h w) xy")
    cost = stillness * torch.cdist(positions, positions).square()
    steps = positions.new_zeros(frames - 1, height * width, 2)
    now = rearrange(value_features(v[0], mean), "h w c -> (h w) c")
    for time in range(frames - 1):
        later = rearrange(value_features(v[time + 1], mean), "h w c -> (h w) c")
        steps[time] = (now @ later.T / temperature - cost).softmax(-1) @ positions - positions
        now = later
    return rearrange(steps, "f (h w) xy -> f h w xy", h=height)
