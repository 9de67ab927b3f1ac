"""A motion shown and described."""

from dataclasses import replace

import pytest
import torch

from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.about import About
from fastvmt_core.motion.resize import grid_for
from fastvmt_core.viz.motion_pictures import described, pictures_of, thumbnail_of, with_about
from tests.core.motion.made_motions import GRID, disc, filmed


@pytest.mark.parametrize("view", ["arrows", "colours"])
@pytest.mark.parametrize("shown", ["movement", "attention"])
@pytest.mark.parametrize("frames", [None, torch.rand(17, 144, 160, 3, generator=torch.Generator().manual_seed(0))])
def test_one_picture_a_step_with_legend_and_plot(view, shown, frames):
    pictures = pictures_of(disc(), view, shown, frames)
    assert pictures.shape[0] == 4 and pictures.shape[2] == 284 and pictures.shape[1] == 256 + 64
    assert torch.isfinite(pictures).all() and float(pictures.min()) >= 0 and float(pictures.max()) <= 1


def test_colours_show_where_the_disc_is():
    pictures = pictures_of(disc(), "colours", "movement")
    # White stands still; to the right is red.
    torch.testing.assert_close(pictures[0, 5, 5], torch.ones(3))
    x, y = (int((place + 0.5) * 256 / 9) for place in (3.0, 4.0))
    torch.testing.assert_close(pictures[0, y, x], torch.tensor([1.0, 0, 0]), atol=0.1, rtol=0)


def test_a_single_frame_has_one_still_picture():
    from fastvmt_core.motion.resize import fit_to

    assert len(pictures_of(fit_to(disc(), TokenGrid(1, 9, 10)), "arrows", "movement")) == 1


def test_what_is_no_clip_is_refused():
    with pytest.raises(ValueError, match="frames: expected a clip of shape"):
        pictures_of(disc(), "arrows", "movement", torch.zeros(144, 160, 3))


def test_what_is_saved_of_a_reference():
    motion, _, _ = filmed()
    frames = torch.rand(17, 90, 300, 4, generator=torch.Generator().manual_seed(1))
    kept = with_about(motion, "walk", "note", frames, 24.0, keep_reference=False)
    assert kept.about == About("walk", "note", 300, 90, 24.0)
    assert kept.thumbnail.shape == (38, 128, 3) and kept.thumbnail.dtype == torch.uint8
    assert kept.reference is None and float(kept.frame_flow.abs().max()) > 0.5
    assert with_about(motion, "walk", "", None, 0.0, keep_reference=True).reference is motion.reference
    with pytest.raises(ValueError, match="note: expected at most 4000 characters, got 4001; shorten it"):
        with_about(motion, "walk", "n" * 4001, None, 0.0, keep_reference=True)


def test_thumbnails():
    assert thumbnail_of(disc()).shape == (1, 115, 128, 3)
    picture = torch.full((4, 6, 3), 255, dtype=torch.uint8)
    assert torch.equal(thumbnail_of(replace(disc(), thumbnail=picture)), torch.ones(1, 4, 6, 3))


def test_descriptions():
    mask = torch.zeros(GRID.as_tuple)
    mask[:, :, :5] = 1
    text = described(replace(disc(), about=About("walk", "slowly", 832, 480, 23.976), mask=mask))
    assert text.splitlines() == [
        "walk",
        "slowly",
        "From 832 x 480 pixels, 23.976 frames per second.",
        "17 frames of 160 x 144 pixels (5 x 9 x 10 tokens (frames x rows x columns)).",
        "WAN21 of 6 blocks, width 256; block 3, sigma 0.3.",
        "Guides 50% of the picture.",
    ]


def test_a_large_clip_is_drawn_smaller():
    frames = torch.rand(2, 1080, 1920, 3)
    assert pictures_of(disc(), "arrows", "movement", frames).shape[2] == 1280


def test_wide_latents_stand_for_twice_the_pixels():
    wide = replace(disc(), fingerprint=replace(disc().fingerprint, latent_channels=48))
    grid = disc().grid
    assert f"frames of {32 * grid.width} x {32 * grid.height} pixels" in described(wide)
    assert grid_for(wide, grid.frames, 64, 96) == TokenGrid(grid.frames, 2, 3)
