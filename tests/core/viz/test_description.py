"""A motion's description and thumbnail, and what is saved of its reference."""

from dataclasses import replace

import pytest
import torch

from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.about import About
from fastvmt_core.motion.resize import grid_for
from fastvmt_core.viz.description import described, thumbnail_of, with_about
from tests.core.motion.made_motions import GRID, disc, filmed


def test_a_saved_motion_keeps_the_size_and_thumbnail_of_its_reference():
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
        "Guides 50% of the frame.",
    ]


def test_wide_latents_stand_for_twice_the_pixels():
    wide = replace(disc(), fingerprint=replace(disc().fingerprint, latent_channels=48))
    grid = disc().grid
    assert f"frames of {32 * grid.width} x {32 * grid.height} pixels" in described(wide)
    assert grid_for(wide, grid.frames, 64, 96) == TokenGrid(grid.frames, 2, 3)
