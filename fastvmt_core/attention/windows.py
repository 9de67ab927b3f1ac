"""Which keys each query may attend to: frame pairs, tiles, windows, and the bands to compute (FastVMT section 4).

The arithmetic that decides slice bounds lives on the CPU, as Python needs them; what masks are made of does not.

Axes: P pairs of latent frames, H and W rows and columns of tokens. Positions are (x, y) in tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ..grid import TokenGrid
from .devices import on_device

Pair = tuple[int, int]
"""(i, j): two latent frames, i <= j."""

_BAND_QUERIES = 96
"""Tokens: a band takes whole rows of tiles up to at least this many queries; fewer make products too thin."""


def frame_pairs(frames: int, span: int) -> tuple[Pair, ...]:
    """Pairs (i, j) of frames to match, i-major, 0 <= j - i < span (s_f)."""
    return tuple((i, j) for i in range(frames) for j in range(i, min(frames, i + span)))


def pair_count(frames: int, span: int) -> int:
    """How many pairs `frame_pairs` gives, without listing them."""
    reach = min(frames, span)
    return reach * frames - reach * (reach - 1) // 2


def token_positions(
    height: int, width: int, dtype: torch.dtype = torch.float32, device: torch.device | None = None
) -> Tensor:
    """(H, W, 2) (x, y): each token's own position."""
    x, y = (torch.arange(side, dtype=dtype, device=device) for side in (width, height))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


@dataclass(frozen=True)
class Tiling:
    """A frame of H x W tokens cut into tiles of t_h x t_w, row-major, ragged at the lower and right border."""

    height: int
    width: int
    tile: tuple[int, int]

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self.tile[0])

    @property
    def columns(self) -> int:
        """Columns of tiles."""
        return -(-self.width // self.tile[1])

    @property
    def count(self) -> int:
        """Tiles in a frame."""
        return self.rows * self.columns

    def tile_of_token(self) -> Tensor:
        """(H, W) int64: the index of each token's tile."""
        row = torch.arange(self.height) // self.tile[0]
        column = torch.arange(self.width) // self.tile[1]
        return row[:, None] * self.columns + column[None, :]

    def mean_of_tiles(self, values: Tensor) -> Tensor:
        """(N, H, W) -> (N, tiles): each tile's mean."""
        owners = self.tile_of_token().flatten()
        counts = on_device(torch.bincount(owners, minlength=self.count), values.device)
        owners = on_device(owners, values.device)
        return values.new_zeros(len(values), self.count).index_add_(1, owners, values.flatten(1)) / counts

    def representatives(self) -> Tensor:
        """(tiles, 2) int64 (x, y): token (t_h // 2, t_w // 2) of each tile, clipped to the tile."""
        y = (torch.arange(self.rows) * self.tile[0] + self.tile[0] // 2).clamp(max=self.height - 1)
        x = (torch.arange(self.columns) * self.tile[1] + self.tile[1] // 2).clamp(max=self.width - 1)
        return rearrange(torch.stack(torch.meshgrid(x, y, indexing="xy")), "xy rows columns -> (rows columns) xy")


def window_size(window: int | None, height: int, width: int) -> tuple[int, int]:
    """(l_h, l_w) = (min(l, H), min(l, W)); None is the whole frame."""
    if window is None:
        return height, width
    return min(window, height), min(window, width)


def window_corners(centres: Tensor, size: tuple[int, int], height: int, width: int) -> Tensor:
    """Top-left tokens (..., 2) int64 (x, y) of the windows of `size` = (l_h, l_w) around `centres` (..., 2) (x, y).

    A window that would leave the frame is shifted back into it, never cropped.
    """
    size_xy = torch.tensor((size[1], size[0]))
    last = torch.tensor((width, height)) - size_xy
    corner = torch.floor(centres + 0.5).to(torch.int64) - size_xy // 2
    return torch.minimum(corner.clamp(min=0), last)


def window_indicator(corners: Tensor, size: tuple[int, int], height: int, width: int) -> Tensor:
    """(tiles, H, W) bool on the corners' device: the tokens inside each tile's window."""
    inside_x = _within(torch.arange(width, device=corners.device), corners[:, :1], size[1])
    inside_y = _within(torch.arange(height, device=corners.device), corners[:, 1:], size[0])
    return inside_y[:, :, None] & inside_x[:, None, :]


def _within(tokens: Tensor, first: Tensor, count: int) -> Tensor:
    offset = tokens - first
    return (offset >= 0) & (offset < count)


@dataclass(frozen=True)
class Band:
    """Whole lines of queries that are matched, in one matrix product, with the lines their windows cover together.

    A line is a row of tokens, or a column if `Layout.turned`. The product is a little larger than the windows, but
    its operands are slices: nothing is gathered, and the keys' gradient is added in place.
    """

    queries: tuple[int, int]
    """First and last + 1 token of frame i, in the layout's order."""
    keys: tuple[int, int]
    """First and last + 1 token of frame j, in the layout's order."""
    masked: bool
    """Whether some window is smaller than the slice of keys."""


@dataclass(frozen=True)
class Layout:
    """The order in which a frame's tokens are laid out, so that a window covers the smallest share of it."""

    grid: TokenGrid
    turned: bool
    """Column by column rather than row by row: better if the window spans a smaller share of the width."""

    @classmethod
    def of(cls, grid: TokenGrid, size: tuple[int, int]) -> Layout:
        """The layout for windows of `size` = (l_h, l_w)."""
        return cls(grid, turned=size[1] * grid.height < size[0] * grid.width)

    def lines(self, frame: Tensor, band: tuple[int, int]) -> Tensor:
        """(H, W, ...) -> the lines that hold the tokens of `band`, still (h, w, ...)."""
        if self.turned:
            return frame[:, band[0] // self.grid.height : band[1] // self.grid.height]
        return frame[band[0] // self.grid.width : band[1] // self.grid.width]

    def flat(self, tokens: Tensor) -> Tensor:
        """(h, w, ...) -> (h*w, ...) in this order."""
        pattern = "h w ... -> (w h) ..." if self.turned else "h w ... -> (h w) ..."
        return rearrange(tokens, pattern)

    def unflat(self, tokens: Tensor) -> Tensor:
        """(P, H*W, ...) in this order -> (P, H, W, ...)."""
        pattern = "p (w h) ... -> p h w ..." if self.turned else "p (h w) ... -> p h w ..."
        return rearrange(tokens, pattern, h=self.grid.height, w=self.grid.width)

    def positions(self) -> Tensor:
        """(H*W, 2) int64 (x, y) of every token in this order."""
        return self.flat(token_positions(self.grid.height, self.grid.width, torch.int64))

    def outside(self, band: Band, corners: Tensor, size: tuple[int, int]) -> Tensor:
        """(queries, keys) bool on the corners' device: the keys of `band` outside each query's window.

        Args:
            band: of this layout.
            corners: (queries, 2), the windows' top-left tokens (x, y).
            size: (l_h, l_w) of the windows.
        """
        along, line, axis = (0, self.grid.height, 1) if self.turned else (1, self.grid.width, 0)
        lines = torch.arange(band.keys[0] // line, band.keys[1] // line, device=corners.device)
        in_lines = _within(lines, corners[:, along, None], size[1 - along])
        in_line = _within(torch.arange(line, device=corners.device), corners[:, axis, None], size[1 - axis])
        return (~in_lines[:, :, None] | ~in_line[:, None, :]).flatten(1)

    def bands(self, tiling: Tiling, corners: Tensor, size: tuple[int, int]) -> tuple[Band, ...]:
        """The bands of one pair of frames, for windows of `size` at `corners` (tiles, 2)."""
        if self.turned:
            lines, line, tile, window, whole = self.grid.width, self.grid.height, tiling.tile[1], size[1], size[0]
        else:
            lines, line, tile, window, whole = self.grid.height, self.grid.width, tiling.tile[0], size[0], size[1]
        starts = rearrange(corners[:, 0 if self.turned else 1], "(r c) -> r c", r=tiling.rows)
        starts = starts.T if self.turned else starts
        lows, highs = starts.amin(1).tolist(), (starts.amax(1) + window).tolist()
        group = -(-_BAND_QUERIES // (tile * line))
        bands = []
        for first in range(0, len(lows), group):
            queries = first * tile * line, min((first + group) * tile, lines) * line
            low, high = min(lows[first : first + group]), max(highs[first : first + group])
            masked = whole < line or high - low > window
            bands.append(Band(queries, (low * line, high * line), masked))
        return tuple(bands)
