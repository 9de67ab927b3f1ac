"""The matching that attention motion flow is computed by: each query against the keys of its window, with its gradient.

Axes: P pairs of latent frames, F latent frames, H and W rows and columns of tokens, n heads, d channels of a head.
Positions and displacements are (x, y) in tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from ..config import AMFConfig
from ..grid import TokenGrid
from .devices import on_device, without_autocast
from .windows import Band, Layout, Pair, Tiling, window_corners, window_indicator, window_size


@dataclass(frozen=True, eq=False)
class MatchingPlan:
    """Which keys each query may attend to: all that the matching needs besides q and k."""

    grid: TokenGrid
    tiling: Tiling
    pairs: tuple[Pair, ...]
    size: tuple[int, int]
    """(l_h, l_w) of a window, tokens; of pairs i = j the whole frame's."""
    layout: Layout
    bands: tuple[tuple[Band, ...], ...]
    """Those of each pair."""
    corners: Tensor
    """(P, tiles, 2) int64 on the device of q and k: top-left token of each tile's window."""
    owners: Tensor
    """(H*W,) int64 on that device: each token's tile, in the layout's order."""
    positions: Tensor
    """(H*W, 2) int64 on that device: each token's (x, y), in the layout's order."""

    @classmethod
    def of(
        cls, grid: TokenGrid, config: AMFConfig, pairs: tuple[Pair, ...], centres: Tensor, device: torch.device
    ) -> MatchingPlan:
        """The plan for windows around `centres` (P, tiles, 2), which lie on the CPU, for q and k on `device`."""
        size = window_size(config.window, grid.height, grid.width)
        tiling, layout = Tiling(grid.height, grid.width, config.tile), Layout.of(grid, size)
        corners = window_corners(centres, size, grid.height, grid.width)
        corners[[i == j for i, j in pairs]] = 0
        sizes = [(grid.height, grid.width) if i == j else size for i, j in pairs]
        return cls(
            grid=grid,
            tiling=tiling,
            pairs=pairs,
            size=size,
            layout=layout,
            bands=tuple(layout.bands(tiling, *window) for window in zip(corners, sizes, strict=True)),
            corners=on_device(corners, device),
            owners=on_device(layout.flat(tiling.tile_of_token()), device),
            positions=on_device(layout.positions(), device),
        )

    def size_of(self, index: int) -> tuple[int, int]:
        """(l_h, l_w) of the windows of one pair."""
        i, j = self.pairs[index]
        return (self.grid.height, self.grid.width) if i == j else self.size

    def outside(self, index: int, band: Band) -> Tensor:
        """(queries, keys) bool of one band: the keys outside each query's window."""
        corners = self.corners[index].index_select(0, self.owners[slice(*band.queries)])
        return self.layout.outside(band, corners, self.size_of(index))

    def window_weights(self, index: int, dtype: torch.dtype) -> Tensor:
        """(tiles, H, W): 1 / (l_h l_w) inside each tile's window."""
        size = self.size_of(index)
        inside = window_indicator(self.corners[index], size, self.grid.height, self.grid.width)
        return inside.to(dtype) / (size[0] * size[1])


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype that a tensor's attention is computed in: float64 for float64, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _tokens(frame: Tensor, layout: Layout, band: tuple[int, int]) -> Tensor:
    """(H, W, heads, d) -> (tokens of the band, heads * d) in the layout's order, in the computing dtype."""
    lines = layout.lines(frame, band)
    return rearrange(layout.flat(lines), "s n d -> s (n d)").to(compute_dtype(frame)).contiguous()


def _attention(
    q_i: Tensor, k_j: Tensor, plan: MatchingPlan, index: int, scale: float
) -> Iterator[tuple[Band, Tensor, Tensor, Tensor]]:
    """Each band of a pair with its queries, its keys and their attention: softmax over the windows, zero outside.

    Only a band at a time is brought into the layout's order. A caller deletes the tensors of one band before
    it takes the next, or two bands' copies are alive together.
    """
    for band in plan.bands[index]:
        queries, keys = _tokens(q_i, plan.layout, band.queries), _tokens(k_j, plan.layout, band.keys)
        logits = torch.mm(queries, keys.T).mul_(scale)
        if band.masked:
            logits.masked_fill_(plan.outside(index, band), -math.inf)
        yield band, queries, keys, torch.softmax(logits, dim=-1)
        del queries, keys, logits


class Matching(torch.autograd.Function):
    """Displacements and, on request, the windows' mean keys.

    A displacement is the expected position less the own one: with E = sum_p' A[p, p'] x(p'), dE/dlogit = A (x - E).
    Autograd would keep each pair's attention and copies of its frames; this keeps q, k and E, and matches again in
    backward. Both results share one gradient of k.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, q: Tensor, k: Tensor, plan: MatchingPlan, scale: float, window_keys: bool
    ) -> tuple[Tensor, Tensor | None]:
        positions = plan.positions.to(compute_dtype(q))
        expected = positions.new_empty(len(plan.pairs), len(positions), 2)
        channels = q.shape[-2] * q.shape[-1]
        means = positions.new_empty(len(plan.pairs), plan.tiling.count, channels) if window_keys else None
        with without_autocast(q.device):
            for index, (i, j) in enumerate(plan.pairs):
                for band, queries, keys, attention in _attention(q[i], k[j], plan, index, scale):
                    torch.mm(attention, positions[slice(*band.keys)], out=expected[index, slice(*band.queries)])
                    del queries, keys, attention
                if means is not None:
                    keys = rearrange(k[j], "h w n d -> (h w) (n d)").to(means.dtype)
                    weights = rearrange(plan.window_weights(index, means.dtype), "tiles h w -> tiles (h w)")
                    torch.mm(weights, keys, out=means[index])
        ctx.save_for_backward(q, k, expected)
        ctx.plan, ctx.scale = plan, scale
        ctx.set_materialize_grads(False)
        return plan.layout.unflat(expected - positions), means

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_flow: Tensor | None, d_means: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, expected = ctx.saved_tensors
        plan, layout = ctx.plan, ctx.plan.layout
        d_q, d_k = (q.new_zeros(len(q), q.shape[1] * q.shape[2], q.shape[3] * q.shape[4]) for _ in range(2))
        with without_autocast(q.device):
            for index, (i, j) in enumerate(plan.pairs):
                d_qi, d_kj = _accumulator(d_q[i]), _accumulator(d_k[j])
                if d_flow is not None:
                    d_expected = layout.flat(d_flow[index])
                    _add_flow_gradient(d_qi, d_kj, q[i], k[j], d_expected, expected[index], plan, index, ctx.scale)
                if d_means is not None:
                    weights = layout.flat(
                        rearrange(plan.window_weights(index, d_means.dtype), "tiles h w -> h w tiles")
                    )
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
    d_expected: Tensor,
    expected: Tensor,
    plan: MatchingPlan,
    index: int,
    scale: float,
) -> None:
    """Add one pair's gradient in place; `d_expected` (H*W, 2) is the gradient of its expected positions."""
    positions = plan.positions.to(compute_dtype(q_i))
    for band, queries, keys, attention in _attention(q_i, k_j, plan, index, scale):
        rows, columns = slice(*band.queries), slice(*band.keys)
        offset = (d_expected[rows] * expected[rows]).sum(-1, keepdim=True)
        d_logits = torch.addmm(offset, d_expected[rows], positions[columns].T, beta=-1).mul_(attention)
        d_qi[rows].addmm_(d_logits, keys, alpha=scale)
        d_kj[columns].addmm_(d_logits.T, queries, alpha=scale)
        del queries, keys, attention


def _accumulator(total: Tensor) -> Tensor:
    """`total` itself if gradients can be summed into it, else zeros like it in the computing dtype."""
    dtype = compute_dtype(total)
    return total if total.dtype == dtype else torch.zeros_like(total, dtype=dtype)
