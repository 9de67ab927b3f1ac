"""MotionClone's objective: which frame each token attends to most at its own place (arXiv 2406.05338, section 3).

Axes: F latent frames, H W rows and columns of tokens, n heads, d channels of a head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import einsum
from torch import Tensor

from ..attention.matching import compute_dtype
from ..config import GuidanceConfig
from ..motion.embedding import MotionEmbedding
from .method import Method
from .protocol import MotionLoss, Needs, Signals


@dataclass(frozen=True)
class MotionClone(Method):
    """The squared error of temporal attention where the reference's is largest, times `weight`.

    In its network time has an attention of its own. In a video transformer the same is the attention of a token to the
    tokens at its place. The paper moves the sampler's score by the gradient; the Polyak step, one gradient a guided
    step, stands for that.
    """

    weight: float = 2000.0
    """`motion_guidance_weight` of the released code. The Polyak step goes by the loss, so that it cancels."""

    name = "MotionClone"
    source = "MotionClone, arXiv 2406.05338"
    schedule = GuidanceConfig(inner_steps=1, optimizer="polyak", end_percent=0.6)
    whole_clip = True

    def compares(self, blocks: tuple[int, ...]) -> Needs:
        """q and k."""
        return Needs(queries_and_keys=blocks)

    def read(self, signals: Signals) -> Mapping[str, Tensor]:
        """The frame that is attended to most, and how much, (F, H, W, n) each."""
        value, frame = temporal_attention(signals.q, signals.k).max(-1)
        return {"frame": frame.to(torch.float32), "value": value}

    def target(self, motion: MotionEmbedding, sigma: float, device: torch.device) -> MotionCloneTarget:
        """The reference's attention nearest to `sigma`.

        Raises:
            ValueError: the motion names frames that it does not have.
        """
        frame, value = self.kept(motion, sigma, device, "frame", "value")
        frames = motion.grid.frames
        if (
            frame.shape != value.shape
            or frame.shape[:-1] != motion.grid.as_tuple
            or not bool(((frame >= 0) & (frame < frames)).all())
        ):
            raise ValueError(f"motion: expected MotionClone's frames of {motion.grid}, got others; read it again.")
        mask = None if motion.mask is None else motion.mask.to(device)
        return MotionCloneTarget(frame.long(), value, mask, self.weight)


@dataclass(frozen=True, eq=False)
class MotionCloneTarget:
    """The attention that generated clips are compared with."""

    frame: Tensor
    """(F, H, W, n)."""
    value: Tensor
    """(F, H, W, n)."""
    mask: Tensor | None
    """(F, H, W) in [0, 1], how much each token counts."""
    weight: float

    def loss(self, signals: Signals) -> MotionLoss:
        """The loss of one clip."""
        attention = temporal_attention(signals.q, signals.k)
        there = attention.gather(-1, self.frame[..., None])[..., 0]
        error = (there - self.value.to(there)).square().mean(-1)
        counts = torch.ones_like(error) if self.mask is None else self.mask.to(error)
        loss = (counts * error).sum() / counts.sum()
        return MotionLoss(self.weight * loss, {"motionclone": loss})


def temporal_attention(q: Tensor, k: Tensor) -> Tensor:
    """(F, H, W, n, F): how much the token at a place attends to that place in every frame, of these alone."""
    dtype = compute_dtype(q)
    logits = einsum(q.to(dtype), k.to(dtype), "i h w n d, j h w n d -> i h w n j") / math.sqrt(q.shape[-1])
    return logits.softmax(-1)
