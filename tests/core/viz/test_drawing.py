"""Displacements as pictures."""

import pytest
import torch

from fastvmt_core.viz import drawing as flow_viz


@pytest.mark.parametrize(
    ("vector", "colour"), [((2, 0), (1, 0, 0)), ((-2, 0), (0, 1, 1)), ((0, 0), (1, 1, 1)), ((1, 0), (1, 0.5, 0.5))]
)
def test_colours_say_direction_and_length(vector, colour):
    found = flow_viz.flow_colours(torch.tensor([[vector]], dtype=torch.float32), largest=2.0)
    torch.testing.assert_close(found, torch.tensor([[colour]], dtype=torch.float32))


def test_the_wheel_is_its_own_legend():
    wheel = flow_viz.wheel(65)
    assert wheel.shape == (65, 65, 3)
    torch.testing.assert_close(wheel[32, 32], torch.ones(3))
    torch.testing.assert_close(wheel[32, 64], torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(wheel[0, 0], torch.tensor(flow_viz.PAPER))


def test_lines_cover_their_places_and_no_others():
    black = torch.zeros(20, 30, 3)
    drawn = flow_viz.draw_lines(black, [(5.5, 10.5, 24.5, 10.5)], 1.0, (1.0, 0.5, 0.0))
    torch.testing.assert_close(drawn[10, 6:24], torch.tensor([1.0, 0.5, 0]).expand(18, 3))
    assert not drawn[:8].any() and not drawn[13:].any() and not drawn[:, :3].any()
    assert torch.equal(flow_viz.draw_lines(black, [(-50, -50, -40, -40)], 1.0, (1.0, 1.0, 1.0)), black)


def test_arrows_point_along_their_vectors():
    black = torch.zeros(40, 40, 3)
    drawn = flow_viz.draw_arrows(black, torch.tensor([[10.0, 20.0]]), torch.tensor([[20.0, 0.0]]))
    bright = drawn[..., 0] > 0.9
    columns = bright.any(0).nonzero().flatten()
    assert columns.min() in (9, 10) and columns.max() in (29, 30)
    # The head is at its end.
    assert int(bright[:, 25].sum()) > int(bright[:, 15].sum())


def test_arrows_stand_on_a_grid_of_cells():
    starts, vectors = flow_viz.cell_arrows(torch.ones(8, 8, 2), 128, 256, apart=20)
    assert starts.shape == vectors.shape == (6 * 8, 2)
    torch.testing.assert_close(vectors, torch.tensor([32.0, 16.0]).expand(48, 2))


def test_a_field_is_enlarged_smoothly():
    ramp = torch.arange(4.0).expand(3, 4)[..., None]
    large = flow_viz.enlarged(ramp, 12, 16)
    assert large.shape == (12, 16, 1) and bool((large[0, 1:, 0] >= large[0, :-1, 0]).all())
    torch.testing.assert_close(large[0, ::4, 0].diff()[1:], torch.ones(2))


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [0.0, 2.0, 1.0]])
def test_plots(values):
    drawn = flow_viz.plot(values, 0, 30, 60)
    assert drawn.shape == (30, 60, 3) and torch.isfinite(drawn).all()
    assert float((drawn - torch.tensor(flow_viz.PAPER)).abs().max()) > 0.3


def test_paths_are_drawn_up_to_now():
    path = torch.tensor([[[5.0, 5.0], [15.0, 5.0], [25.0, 5.0]]])
    early = flow_viz.draw_paths(torch.zeros(10, 30, 3), path, 1, (0.0, 1.0, 0.0))
    late = flow_viz.draw_paths(torch.zeros(10, 30, 3), path, 2, (0.0, 1.0, 0.0))
    assert not early[:, 20:].any() and late[5, 20, 1] > 0.5


def test_a_long_line_is_one_line():
    picture = torch.zeros(40, 400, 3)
    whole = flow_viz.draw_lines(picture, [(5, 20, 395, 22)], 1.5, (1.0, 1.0, 1.0))
    y, x = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(400) + 0.5, indexing="ij")
    line = torch.tensor((390.0, 2.0))
    off = torch.stack((x - 5, y - 20), -1)
    along = (off @ line / line.square().sum()).clamp(0, 1)[..., None]
    covered = (1.5 + 0.5 - torch.linalg.vector_norm(off - along * line, dim=-1)).clamp(0, 1)
    torch.testing.assert_close(whole, covered[..., None].expand_as(whole), atol=1e-3, rtol=0)
