"""A frame flow made coarse enough to draw."""

import json

import pytest
import torch

from fastvmt_core.viz.arrows import MOST_COLUMNS, MOST_ROWS, arrows


def test_a_small_grid_keeps_every_token():
    field = torch.arange(3 * 2 * 2, dtype=torch.float32).view(2, 3, 2) / 8
    found = arrows(field.expand(3, -1, -1, -1))
    assert found["grid"] == [2, 3] and found["cells"] == [2, 3]
    assert len(found["frames"]) == 3
    assert found["frames"][0] == [round(float(value) * 100) for value in field.flatten()]


def test_every_step_has_its_own_arrows():
    field = torch.tensor([1.0, 12.0, 23.0])[:, None, None, None].expand(-1, 2, 2, 2)
    assert [frame[0] for frame in arrows(field)["frames"]] == [100, 1200, 2300]


@pytest.mark.parametrize(("height", "width"), [(30, 52), (31, 53), (5, 90)])
def test_a_large_grid_is_averaged_over_cells(height, width):
    field = torch.zeros(1, height, width, 2)
    field[..., 0], field[..., 1] = 3.0, -1.5
    found = arrows(field)
    rows, columns = found["cells"]
    assert (rows, columns) == (min(height, MOST_ROWS), min(width, MOST_COLUMNS))
    assert found["frames"] == [[300, -150] * (rows * columns)]
    assert json.loads(json.dumps(found)) == found


def test_a_single_frame_has_no_arrows():
    assert arrows(torch.zeros(0, 2, 2, 2)) is None
