"""Images of a motion: sizes, colours, and what is refused."""

import pytest
import torch

from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.resize import fit_to
from fastvmt_core.viz.motion_pictures import pictures_of
from tests.core.motion.made_motions import disc


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
