"""Attention motion flow: where each token of a frame goes in the next frames, read from one block's q and k.

FastVMT (arXiv 2602.05551), section 4; the global map (window None) is DiTFlow's (arXiv 2412.07776), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from ..config import AMFConfig
from ..grid import TokenGrid
from .windows import Band, Layout, Tiling, frame_pairs, window_corners, window_indicator, window_size

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class AttentionMotionFlow:
    """Displacements of every token between pairs of frames."""

    pairs: tuple[Pair, ...]
    """P pairs (i, j) of latent frames, i-major, 0 <= j - i < s_f."""
    displacement: Tensor
    """(P, H, W, 2) float32, tokens: (dx, dy) from a token of frame i to its expected position in frame j."""
    centres: Tensor
    """(P, tiles, 2) float32 on the CPU, tokens: (x, y) of each tile's window centre in frame j. For i = j, whose
    window is the whole frame, the tile's own place."""
    window_keys: Tensor | None = None
    """(P, tiles, heads * d): mean key of each tile's window in frame j; None where it was not asked for."""
    confidence: Tensor | None = None
    """(P, H, W) in [0, 1]: how peaked each query's attention is (1: one key, 0: uniform); None where not asked for."""
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
        moved = {name: getattr(self, name) for name in ("displacement", "window_keys", "confidence")}
        return replace(self, **{name: None if held is None else held.to(device) for name, held in moved.items()})


def attention_motion_flow(
    q: Tensor,
    k: Tensor,
    config: AMFConfig,
    centres: Tensor | None = None,
    *,
    window_keys: bool = True,
    confidence: bool = False,
) -> AttentionMotionFlow:
    """Read the attention motion flow of one clip from a self-attention's queries and keys.

    Args:
        q: (F, H, W, heads, d), after q/k norm and RoPE; float16, bfloat16, float32 or float64.
        k: the same shape and dtype.
        config: temporal span, window, tile, sharpness and window centre.
        centres: another flow's `.centres` (P, tiles, 2). A generation must be given the reference's: positions
            expected in different windows cannot be compared.
        window_keys: also average the keys of each window (for the corresponding-window loss).
        confidence: also measure how peaked each query's attention is; carries no gradient.

    Returns:
        The flow, differentiable in q and k. It computes in float32 (float64 for float64 input). The backward pass
        matches each pair again, so that memory is bounded by one pair of frames.

    Raises:
        ValueError: q, k or centres have a wrong shape or dtype.

    Source: FastVMT, arXiv 2602.05551, section 4; logits are averaged over the heads.
    """
    _require_queries_and_keys(q, k)
    grid = TokenGrid(*q.shape[:3])
    plan = _Plan.of(grid, config, q, k, centres)
    scale = config.sharpness / math.sqrt(q.shape[-1]) / q.shape[-2]
    displacement, means = _Matching.apply(q, k, plan, scale, window_keys)
    return AttentionMotionFlow(
        pairs=plan.pairs,
        displacement=displacement,
        centres=plan.centres,
        window_keys=means,
        confidence=_confidence(q, k, plan, scale) if confidence else None,
        temporal_span=config.temporal_span,
    )


def _require_queries_and_keys(q: Tensor, k: Tensor) -> None:
    if q.ndim != 5 or min(q.shape) < 1:
        raise ValueError(f"q: expected a non-empty (frames, rows, columns, heads, d), got shape {tuple(q.shape)}.")
    if k.shape != q.shape:
        raise ValueError(f"k: expected the shape of q {tuple(q.shape)}, got {tuple(k.shape)}.")
    if k.dtype != q.dtype or k.device != q.device:
        raise ValueError(f"k: expected the dtype and device of q ({q.dtype}, {q.device}), got {k.dtype}, {k.device}.")
    if not q.is_floating_point():
        raise ValueError(f"q and k: expected a floating-point dtype, got {q.dtype}.")


@dataclass(frozen=True, eq=False)
class _Plan:
    """Which token may look where: all that the matching needs besides q and k."""

    grid: TokenGrid
    tiling: Tiling
    pairs: tuple[Pair, ...]
    centres: Tensor
    size: tuple[int, int]
    corners: Tensor
    layout: Layout

    @classmethod
    def of(cls, grid: TokenGrid, config: AMFConfig, q: Tensor, k: Tensor, centres: Tensor | None) -> _Plan:
        tiling = Tiling(grid.height, grid.width, config.tile)
        pairs = frame_pairs(grid.frames, config.temporal_span)
        size = window_size(config.window, grid.height, grid.width)
        layout = Layout.of(grid, size)
        if centres is None:
            centres = _own_centres(q, k, pairs, tiling, config)
        else:
            centres = _given_centres(centres, pairs, tiling)
        corners = window_corners(centres, size, grid.height, grid.width)
        return cls(grid, tiling, pairs, centres, size, corners, layout)

    def window(self, index: int) -> tuple[Tensor, tuple[int, int]]:
        """Corners (tiles, 2) and size (l_h, l_w) of the windows of one pair: the whole frame where i = j."""
        i, j = self.pairs[index]
        if i == j:
            return torch.zeros_like(self.corners[index]), (self.grid.height, self.grid.width)
        return self.corners[index], self.size

    def bands(self, index: int) -> tuple[Band, ...]:
        """The bands of one pair."""
        return self.layout.bands(self.tiling, *self.window(index))

    def mask(self, index: int, band: Band, device: torch.device) -> Tensor:
        """(queries, keys) bool of one band: the keys outside each query's window."""
        owners, of_query = torch.unique(band.tiles, return_inverse=True)
        corners, size = self.window(index)
        inside = window_indicator(corners[owners].to(device), size, self.grid.height, self.grid.width)
        pattern = "tiles h w -> tiles (w h)" if self.layout.turned else "tiles h w -> tiles (h w)"
        return ~rearrange(inside, pattern)[:, slice(*band.keys)][of_query.to(device)]

    def window_weights(self, index: int, like: Tensor) -> Tensor:
        """(tiles, H, W): 1 / (l_h l_w) inside each tile's window, in the dtype and on the device of `like`."""
        corners, size = self.window(index)
        inside = window_indicator(corners.to(like.device), size, self.grid.height, self.grid.width)
        return inside.to(like.dtype) / (size[0] * size[1])


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
    """(P, tiles, 2): the tiles' own places, or what their representatives' attention over the whole frame says."""
    own = tiling.representatives()
    centres = own.to(torch.float32).expand(len(pairs), -1, -1).clone()
    if config.centre == "self" or config.window is None:
        return centres
    dtype, device = _compute_dtype(q), q.device
    scale = config.sharpness / math.sqrt(q.shape[-1]) / q.shape[-2]
    y, x = torch.meshgrid(torch.arange(tiling.height), torch.arange(tiling.width), indexing="ij")
    places = rearrange(torch.stack((x, y), dim=-1), "h w xy -> (h w) xy").to(device, dtype)
    found = {}
    with torch.autocast(device.type, enabled=False):
        for index, (i, j) in enumerate(pairs):
            if i == j:
                continue
            asked = rearrange(q[i][own[:, 1], own[:, 0]], "tiles n d -> tiles (n d)").to(dtype)
            logits = asked @ rearrange(k[j], "h w n d -> (n d) (h w)").to(dtype) * scale
            found[index] = places[logits.argmax(-1)] if config.centre == "argmax" else logits.softmax(-1) @ places
    if found:
        centres[list(found)] = torch.stack(list(found.values())).to("cpu", torch.float32)
    return centres


def _compute_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _tokens(frame: Tensor, layout: Layout, band: tuple[int, int]) -> Tensor:
    """(H, W, heads, d) -> (tokens of the band, heads * d) in the layout's order, in the computing dtype."""
    lines = layout.lines(frame, band)
    return rearrange(layout.flat(lines), "s n d -> s (n d)").to(_compute_dtype(frame)).contiguous()


def _attention(
    q_i: Tensor, k_j: Tensor, plan: _Plan, index: int, scale: float
) -> Iterator[tuple[Band, Tensor, Tensor, Tensor]]:
    """Each band of a pair with its queries, its keys and their attention: softmax over the windows, zero outside.

    Only a band at a time is brought into the layout's order. Whoever asks for the next one deletes what it got first,
    or two bands' copies are alive together.
    """
    for band in plan.bands(index):
        queries, keys = _tokens(q_i, plan.layout, band.queries), _tokens(k_j, plan.layout, band.keys)
        logits = torch.mm(queries, keys.T).mul_(scale)
        if band.masked:
            logits.masked_fill_(plan.mask(index, band, logits.device), -math.inf)
        yield band, queries, keys, torch.softmax(logits, dim=-1)
        del queries, keys, logits


def _places(plan: _Plan, like: Tensor) -> Tensor:
    return plan.layout.places().to(like.device, _compute_dtype(like))


class _Matching(torch.autograd.Function):
    """Displacements and, where asked for, the windows' mean keys.

    A displacement is the expected place less the own one: with E = sum_p' A[p, p'] x(p'), dE/dlogit = A (x - E).
    Autograd would keep each pair's attention and copies of its frames; this keeps q, k and E, and matches again in
    backward. Both results share one gradient of k.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, q: Tensor, k: Tensor, plan: _Plan, scale: float, window_keys: bool
    ) -> tuple[Tensor, Tensor | None]:
        places = _places(plan, q)
        expected = places.new_empty(len(plan.pairs), len(places), 2)
        channels = q.shape[-2] * q.shape[-1]
        means = places.new_empty(len(plan.pairs), plan.tiling.count, channels) if window_keys else None
        with torch.autocast(q.device.type, enabled=False):
            for index, (i, j) in enumerate(plan.pairs):
                for band, queries, keys, attention in _attention(q[i], k[j], plan, index, scale):
                    torch.mm(attention, places[slice(*band.keys)], out=expected[index, slice(*band.queries)])
                    del queries, keys, attention
                if means is not None:
                    keys = rearrange(k[j], "h w n d -> (h w) (n d)").to(means.dtype)
                    weights = rearrange(plan.window_weights(index, means), "tiles h w -> tiles (h w)")
                    torch.mm(weights, keys, out=means[index])
        ctx.save_for_backward(q, k, expected)
        ctx.plan, ctx.scale = plan, scale
        ctx.set_materialize_grads(False)
        return plan.layout.unflat(expected - places), means

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_flow: Tensor | None, d_means: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, expected = ctx.saved_tensors
        plan, layout = ctx.plan, ctx.plan.layout
        d_q, d_k = (q.new_zeros(len(q), q.shape[1] * q.shape[2], q.shape[3] * q.shape[4]) for _ in range(2))
        with torch.autocast(q.device.type, enabled=False):
            for index, (i, j) in enumerate(plan.pairs):
                d_qi, d_kj = _summing_page(d_q[i]), _summing_page(d_k[j])
                if d_flow is not None:
                    pull = layout.flat(d_flow[index])
                    _add_flow_gradient(d_qi, d_kj, q[i], k[j], pull, expected[index], plan, index, ctx.scale)
                if d_means is not None:
                    weights = layout.flat(rearrange(plan.window_weights(index, d_means), "tiles h w -> h w tiles"))
                    d_kj.addmm_(weights, d_means[index])
                if d_qi.dtype != d_q.dtype:
                    d_q[i] += d_qi
                    d_k[j] += d_kj
        split = "f s (n d) -> f s n d"
        d_q, d_k = (layout.unflat(rearrange(total, split, n=q.shape[-2])) for total in (d_q, d_k))
        return d_q, d_k, None, None, None


def _add_flow_gradient(
    d_qi: Tensor,
    d_kj: Tensor,
    q_i: Tensor,
    k_j: Tensor,
    pull: Tensor,
    expected: Tensor,
    plan: _Plan,
    index: int,
    scale: float,
) -> None:
    """Add one pair's gradient in place; `pull` (H*W, 2) is the loss's gradient at the expected places."""
    places = _places(plan, q_i)
    for band, queries, keys, attention in _attention(q_i, k_j, plan, index, scale):
        rows, columns = slice(*band.queries), slice(*band.keys)
        offset = (pull[rows] * expected[rows]).sum(-1, keepdim=True)
        d_logits = torch.addmm(offset, pull[rows], places[columns].T, beta=-1).mul_(attention)
        d_qi[rows].addmm_(d_logits, keys, alpha=scale)
        d_kj[columns].addmm_(d_logits.T, queries, alpha=scale)
        del queries, keys, attention


def _summing_page(total: Tensor) -> Tensor:
    """The frame's own gradient where it can be summed in place, else a page of the computing dtype."""
    dtype = _compute_dtype(total)
    return total if total.dtype == dtype else torch.zeros_like(total, dtype=dtype)


@torch.no_grad()
def _confidence(q: Tensor, k: Tensor, plan: _Plan, scale: float) -> Tensor:
    """1 - H / log(l_h l_w) of each query's attention, H its entropy: 1 for a single key, 0 for a uniform window."""
    peaks = q.new_empty(len(plan.pairs), plan.grid.height * plan.grid.width, dtype=_compute_dtype(q))
    with torch.autocast(q.device.type, enabled=False):
        for index, (i, j) in enumerate(plan.pairs):
            _, size = plan.window(index)
            most = math.log(max(2, size[0] * size[1]))
            for band, queries, keys, attention in _attention(q[i], k[j], plan, index, scale):
                entropy = reduce(torch.special.entr(attention), "queries keys -> queries", "sum")
                peaks[index, slice(*band.queries)] = 1 - entropy / most
                del queries, keys, attention
    return plan.layout.unflat(peaks).clamp_(0, 1)
