"""The heat map of a table: its size, its colours, and the proposed cell."""

import torch

from fastvmt_core.viz.heat_map import CELL, LEFT, TOP, heat_map

BLOCKS, SIGMAS, RATIOS = (0, 3), (0.1, 0.3), ((0.2, 1.0), (1.0, 5.0))


def test_motion_is_blue_and_appearance_is_red():
    image = heat_map(BLOCKS, SIGMAS, RATIOS, None, "nothing")[0]
    corners = [image[TOP + row * CELL[1] + 3, LEFT + column * CELL[0] + 3] for row, column in ((0, 0), (1, 1))]
    assert corners[0][2] > corners[0][0] and corners[1][0] > corners[1][2]


def test_the_proposed_cell_alone_is_outlined():
    plain, outlined = (heat_map(BLOCKS, SIGMAS, RATIOS, proposed, "nothing")[0] for proposed in (None, (0, 1)))
    rows, columns = (plain != outlined).any(-1).nonzero(as_tuple=True)
    assert TOP <= rows.min() and rows.max() < TOP + CELL[1]
    assert LEFT + CELL[0] <= columns.min() and columns.max() < LEFT + 2 * CELL[0]


def test_a_long_caption_widens_the_image():
    assert (
        heat_map(BLOCKS, SIGMAS, RATIOS, None, "word " * 80).shape[2]
        > heat_map(BLOCKS, SIGMAS, RATIOS, None, "word").shape[2]
    )
    assert torch.isfinite(heat_map(BLOCKS, SIGMAS, RATIOS, None, "")).all()
