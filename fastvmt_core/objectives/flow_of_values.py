"""Flow of values: where each token's content goes, by the values of a block, and where it stands, by its q and k.

Ours. Values match where the content of a token moved (`attention.values`), but say nothing about its place; the pairs
(i, i) of the attention motion flow do.

Axes: P pairs (i, j) of latent frames, F latent frames, H W rows and columns of tokens, n heads, d channels of a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import normalize

from ..attention.flow import AttentionMotionFlow, attention_motion_flow
from ..attention.matching import compute_dtype
from ..attention.values import TEMPERATURE
from ..config import AMFConfig, GuidanceConfig, LossWeights
from ..motion.embedding import MotionEmbedding
from .fastvmt import FastVMT, motion_loss
from .method import Method
from .protocol import MotionLoss, Needs, Signals


@dataclass(frozen=True)
class FlowOfValues(Method):
    """The squared error of displacements: of pairs (i, j) by values, of (i, i) by q and k.

    Of the loss weights `amf`, `self_pairs` and `distance_decay` count, as in FastVMT.
    """

    weights: LossWeights = LossWeights(consistency=0)
    temperature: float = TEMPERATURE
    """T: the cosine of two tokens' values is divided by it."""

    name = "flow of values"
    source = "this pack"
    schedule = GuidanceConfig(inner_steps=1, optimizer="polyak", end_percent=0.6)

    def compares(self, blocks: tuple[int, ...]) -> Needs:
        """q, k and v."""
        return Needs(queries_and_keys=blocks, values=blocks)

    def flow_signals(self, blocks: tuple[int, ...]) -> Needs:
        """The same."""
        return self.compares(blocks)

    def flow_config(self, config: AMFConfig, frames: int) -> AMFConfig:
        """The whole frame: a cosine of values picks its match out of all tokens."""
        del frames
        return replace(config, window=None)

    def flow(self, signals: Signals, config: AMFConfig, centres: Tensor | None = None) -> AttentionMotionFlow:
        """Displacements (i, j) of values, (i, i) of q and k; differentiable in all three."""
        features = value_vectors(signals.v, self.temperature)
        flow = attention_motion_flow(features, features, config, centres, window_keys=False)
        own = attention_motion_flow(signals.q, signals.k, replace(config, temporal_span=1), window_keys=False)
        at = torch.tensor([index for index, (i, j) in enumerate(flow.pairs) if i == j], device=features.device)
        placed = flow.displacement.index_copy(0, at, own.displacement.to(flow.displacement))
        return replace(flow, displacement=placed)

    def weighted(self, weights: LossWeights) -> FlowOfValues:
        """The same with these weights; values have no keys to hold steady."""
        return replace(self, weights=replace(weights, consistency=0.0))

    def pulls(self, motion: MotionEmbedding) -> bool:
        """Whether a weight, a pair of frames of one shot and a place in the mask are left."""
        return FastVMT(self.weights).pulls(motion)

    def target(self, motion: MotionEmbedding, sigma: float, device: torch.device) -> FlowOfValuesTarget:
        """The motion's flow nearest to `sigma`."""
        mask = None if motion.mask is None else motion.mask.to(device)
        return FlowOfValuesTarget(self, motion.flow_at(sigma).to(device), motion.config, mask, motion.cuts)


@dataclass(frozen=True, eq=False)
class FlowOfValuesTarget:
    """The flow that generated clips are compared with."""

    method: FlowOfValues
    reference: AttentionMotionFlow
    config: AMFConfig
    mask: Tensor | None
    cuts: tuple[int, ...]

    def loss(self, signals: Signals) -> MotionLoss:
        """The loss of one clip."""
        flow = self.method.flow(signals, self.config, self.reference.centres)
        loss = motion_loss(self.reference, flow, self.method.weights, self.mask, cuts=self.cuts, tile=self.config.tile)
        return MotionLoss(loss.total, {"amf": loss.amf})


def value_vectors(v: Tensor, temperature: float) -> Tensor:
    """(F, H, W, 1, n * d): values less their mean over the clip, so long that q = k = these have logits cosine / T.

    Args:
        v: (F, H, W, n, d).
        temperature: T.
    """
    v = v.to(compute_dtype(v))
    unit = normalize(rearrange(v - v.mean((0, 1, 2)), "f h w n d -> f h w 1 (n d)"), dim=-1)
    return unit * math.sqrt(math.sqrt(unit.shape[-1]) / temperature)
