"""A flow made coarse enough to draw."""

import json

import pytest
import torch

from fastvmt_core.attention.flow import AttentionMotionFlow
from fastvmt_core.attention.windows import frame_pairs
from fastvmt_core.viz.arrows import MOST_COLUMNS, MOST_ROWS, arrows


def flow_of(displacement, frames, span):
    pairs = frame_pairs(frames, span)
    field = displacement if displacement.ndim == 4 else displacement.expand(len(pairs), *displacement.shape)
    return AttentionMotionFlow(pairs=pairs, displacement=field, centres=torch.zeros(len(pairs), 1, 2))


def test_a_small_grid_keeps_every_token():
    field = torch.arange(3 * 2 * 2, dtype=torch.float32).view(2, 3, 2) / 8
    found = arrows(flow_of(field, frames=4, span=3))
    assert found["grid"] == [2, 3] and found["cells"] == [2, 3]
    assert len(found["frames"]) == 3
    assert found["frames"][0] == [round(float(value) * 100) for value in field.flatten()]


def test_only_pairs_of_neighbours_are_shown():
    pairs = frame_pairs(4, 3)
    field = torch.stack([torch.full((2, 2, 2), float(10 * i + j)) for i, j in pairs])
    found = arrows(flow_of(field, frames=4, span=3))
    assert [frame[0] for frame in found["frames"]] == [100, 1200, 2300]


@pytest.mark.parametrize(("height", "width"), [(30, 52), (31, 53), (5, 90)])
def test_a_large_grid_is_averaged_over_cells(height, width):
    field = torch.zeros(height, width, 2)
    field[..., 0], field[..., 1] = 3.0, -1.5
    found = arrows(flow_of(field, frames=2, span=2))
    rows, columns = found["cells"]
    assert (rows, columns) == (min(height, MOST_ROWS), min(width, MOST_COLUMNS))
    assert found["frames"] == [[300, -150] * (rows * columns)]
    assert json.loads(json.dumps(found)) == found


def test_a_flow_without_neighbours_has_no_arrows():
    assert arrows(flow_of(torch.zeros(2, 2, 2), frames=3, span=1)) is None
