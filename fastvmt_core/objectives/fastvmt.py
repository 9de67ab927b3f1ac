"""What pulls the latent: the weighted AMF loss and the corresponding-window loss (FastVMT section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import reduce
from torch import Tensor

from ..attention.flow import AttentionMotionFlow
from ..attention.windows import Tiling
from ..config import LossWeights
from ..video.cuts import straddles


@dataclass(frozen=True)
class MotionLoss:
    """The loss of one generated clip against a reference's motion."""

    total: Tensor
    """lambda_amf * amf + lambda_window * window; the one to differentiate."""
    amf: Tensor
    """L_AMF before its lambda, tokens squared."""
    consistency: Tensor
    """L_window before its lambda, units of the keys squared (not squared with `released_scale`)."""


def motion_loss(
    reference: AttentionMotionFlow,
    generated: AttentionMotionFlow,
    weights: LossWeights,
    mask: Tensor | None = None,
    *,
    cuts: Sequence[int] = (),
    tile: tuple[int, int] = (1, 1),
) -> MotionLoss:
    """Distance of the generated motion from the reference's, and restlessness of the generation's keys.

    Args:
        reference: the reference's flow; carries no gradient and may lie on another device.
        generated: the generation's flow, read with the reference's centres.
        weights: lambdas, decay over the frame distance, weight of the (i, i) pairs, and scale.
        mask: (F, H, W) in [0, 1], how much each token of frame i counts; None is all alike.
        cuts: latent frames of the reference that begin a new shot; pairs of frames from two shots are left out of both
            losses and of their means.
        tile: the flows' (t_h, t_w); by it the mask tells how much each tile's window counts.

    Returns:
        The total and each of its terms as scalars. Tokens that count for nothing leave their pair's term at 0.

    Raises:
        ValueError: the flows differ in pairs, grid or centres, a weight's shape is wrong, or the window term is
            weighted but the generation came without window keys.

    Source: FastVMT, arXiv 2602.05551, section 4.
    """
    _require_comparable(reference, generated)
    amf = _amf_loss(reference, generated, weights, _token_weights(generated, mask), cuts)
    consistency = _consistency_loss(generated, weights, cuts, mask, tile)
    return MotionLoss(weights.amf * amf + weights.consistency * consistency, amf, consistency)


def _amf_loss(
    reference: AttentionMotionFlow,
    generated: AttentionMotionFlow,
    weights: LossWeights,
    tokens: Tensor | None,
    cuts: Sequence[int],
) -> Tensor:
    """mean over pairs of w_d * mean over tokens of ||AMF_ref - AMF_gen||^2, times H*W with the released scale."""
    target = reference.displacement.detach().to(generated.displacement)
    error = reduce((generated.displacement - target).square(), "p h w xy -> p h w", "sum")
    if tokens is None:
        per_pair = reduce(error, "p h w -> p", "mean")
    else:
        counted = reduce(tokens, "p h w -> p", "sum")
        per_pair = reduce(tokens * error, "p h w -> p", "sum") / torch.where(counted > 0, counted, 1)
    left = [not straddles(pair, cuts) for pair in generated.pairs]
    loss = (error.new_tensor(_pair_weights(generated, weights)) * per_pair)[left].mean()
    return loss * generated.grid.height * generated.grid.width if weights.released_scale else loss


def _pair_weights(flow: AttentionMotionFlow, weights: LossWeights) -> list[float]:
    """w_0 = self_pairs; w_d = 1 - alpha (d - 1) / max(1, s_f - 1) for d = j - i > 0."""
    slope = weights.distance_decay / max(1, flow.span - 1)
    return [weights.self_pairs if i == j else 1 - slope * (j - i - 1) for i, j in flow.pairs]


def _consistency_loss(
    flow: AttentionMotionFlow, weights: LossWeights, cuts: Sequence[int], mask: Tensor | None, tile: tuple[int, int]
) -> Tensor:
    """mean squared L2 change of a tile's mean window key from each j > i to the next; its norm with released scale."""
    index = {pair: position for position, pair in enumerate(flow.pairs) if not straddles(pair, cuts)}
    steps = [(index[i, j], index[i, j + 1]) for i, j in index if j > i and (i, j + 1) in index]
    if weights.consistency == 0 or not steps:
        return flow.displacement.new_zeros(())
    if flow.window_keys is None:
        raise ValueError(
            f"window keys: expected them because the window loss weighs {weights.consistency}, got none; read the generated "
            "flow with window_keys=True or set the window weight to 0."
        )
    before, after = zip(*steps, strict=True)
    change = flow.window_keys[list(after)] - flow.window_keys[list(before)]
    if weights.released_scale:
        size = torch.linalg.vector_norm(change, dim=-1)
    else:
        size = reduce(change.square(), "steps tiles key -> steps tiles", "sum")
    if mask is None:
        return size.mean()
    tiling = Tiling(*mask.shape[1:], tile)
    if tiling.count != size.shape[1]:
        raise ValueError(f"tile: expected the flow's, of {size.shape[1]} tiles a frame, got {tile}: {tiling.count}.")
    counts = tiling.mean_of_tiles(mask.float())[[flow.pairs[pair][0] for pair in before]].to(size)
    return (counts * size).sum() / counts.sum().clamp(min=torch.finfo(size.dtype).tiny)


def _token_weights(flow: AttentionMotionFlow, mask: Tensor | None) -> Tensor | None:
    """(P, H, W): the mask of each pair's frame i; None without a mask."""
    if mask is None:
        return None
    expected = (flow.grid.frames, *flow.displacement.shape[1:3])
    if tuple(mask.shape) != expected:
        raise ValueError(
            f"mask: expected shape {expected}, got {tuple(mask.shape)}; resize the mask to the latent's token grid."
        )
    return mask.to(flow.displacement)[[i for i, _ in flow.pairs]]


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
