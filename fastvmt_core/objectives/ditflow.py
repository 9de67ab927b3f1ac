"""DiTFlow's objective: the best match of each token of the reference, all frames (arXiv 2412.07776, section 3).

Axes: P pairs (i, j) of latent frames, F latent frames, H W rows and columns of tokens, n heads, d channels of a head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor

from ..attention.flow import AttentionMotionFlow, attention_motion_flow
from ..attention.matching import compute_dtype
from ..attention.windows import Tiling, frame_pairs, token_positions
from ..config import AMFConfig, GuidanceConfig
from ..motion.embedding import MotionEmbedding
from ..video.cuts import straddles
from .method import Method
from .protocol import MotionLoss, Needs, Signals


@dataclass(frozen=True)
class DiTFlow(Method):
    """A = softmax(tau mean over heads of q k^T / sqrt d); argmax of the reference, expectation of the generation.

    The released code also takes the pairs backward in time and injects the reference's k and v into block 0; neither
    is done here.
    """

    tau: float = 2.0
    """`motion_temp` of the released code: multiplies the logits."""

    name = "DiTFlow"
    source = "DiTFlow, arXiv 2412.07776"
    schedule = GuidanceConfig(inner_steps=5, lr_start=0.002, lr_end=0.001, gradient_interval=1, end_percent=0.2)
    whole_clip = True

    def compares(self, blocks: tuple[int, ...]) -> Needs:
        """q and k."""
        return Needs(queries_and_keys=blocks)

    def flow_config(self, config: AMFConfig, frames: int) -> AMFConfig:
        """All pairs of frames, the whole frame, tau."""
        return replace(config, temporal_span=frames, window=None, sharpness=self.tau, centre="self")

    def flow(self, signals: Signals, config: AMFConfig, centres: Tensor | None = None) -> AttentionMotionFlow:
        """The displacement of each token to its best match."""
        del centres
        return best_matches(signals.q, signals.k, config)

    def pulls(self, motion: MotionEmbedding) -> bool:
        """Whether the reference moves at a place in the mask."""
        return super().pulls(motion) and any(bool(flow.displacement.any()) for flow in motion.flows)

    def target(self, motion: MotionEmbedding, sigma: float, device: torch.device) -> DiTFlowTarget:
        """The motion's displacements nearest to `sigma`."""
        flow = motion.flow_at(sigma)
        # Tokens that stand still say nothing (`threshloss` of the released code).
        counts = (flow.displacement != 0).any(-1).float()
        if motion.mask is not None:
            counts = counts * motion.mask[[i for i, _ in flow.pairs]]
        counts[[index for index, pair in enumerate(flow.pairs) if straddles(pair, motion.cuts)]] = 0
        return DiTFlowTarget(flow.to(device), motion.config, counts.to(device))


@dataclass(frozen=True, eq=False)
class DiTFlowTarget:
    """The displacements that generated clips are compared with."""

    reference: AttentionMotionFlow
    config: AMFConfig
    counts: Tensor
    """(P, H, W) in [0, 1], how much each token counts."""

    def loss(self, signals: Signals) -> MotionLoss:
        """The mean squared error of a coordinate, over the tokens that count."""
        flow = attention_motion_flow(signals.q, signals.k, self.config, self.reference.centres, window_keys=False)
        error = (flow.displacement - self.reference.displacement.to(flow.displacement)).square().mean(-1)
        counts = self.counts.to(error)
        loss = (counts * error).sum() / counts.sum().clamp(min=torch.finfo(error.dtype).tiny)
        return MotionLoss(loss, {"flow": loss})


@torch.no_grad()
def best_matches(q: Tensor, k: Tensor, config: AMFConfig) -> AttentionMotionFlow:
    """The flow whose displacements go to the token of the other frame with the largest logit.

    Args:
        q: (F, H, W, n, d).
        k: the same shape.
        config: its temporal span and tiles; the whole frame is searched.
    """
    frames, height, width = q.shape[:3]
    pairs, positions = frame_pairs(frames, config.temporal_span), token_positions(height, width, device=q.device)
    flat = rearrange(positions, "h w xy -> (h w) xy")
    dtype = compute_dtype(q)
    displacement = flat.new_empty(len(pairs), height, width, 2)
    for index, (i, j) in enumerate(pairs):
        queries, keys = (rearrange(frame, "h w n d -> (h w) (n d)").to(dtype) for frame in (q[i], k[j]))
        best = (queries @ keys.T).argmax(-1)
        displacement[index] = rearrange(flat[best], "(h w) xy -> h w xy", h=height) - positions
    own = Tiling(height, width, config.tile).representatives().to(torch.float32)
    return AttentionMotionFlow(
        pairs, displacement, own.expand(len(pairs), -1, -1).clone(), temporal_span=config.temporal_span
    )
