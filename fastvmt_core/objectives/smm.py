"""SMM's objective: how a frame's mean features differ from every other frame's (arXiv 2311.17009, section 4).

Axes: F latent frames (t, i), H W rows and columns of tokens, C channels of a block's output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import reduce
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ..attention.matching import compute_dtype
from ..config import GuidanceConfig
from ..motion.embedding import MotionEmbedding
from .method import Method
from .protocol import MotionLoss, Needs, Signals


@dataclass(frozen=True)
class SMM(Method):
    """Sum over frames i of the mean over channels of 1 - cos over t of (phi_t - phi_i) to the reference's.

    phi is the spatial marginal mean: a frame's mean over its tokens. The paper takes squared differences; the cosine,
    and the schedule, are those of the version for transformers in DiTFlow's released code. A mask confines the steps
    alone.
    """

    name = "SMM"
    source = "Space-Time Features for Text-driven Motion Transfer, arXiv 2311.17009"
    schedule = GuidanceConfig(inner_steps=10, lr_start=0.007, lr_end=0.004, gradient_interval=1, end_percent=0.4)
    whole_clip = True

    def compares(self, blocks: tuple[int, ...]) -> Needs:
        """The blocks' outputs."""
        return Needs(hidden=blocks)

    def read(self, signals: Signals) -> Mapping[str, Tensor]:
        """phi (F, C)."""
        return {"mean": spatial_mean(signals.hidden)}

    def target_of_frames(self, target: Mapping[str, Tensor], frames: Sequence[int]) -> Mapping[str, Tensor]:
        """phi of these frames."""
        return {"mean": target["mean"][list(frames)]}

    def target(self, motion: MotionEmbedding, sigma: float, device: torch.device) -> SMMTarget:
        """phi nearest to `sigma`."""
        return SMMTarget(*self.kept(motion, sigma, device, "mean"))


@dataclass(frozen=True, eq=False)
class SMMTarget:
    """The differences that generated clips are compared with."""

    mean: Tensor
    """(F, C)."""

    def loss(self, signals: Signals) -> MotionLoss:
        """The loss of one clip."""
        phi = spatial_mean(signals.hidden)
        # (t, i, C); the cosine is over t.
        generated, reference = (each[:, None] - each[None] for each in (phi, self.mean.to(phi)))
        loss = (1 - cosine_similarity(generated, reference, dim=0)).mean(-1).sum()
        return MotionLoss(loss, {"smm": loss})


def spatial_mean(hidden: Tensor) -> Tensor:
    """(F, C) of features (F, H, W, C)."""
    return reduce(hidden.to(compute_dtype(hidden)), "f h w c -> f c", "mean")
