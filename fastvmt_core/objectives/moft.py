"""MOFT's objective: features less their mean over time, in the channels that move most (arXiv 2405.14864, section 3).

Axes: F latent frames, H W rows and columns of tokens, C channels of a block's output, K of these that are compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from ..attention.matching import compute_dtype
from ..config import GuidanceConfig
from ..motion.embedding import MotionEmbedding
from .method import Method
from .protocol import MotionLoss, Needs, Signals

ITERATIONS = 50
"""Of the power method."""


@dataclass(frozen=True)
class MOFT(Method):
    """The mean over tokens of 1 - cos of the motion feature to the reference's.

    The channels are those of the largest weight in the first principal component. The cosine, inner steps and learning
    rates are those of the version for transformers in DiTFlow's released code; the paper guides steps 3 to 12 of 25,
    here all up to there.
    """

    share: float = 0.125
    """Of the channels that are compared."""

    name = "MOFT"
    source = "Video Diffusion Models are Training-free Motion Interpreter and Controller, arXiv 2405.14864"
    schedule = GuidanceConfig(inner_steps=5, lr_start=0.002, lr_end=0.001, gradient_interval=1, end_percent=0.48)
    whole_clip = True

    def compares(self, blocks: tuple[int, ...]) -> Needs:
        """The blocks' outputs."""
        return Needs(hidden=blocks)

    def read(self, signals: Signals) -> Mapping[str, Tensor]:
        """The motion feature (F, H, W, K), and which channels these are (K)."""
        moving = without_content(signals.hidden)
        weight = first_component(rearrange(moving, "f h w c -> (f h w) c")).abs()
        channels = weight.topk(math.ceil(self.share * len(weight))).indices.sort().values
        return {"feature": moving[..., channels], "channels": channels.to(torch.float32)}

    def target_of_frames(self, target: Mapping[str, Tensor], frames: Sequence[int]) -> Mapping[str, Tensor]:
        """The feature of these frames, less their own mean over time."""
        return {**target, "feature": without_content(target["feature"][list(frames)])}

    def target(self, motion: MotionEmbedding, sigma: float, device: torch.device) -> MOFTTarget:
        """The motion feature nearest to `sigma`.

        Raises:
            ValueError: the motion's channels are no numbers of channels.
        """
        feature, channels = self.kept(motion, sigma, device, "feature", "channels")
        if feature.shape != (*motion.grid.as_tuple, len(channels)) or bool((channels < 0).any()):
            raise ValueError(
                f"motion: expected MOFT's feature on {motion.grid}, got {tuple(feature.shape)}; read again."
            )
        mask = None if motion.mask is None else motion.mask.to(device)
        return MOFTTarget(feature, channels.long(), mask)


@dataclass(frozen=True, eq=False)
class MOFTTarget:
    """The motion feature that generated clips are compared with."""

    feature: Tensor
    """(F, H, W, K)."""
    channels: Tensor
    """(K)."""
    mask: Tensor | None
    """(F, H, W) in [0, 1], how much each token counts."""

    def loss(self, signals: Signals) -> MotionLoss:
        """The loss of one clip."""
        last, channels = int(self.channels.max()), signals.hidden.shape[-1]
        if last >= channels:
            raise ValueError(
                f"motion: expected channels below {channels}, the model's, got {last}; read the motion again with "
                "this model."
            )
        moving = without_content(signals.hidden[..., self.channels])
        apart = 1 - cosine_similarity(moving, self.feature.to(moving), dim=-1)
        counts = torch.ones_like(apart) if self.mask is None else self.mask.to(apart)
        loss = (counts * apart).sum() / counts.sum()
        return MotionLoss(loss, {"moft": loss})


def without_content(hidden: Tensor) -> Tensor:
    """Features (F, H, W, C) less their mean over time, which is what a place shows in all frames."""
    hidden = hidden.to(compute_dtype(hidden))
    return hidden - hidden.mean(0)


def first_component(rows: Tensor) -> Tensor:
    """(C), of unit length: the first principal component of rows (N, C) whose mean is 0, by the power method."""
    component = normalize(rows.square().mean(0).sqrt(), dim=0)
    for _ in range(ITERATIONS):
        component = normalize(rows.T @ (rows @ component), dim=0)
    return component
