"""Research rows: other flow functions, put in place of the loaded pack's own for one variant. The product has none.

Each row is named by a variant's ``patch``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor

Pack = Callable[[str], ModuleType]
"""Gives a module of the loaded pack, such as ``fastvmt_core.attention.flow``."""
Flow = Callable[..., Any]
"""As ``attention_motion_flow``."""
Row = Callable[[Pack], Flow]
"""Builds a flow function in place of the pack's own."""

HOST_USERS = ("fastvmt_core.objectives",)
"""Packages of the pack that compute flows: reading a reference, and guiding a generation."""
TOUCHED = ("FastVMTInvertMotion", "FastVMTApplyMotion")
"""Node classes whose results a row changes; with them all that lies downstream."""


@contextmanager
def patched(row: Row | None, pack: Pack, required: Sequence[str] = HOST_USERS) -> Iterator[None]:
    """A row's flow stands in place of the pack's own, wherever that is used, while the block runs.

    Raises:
        RuntimeError: none of the modules of a ``required`` package uses the function: it would stay unpatched there.
    """
    if row is None:
        yield
        return
    original = pack("fastvmt_core.attention.flow").attention_motion_flow
    users = users_of(original)
    missing = [package for package in required if not any(name.startswith(f"{package}.") for name in users)]
    if missing:
        raise RuntimeError(f"patch: expected users of attention_motion_flow in {', '.join(missing)}, got {[*users]}.")
    flow = row(pack)
    try:
        for module in users.values():
            module.attention_motion_flow = flow
        yield
    finally:
        for module in users.values():
            module.attention_motion_flow = original


def users_of(original: Flow) -> dict[str, ModuleType]:
    """The loaded modules that hold the pack's flow function, by their names within the pack."""
    root = original.__module__.removesuffix("fastvmt_core.attention.flow")
    modules = [(name.removeprefix(root), module) for name, module in list(sys.modules.items()) if name.startswith(root)]
    return {name: module for name, module in modules if vars(module).get("attention_motion_flow") is original}


def own_centres(pack: Pack) -> Flow:
    """The flow of a generation in windows around its own centres, not the reference's."""
    original = pack("fastvmt_core.attention.flow").attention_motion_flow

    def flow(q: Tensor, k: Tensor, config: Any, centres: Tensor | None = None, **options: Any) -> Any:  # noqa: ANN401
        own = original(q, k, config, **options)
        # The loss refuses other centres than the reference's, which this row tries.
        return own if centres is None else replace(own, centres=centres)

    return flow


def released_displacement(pack: Pack) -> Flow:
    """Window-local coordinate less tile-local coordinate, own centres: the released code's displacement.

    With the reference's centres both would lose the same constant, and nothing would change.
    """
    original, windows = (
        pack("fastvmt_core.attention.flow").attention_motion_flow,
        pack("fastvmt_core.attention.windows"),
    )

    def flow(q: Tensor, k: Tensor, config: Any, centres: Tensor | None = None, **options: Any) -> Any:  # noqa: ANN401
        own = original(q, k, config, **options)
        height, width = q.shape[1:3]
        tiling = windows.Tiling(height, width, config.tile)
        corners = windows.window_corners(own.centres, windows.window_size(config.window, height, width), height, width)
        owner = tiling.tile_of_token()
        shift = (_tile_origins(tiling) - corners)[:, owner].to(own.displacement)
        between = torch.tensor([i != j for i, j in own.pairs])[:, None, None, None].to(own.displacement)
        local = replace(own, displacement=own.displacement + shift * between)
        return local if centres is None else replace(local, centres=centres)

    return flow


def head_averaged(pack: Pack) -> Flow:
    """A flow whose q and k are averaged over the heads before they are compared, rather than the heads' logits."""
    original = pack("fastvmt_core.attention.flow").attention_motion_flow

    def flow(q: Tensor, k: Tensor, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        q, k = (reduce(tokens, "f h w n d -> f h w 1 d", "mean") for tokens in (q, k))
        return original(q, k, *arguments, **options)

    return flow


def _neighbours(tokens: Tensor) -> Tensor:
    """(F, H, W, n, d) -> (F, H, W, 1, d): token g n + c holds head c of the mean of the tokens g n .. g n + n - 1."""
    frames, height, width, heads, _ = tokens.shape
    if frames * height * width % heads:
        raise ValueError(f"grid: expected a number of tokens that {heads} heads divide, got {frames}x{height}x{width}.")
    means = reduce(rearrange(tokens, "f h w n d -> (f h w) n d"), "(g m) n d -> g n d", "mean", m=heads)
    return rearrange(means, "g n d -> (g n) 1 d").unflatten(0, (frames, height, width))


def released_flow(pack: Pack) -> Flow:
    """The whole flow of the released code, restated.

    Neighbouring tokens are averaged instead of heads. A window's sampled places are its own expected centre plus
    offsets, each place pressed into the frame's inner part; a displacement is the expected place within the window,
    where every odd place counts as (0, 0), less the query's place within its tile. A window's "mean key" is taken over
    the channels. Pairs (i, i) are as ours.
    """
    core, windows = pack("fastvmt_core.attention.flow"), pack("fastvmt_core.attention.windows")

    def flow(q: Tensor, k: Tensor, config: Any, centres: Tensor | None = None, **_: Any) -> Any:  # noqa: ANN401
        frames, height, width = q.shape[:3]
        side = config.window
        if side is None or side > min(height, width) or side % 2 == 0:
            raise ValueError(f"window: expected an odd number up to the frame's {min(height, width)}, got {side}.")
        tiling = windows.Tiling(height, width, config.tile)
        pairs = windows.frame_pairs(frames, config.temporal_span)
        q, k = (rearrange(_neighbours(tokens), "f h w 1 d -> f (h w) d").float() for tokens in (q, k))
        scale = config.sharpness / math.sqrt(q.shape[-1])
        frame = _Frame.of(tiling, side, q)
        per_pair = [_released_pair(q[i], k[j], frame, scale, i == j) for i, j in pairs]
        displacement, expected, means = (torch.stack(parts) for parts in zip(*per_pair, strict=True))
        return core.AttentionMotionFlow(
            pairs=pairs,
            displacement=displacement.unflatten(1, (height, width)),
            centres=expected.detach().cpu() if centres is None else centres,
            window_keys=means,
            temporal_span=config.temporal_span,
        )

    return flow


@dataclass(frozen=True, eq=False)
class _Frame:
    """Places of a frame's tokens: (S, 2) in the frame and in their tile, each token's tile, tiles' queries."""

    size: tuple[int, int]
    side: int
    places: Tensor
    in_tile: Tensor
    owner: Tensor
    queries: Tensor

    @classmethod
    def of(cls, tiling: Any, side: int, like: Tensor) -> _Frame:  # noqa: ANN401
        y, x = torch.meshgrid(torch.arange(tiling.height), torch.arange(tiling.width), indexing="ij")
        places = rearrange(torch.stack((x, y), dim=-1), "h w xy -> (h w) xy")
        owner = tiling.tile_of_token().flatten()
        in_tile = places - _tile_origins(tiling)[owner]
        queries = tiling.representatives()
        queries = queries[:, 1] * tiling.width + queries[:, 0]
        device = like.device
        size = (tiling.height, tiling.width)
        return cls(size, side, places.to(like), in_tile.to(like), owner.to(device), queries.to(device))


def _released_pair(q: Tensor, k: Tensor, frame: _Frame, scale: float, same: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Displacement (S, 2), window centres (tiles, 2) and channel means (tiles, l*l) of one pair, q and k (S, d)."""
    side, half = frame.side, frame.side // 2
    if same:
        displacement = (q @ k.T * scale).softmax(-1) @ frame.places - frame.places
        return displacement, frame.places[frame.queries], q.new_zeros(len(frame.queries), side * side)
    centres = (q[frame.queries] @ k.T * scale).softmax(-1) @ frame.places
    offsets = torch.arange(-half, half + 1, device=q.device)
    rows, columns = (
        (centres[:, axis, None] + offsets).clamp(half, frame.size[1 - axis] - half - 1).long() for axis in (1, 0)
    )
    keys = k[(rows[:, :, None] * frame.size[1] + columns[:, None, :]).flatten(1)]
    attention = (torch.einsum("sd,spd->sp", q, keys[frame.owner]) * scale).softmax(-1)
    place = torch.arange(side * side, device=q.device)
    local = torch.stack((place % side, place // side), dim=-1) * (place % 2 == 0)[:, None]
    return attention @ local.to(q) - frame.in_tile, centres, keys.mean(-1)


def _tile_origins(tiling: Any) -> Tensor:  # noqa: ANN401
    """(tiles, 2) int64 (x, y): the top left token of each tile."""
    y, x = torch.meshgrid(
        torch.arange(tiling.rows) * tiling.tile[0], torch.arange(tiling.columns) * tiling.tile[1], indexing="ij"
    )
    return rearrange(torch.stack((x, y), dim=-1), "r c xy -> (r c) xy")


ROWS: dict[str, Row] = {row.__name__: row for row in (own_centres, released_displacement, head_averaged, released_flow)}
