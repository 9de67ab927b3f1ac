"""Tiles, window placement, and the bands that match them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from fastvmt_core.attention.windows import (
    Layout,
    Tiling,
    frame_pairs,
    pair_count,
    window_corners,
    window_indicator,
    window_size,
)
from fastvmt_core.grid import TokenGrid


def test_pairs_are_i_major_and_end_with_the_clip():
    assert frame_pairs(3, 2) == ((0, 0), (0, 1), (1, 1), (1, 2), (2, 2))
    assert len(frame_pairs(21, 4)) == 78


@given(frames=st.integers(1, 12), span=st.integers(1, 12))
def test_pair_count_counts_the_pairs(frames, span):
    assert pair_count(frames, span) == len(frame_pairs(frames, span))


def test_ragged_tiles_and_their_representatives():
    tiling = Tiling(height=4, width=5, tile=(3, 2))
    assert tiling.tile_of_token().tolist() == [[0, 0, 1, 1, 2]] * 3 + [[3, 3, 4, 4, 5]]
    assert tiling.representatives().tolist() == [[1, 1], [3, 1], [4, 1], [1, 3], [3, 3], [4, 3]]


def test_windows_are_rounded_then_shifted_into_the_frame():
    centres = torch.tensor([[4.0, 3.0], [4.5, 3.49], [0.0, 0.0], [9.0, 7.0]])
    assert window_corners(centres, (3, 5), height=8, width=10).tolist() == [[2, 2], [3, 2], [0, 0], [5, 5]]


def test_window_size_is_at_most_the_frame():
    assert window_size(5, 4, 9) == (4, 5)
    assert window_size(None, 4, 9) == (4, 9)


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    tile=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    window=st.integers(1, 13),
    seed=st.integers(0, 99),
)
def test_bands_hold_every_query_once_and_all_its_window(height, width, tile, window, seed):
    tiling, size = Tiling(height, width, tile), window_size(window, height, width)
    centres = torch.rand(tiling.count, 2, generator=torch.Generator().manual_seed(seed)) * torch.tensor([width, height])
    corners = window_corners(centres, size, height, width)
    layout = Layout.of(TokenGrid(1, height, width), size)
    inside = window_indicator(corners, size, height, width)
    assert inside.flatten(1).sum(1).tolist() == [size[0] * size[1]] * tiling.count
    bands = layout.bands(tiling, corners, size)
    assert [band.queries[0] for band in bands] == [0, *(band.queries[1] for band in bands[:-1])]
    assert bands[-1].queries[1] == height * width
    owners = layout.flat(tiling.tile_of_token())
    for band in bands:
        of_query = owners[slice(*band.queries)]
        outside = layout.outside(band, corners[of_query], size)
        assert torch.equal(outside, ~torch.stack([layout.flat(one) for one in inside])[of_query][:, slice(*band.keys)])
        for tile_index in of_query.unique():
            keys = layout.flat(inside[tile_index])
            assert int(keys[slice(*band.keys)].sum()) == size[0] * size[1]
            assert band.masked or bool(keys[slice(*band.keys)].all())


def test_layout_runs_along_the_side_that_the_window_covers_least():
    grid = TokenGrid(1, 2, 3)
    turned, straight = Layout.of(grid, (2, 1)), Layout.of(grid, (1, 3))
    assert turned.turned and not straight.turned
    assert turned.positions().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]
    frames = torch.arange(6).reshape(1, 2, 3)
    for layout in (turned, straight):
        assert torch.equal(layout.unflat(layout.flat(frames[0])[None]), frames)
