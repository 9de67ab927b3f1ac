"""FastVMT's objective: the weighted AMF loss and the corresponding-window loss (arXiv 2602.05551, section 4).

Axes: P pairs (i, j) of latent frames, F latent frames, H W rows and columns of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import reduce
from torch import Tensor

from ..attention.devices import on_device
from ..attention.flow import AttentionMotionFlow, attention_motion_flow
from ..attention.windows import Tiling
from ..config import AMFConfig, LossWeights
from ..motion.embedding import MotionEmbedding
from ..motion.header import FASTVMT
from ..presets import PRESETS
from ..video.cuts import straddles
from .method import Method
from .protocol import MotionLoss, Needs, Signals


@dataclass(frozen=True)
class FastVMT(Method):
    """Follow the attention motion flow of the reference; see `objectives.protocol.Objective`."""

    weights: LossWeights

    name = FASTVMT
    source = "FastVMT, arXiv 2602.05551"
    schedule = PRESETS["paper"]

    def compares(self, blocks: tuple[int, ...]) -> Needs:
        """q and k."""
        return Needs(queries_and_keys=blocks)

    def weighted(self, weights: LossWeights) -> FastVMT:
        """The same with these weights."""
        return FastVMT(weights)

    def pulls(self, motion: MotionEmbedding) -> bool:
        """Whether a weight, a pair of frames of one shot and a place in the mask are left."""
        if motion.mask is not None and not bool(motion.mask.any()):
            return False
        flow = motion.flows[0]
        weighted = [
            (pair, weight)
            for pair, weight in zip(flow.pairs, _pair_weights(flow, self.weights), strict=True)
            if not straddles(pair, motion.cuts)
        ]
        follows = self.weights.amf > 0 and any(weight > 0 for _, weight in weighted)
        # It compares a frame's keys in two others, the nearer of which is later.
        return follows or (self.weights.consistency > 0 and any(j - i > 1 for (i, j), _ in weighted))

    def target(self, motion: MotionEmbedding, sigma: float, device: torch.device) -> FastVMTTarget:
        """The motion's flow whose noise level is nearest to `sigma`."""
        mask = None if motion.mask is None else motion.mask.to(device)
        return FastVMTTarget(motion.flow_at(sigma).to(device), motion.config, self.weights, mask, motion.cuts)


@dataclass(frozen=True, eq=False)
class FastVMTTarget:
    """The flow that generated clips are compared with."""

    reference: AttentionMotionFlow
    config: AMFConfig
    """Settings that the reference's flow was read with, and the generation's is."""
    weights: LossWeights
    mask: Tensor | None
    """(F, H, W) in [0, 1], how much each token counts; None: all alike."""
    cuts: tuple[int, ...]
    """Latent frames that begin a new shot."""

    def loss(self, signals: Signals) -> FastVMTLoss:
        """The loss of one clip."""
        generated = attention_motion_flow(
            signals.q,
            signals.k,
            self.config,
            self.reference.centres,
            window_keys=self.weights.consistency > 0,
        )
        return motion_loss(self.reference, generated, self.weights, self.mask, cuts=self.cuts, tile=self.config.tile)


class FastVMTLoss(MotionLoss):
    """The loss of FastVMT's two terms."""

    @property
    def amf(self) -> Tensor:
        """L_AMF before its lambda, tokens squared."""
        return self.terms["amf"]

    @property
    def consistency(self) -> Tensor:
        """L_window before its lambda, units of the keys squared (not squared with `released_scale`)."""
        return self.terms["consistency"]


def motion_loss(
    reference: AttentionMotionFlow,
    generated: AttentionMotionFlow,
    weights: LossWeights,
    mask: Tensor | None = None,
    *,
    cuts: Sequence[int] = (),
    tile: tuple[int, int] = (1, 1),
) -> FastVMTLoss:
    """The distance of the generated motion from the reference's, and the change of the generation's window keys.

    Args:
        reference: the reference's flow; carries no gradient and may lie on another device.
        generated: the generation's flow, read with the reference's centres.
        weights: lambdas, decay over the frame distance, weight of the (i, i) pairs, and scale.
        mask: (F, H, W) in [0, 1], how much each token of frame i counts; None is all alike.
        cuts: latent frames of the reference that begin a new shot; pairs of frames from two shots are left out of both
            losses and of their means.
        tile: the flows' (t_h, t_w); by it the mask tells how much each tile's window counts.

    Returns:
        The total and each of its terms as scalars. Where all tokens of a pair are masked out, its term is 0.

    Raises:
        ValueError: the flows differ in pairs, grid or centres, the mask's shape is wrong, or the consistency term
            is weighted but the generation came without window keys.

    Source: FastVMT, arXiv 2602.05551, section 4.
    """
    _require_comparable(reference, generated)
    amf = _amf_loss(reference, generated, weights, mask, cuts)
    consistency = _consistency_loss(generated, weights, mask, cuts, tile)
    total = weights.amf * amf + weights.consistency * consistency
    # The keys of a clip that moves do change, so that the least consistency loss is not 0.
    reducible = weights.amf * amf if weights.amf > 0 else total
    return FastVMTLoss(total, {"amf": amf, "consistency": consistency}, reducible)


def _amf_loss(
    reference: AttentionMotionFlow,
    generated: AttentionMotionFlow,
    weights: LossWeights,
    mask: Tensor | None,
    cuts: Sequence[int],
) -> Tensor:
    """mean over pairs of w_d * mean over tokens of ||AMF_ref - AMF_gen||^2, times H*W with the released scale."""
    target = reference.displacement.detach().to(generated.displacement)
    error = reduce((generated.displacement - target).square(), "p h w xy -> p h w", "sum")
    if mask is None:
        per_pair = reduce(error, "p h w -> p", "mean")
    else:
        _require_mask(mask, generated)
        tokens = _select(mask.to(error), [i for i, _ in generated.pairs])
        total_weight = reduce(tokens, "p h w -> p", "sum")
        total_weight = total_weight.masked_fill(total_weight <= 0, 1)
        per_pair = reduce(tokens * error, "p h w -> p", "sum") / total_weight
    within_a_shot = [index for index, pair in enumerate(generated.pairs) if not straddles(pair, cuts)]
    pair_weights = on_device(torch.tensor(_pair_weights(generated, weights), dtype=error.dtype), error.device)
    loss = _select(pair_weights * per_pair, within_a_shot).mean()
    return loss * generated.grid.height * generated.grid.width if weights.released_scale else loss


def _select(values: Tensor, entries: Sequence[int]) -> Tensor:
    """The entries of the first axis, by indices that lie beside the values."""
    return values.index_select(0, on_device(torch.tensor(entries), values.device))


def _pair_weights(flow: AttentionMotionFlow, weights: LossWeights) -> list[float]:
    """w_0 = self_pairs; w_d = 1 - alpha (d - 1) / max(1, s_f - 1) for d = j - i > 0."""
    slope = weights.distance_decay / max(1, flow.span - 1)
    return [weights.self_pairs if i == j else 1 - slope * (j - i - 1) for i, j in flow.pairs]


def _consistency_loss(
    flow: AttentionMotionFlow, weights: LossWeights, mask: Tensor | None, cuts: Sequence[int], tile: tuple[int, int]
) -> Tensor:
    """mean squared L2 change of a tile's mean window key from each j > i to the next; its norm with released scale."""
    index = {pair: position for position, pair in enumerate(flow.pairs) if not straddles(pair, cuts)}
    neighbours = [(index[i, j], index[i, j + 1]) for i, j in index if j > i and (i, j + 1) in index]
    if weights.consistency == 0 or not neighbours:
        return flow.displacement.new_zeros(())
    if flow.window_keys is None:
        raise ValueError(
            f"window keys: expected them because the consistency loss weighs {weights.consistency}, got none; read the "
            "generated flow with window_keys=True or set the consistency weight to 0."
        )
    before, after = zip(*neighbours, strict=True)
    change = _select(flow.window_keys, after) - _select(flow.window_keys, before)
    if weights.released_scale:
        size = torch.linalg.vector_norm(change, dim=-1)
    else:
        size = reduce(change.square(), "pairs tiles key -> pairs tiles", "sum")
    if mask is None:
        return size.mean()
    tiling = Tiling(*mask.shape[1:], tile)
    if tiling.count != size.shape[1]:
        raise ValueError(f"tile: expected the flow's, of {size.shape[1]} tiles a frame, got {tile}: {tiling.count}.")
    mask = mask.to(size.device, torch.float32)
    tile_weights = _select(tiling.mean_of_tiles(mask), [flow.pairs[pair][0] for pair in before]).to(size)
    return (tile_weights * size).sum() / tile_weights.sum().clamp(min=torch.finfo(size.dtype).tiny)


def _require_mask(mask: Tensor, flow: AttentionMotionFlow) -> None:
    expected = flow.grid.as_tuple
    if tuple(mask.shape) != expected:
        raise ValueError(
            f"mask: expected shape {expected}, got {tuple(mask.shape)}; resize the mask to the latent's token grid."
        )


def _require_comparable(reference: AttentionMotionFlow, generated: AttentionMotionFlow) -> None:
    expected, got = reference.displacement.shape[1:3], generated.displacement.shape[1:3]
    if reference.pairs != generated.pairs or expected != got:
        raise ValueError(
            f"motion: expected the generation to have the reference's {len(reference.pairs)} frame pairs on "
            f"{reference.grid}, got {len(generated.pairs)} pairs on {generated.grid}; generate at the reference's size "
            "and length, or read the motion again with this size, length and temporal_span."
        )
    if not torch.equal(reference.centres, generated.centres):
        raise ValueError(
            "centres: expected the generation to look into the reference's windows, got others; read the generated "
            "flow with centres=reference.centres and the reference's tile."
        )
