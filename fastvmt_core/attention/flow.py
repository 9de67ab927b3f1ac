"""Attention motion flow: where each token of a frame goes in the next frames, read from one block's q and k.

FastVMT (arXiv 2602.05551), section 4; the global map (window None) is DiTFlow's (arXiv 2412.07776), section 3.

Axes: P pairs of latent frames, F latent frames, H and W rows and columns of tokens, n heads, d channels of a head.
Positions and displacements are (x, y) in tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor

from ..config import AMFConfig
from ..grid import TokenGrid
from .devices import on_device, without_autocast
from .matching import Matching, MatchingPlan, compute_dtype
from .windows import Pair, Tiling, frame_pairs, token_positions


@dataclass(frozen=True, eq=False)
class AttentionMotionFlow:
    """Displacements of every token between pairs of frames."""

    pairs: tuple[Pair, ...]
    """P pairs (i, j) of latent frames, i-major, 0 <= j - i < s_f."""
    displacement: Tensor
    """(P, H, W, 2) float32, tokens: (dx, dy) from a token of frame i to its expected position in frame j."""
    centres: Tensor
    """(P, tiles, 2) float32 on the CPU, tokens: (x, y) of each tile's window centre in frame j. For i = j, whose
    window is the whole frame, the tile's own position."""
    window_keys: Tensor | None = None
    """(P, tiles, n * d): mean key of each tile's window in frame j; None if not requested."""
    temporal_span: int | None = None
    """s_f of the settings, latent frames; None: as far as the pairs reach."""

    @property
    def span(self) -> int:
        """s_f, latent frames."""
        return self.temporal_span or max(j - i for i, j in self.pairs) + 1

    @property
    def grid(self) -> TokenGrid:
        """The token grid; its frames are the last frame that a pair names, plus one."""
        _, height, width, _ = self.displacement.shape
        return TokenGrid(max(j for _, j in self.pairs) + 1, height, width)

    def to(self, device: torch.device | str) -> AttentionMotionFlow:
        """The same flow with its tensors on `device`; the centres stay on the CPU."""
        keys = None if self.window_keys is None else self.window_keys.to(device)
        return replace(self, displacement=self.displacement.to(device), window_keys=keys)


def attention_motion_flow(
    q: Tensor,
    k: Tensor,
    config: AMFConfig,
    centres: Tensor | None = None,
    *,
    window_keys: bool = True,
) -> AttentionMotionFlow:
    """Read the attention motion flow of one clip from a self-attention's queries and keys.

    Args:
        q: (F, H, W, n, d), after q/k norm and RoPE; float16, bfloat16, float32 or float64.
        k: the same shape and dtype.
        config: temporal span, window, tile, sharpness and window centre.
        centres: another flow's `.centres` (P, tiles, 2). A generation must be given the reference's: positions
            expected in different windows cannot be compared.
        window_keys: also average the keys of each window (for the consistency loss).

    Returns:
        The flow, differentiable in q and k. It computes in float32 (float64 for float64 input). The backward pass
        matches each pair again, so that memory is bounded by one pair of frames.

    Raises:
        ValueError: q, k or centres have a wrong shape or dtype.

    Source: FastVMT, arXiv 2602.05551, section 4; logits are averaged over the heads.
    """
    _require_queries_and_keys(q, k)
    grid = TokenGrid(*q.shape[:3])
    tiling, pairs = Tiling(grid.height, grid.width, config.tile), frame_pairs(grid.frames, config.temporal_span)
    if centres is None:
        centres = _own_centres(q, k, pairs, tiling, config)
    else:
        centres = _given_centres(centres, pairs, tiling)
    plan = MatchingPlan.of(grid, config, pairs, centres, q.device)
    displacement, means = Matching.apply(q, k, plan, _logit_scale(q, config), window_keys)
    return AttentionMotionFlow(pairs, displacement, centres, means, config.temporal_span)


def _logit_scale(q: Tensor, config: AMFConfig) -> float:
    """tau / sqrt(d) / n: products summed over the heads become the mean logits."""
    return config.sharpness / math.sqrt(q.shape[-1]) / q.shape[-2]


def _require_queries_and_keys(q: Tensor, k: Tensor) -> None:
    if q.ndim != 5 or min(q.shape) < 1:
        raise ValueError(f"q: expected a non-empty (frames, rows, columns, heads, d), got shape {tuple(q.shape)}.")
    if k.shape != q.shape:
        raise ValueError(f"k: expected the shape of q {tuple(q.shape)}, got {tuple(k.shape)}.")
    if k.dtype != q.dtype or k.device != q.device:
        raise ValueError(f"k: expected the dtype and device of q ({q.dtype}, {q.device}), got {k.dtype}, {k.device}.")
    if not q.is_floating_point():
        raise ValueError(f"q and k: expected a floating-point dtype, got {q.dtype}.")


def _given_centres(centres: Tensor, pairs: tuple[Pair, ...], tiling: Tiling) -> Tensor:
    expected = (len(pairs), tiling.count, 2)
    if tuple(centres.shape) != expected:
        raise ValueError(
            f"centres: expected shape {expected} (pairs, tiles, xy) for this grid, temporal_span and tile, got "
            f"{tuple(centres.shape)}; give the centres of a flow with the same grid and settings."
        )
    centres = centres.detach().to("cpu", torch.float32)
    if not torch.isfinite(centres).all():
        raise ValueError("centres: expected finite numbers, got NaN or infinity; read the reference's motion again.")
    return centres


@torch.no_grad()
def _own_centres(q: Tensor, k: Tensor, pairs: tuple[Pair, ...], tiling: Tiling, config: AMFConfig) -> Tensor:
    """(P, tiles, 2): the tiles' own positions, or those that their representatives' attention to the frame gives."""
    own = tiling.representatives()
    centres = own.to(torch.float32).expand(len(pairs), -1, -1).clone()
    if config.centre == "self" or config.window is None:
        return centres
    dtype, device = compute_dtype(q), q.device
    scale = _logit_scale(q, config)
    positions = rearrange(token_positions(tiling.height, tiling.width, dtype, device), "h w xy -> (h w) xy")
    own_x, own_y = on_device(own, device).unbind(-1)
    matched = {}
    with without_autocast(device):
        for index, (i, j) in enumerate(pairs):
            if i == j:
                continue
            queries = rearrange(q[i][own_y, own_x], "tiles n d -> tiles (n d)").to(dtype)
            logits = queries @ rearrange(k[j], "h w n d -> (n d) (h w)").to(dtype) * scale
            matched[index] = (
                positions[logits.argmax(-1)] if config.centre == "argmax" else logits.softmax(-1) @ positions
            )
    if matched:
        centres[list(matched)] = torch.stack(list(matched.values())).to("cpu", torch.float32)
    return centres
