"""Images of a motion: sizes, colours, and what is refused."""

import pytest
import torch

from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.resize import fit_to
from fastvmt_core.viz.motion_pictures import largest_shown, pictures_of
from tests.core.motion.made_motions import disc
from tests.core.video.allocations import allocated


@pytest.mark.parametrize("view", ["arrows", "colours"])
@pytest.mark.parametrize("shown", ["movement", "attention"])
@pytest.mark.parametrize("frames", [None, torch.rand(17, 144, 160, 3, generator=torch.Generator().manual_seed(0))])
def test_each_step_has_an_image_with_legend_and_plot(view, shown, frames):
    pictures = pictures_of(disc(), view, shown, frames)
    assert pictures.shape[0] == 4 and pictures.shape[2] == 284 and pictures.shape[1] == 256 + 64
    assert torch.isfinite(pictures).all() and float(pictures.min()) >= 0 and float(pictures.max()) <= 1


def test_colours_show_where_the_disc_is():
    pictures = pictures_of(disc(), "colours", "movement")
    # White stands still; to the right is red.
    torch.testing.assert_close(pictures[0, 5, 5], torch.ones(3))
    x, y = (int((place + 0.5) * 256 / 9) for place in (3.0, 4.0))
    torch.testing.assert_close(pictures[0, y, x], torch.tensor([1.0, 0, 0]), atol=0.1, rtol=0)


def test_a_single_frame_has_one_still_image():
    assert len(pictures_of(fit_to(disc(), TokenGrid(1, 9, 10)), "arrows", "movement")) == 1


def test_a_single_image_is_no_clip():
    with pytest.raises(ValueError, match="frames: expected a clip of shape"):
        pictures_of(disc(), "arrows", "movement", torch.zeros(144, 160, 3))


def test_a_large_clip_is_drawn_smaller():
    frames = torch.rand(2, 1080, 1920, 3)
    assert pictures_of(disc(), "arrows", "movement", frames).shape[2] == 1280


@pytest.mark.parametrize("size", [(30, 2000), (2000, 30), (1, 900)])
@pytest.mark.parametrize("view", ["arrows", "colours"])
def test_a_long_grid_is_drawn_no_larger_than_a_large_clip(size, view):
    pictures = pictures_of(fit_to(disc(), TokenGrid(2, *size)), view, "movement")
    height, width = pictures.shape[1:3]
    assert max(height, width) <= 1280 + 64 and min(height, width) >= 64


def test_a_motion_of_more_tokens_than_a_quantile_takes_is_drawn():
    """`quantile` refuses more than 2^24 values."""
    lengths = torch.arange(2.0**24 + 3)
    assert float(largest_shown(lengths)) == pytest.approx(0.99 * 2**24, rel=1e-3)
    assert largest_shown(torch.zeros(0)) == largest_shown(torch.zeros(9)) == 0.25


def test_nothing_but_the_pictures_is_as_large_as_a_long_clip():
    frames = torch.rand(96, 256, 256, 3)
    motion = fit_to(disc(), TokenGrid(25, 9, 10))
    pictures = 24 * (256 + 64) * 256 * 3 * 4
    assert allocated(lambda: pictures_of(motion, "colours", "movement", frames), pictures // 4) == [pictures]
