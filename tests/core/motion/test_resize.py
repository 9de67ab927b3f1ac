"""A motion on another grid: its vectors, window, length and cuts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fastvmt_core.attention.windows import frame_pairs
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion import resize as motion_size
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.trajectories import sampled
from tests.core.motion.made_motions import (
    CLOSE,
    GRID,
    NEAR,
    disc,
    made,
    noisy,
    tensors_of,
)


def test_another_size_scales_vectors_and_window():
    motion = made(torch.full((12, 9, 10, 2), 0.5), frame_flow=torch.zeros(2, 4, 9, 10, 2))
    wide = motion_size.fit_to(motion, TokenGrid(5, 9, 20))
    torch.testing.assert_close(wide.flows[0].displacement[..., 0], torch.full((12, 9, 20), 1.0), **CLOSE)
    torch.testing.assert_close(wide.flows[0].displacement[..., 1], torch.full((12, 9, 20), 0.5), **CLOSE)
    assert motion_size.fit_to(motion, TokenGrid(5, 18, 20)).config.window == 11 and wide.config.window == 7
    assert motion_size.fit_to(motion, GRID) is motion


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 9, 14])
def test_the_cuts_at_another_length_are_those_of_the_motion_fitted_to_it(frames):
    motion = replace(disc(), cuts=(1, 3))
    assert motion_size.cuts_at(motion, frames) == motion_size.fit_to(motion, TokenGrid(frames, 9, 10)).cuts


@pytest.mark.parametrize("frames", [1, 3, 9])
def test_another_length_keeps_the_trajectory(frames):
    motion = motion_size.fit_to(disc(), TokenGrid(frames, 9, 10))
    assert motion.flows[0].pairs == frame_pairs(frames, 3)
    times = torch.linspace(0, 4, frames) if frames > 1 else torch.zeros(1)
    wanted = torch.stack((3 + times, torch.full((frames,), 4.0)), 1)
    for index, (i, j) in enumerate(motion.flows[0].pairs):
        at = sampled(motion.flows[0].displacement[index], wanted[i][None, None])[0, 0]
        torch.testing.assert_close(at, wanted[j] - wanted[i], **NEAR)


def test_everything_fits_another_grid_and_can_be_saved(tmp_path):
    for grid in (TokenGrid(7, 6, 13), TokenGrid(3, 4, 4)):
        motion = motion_size.fit_to(noisy(), grid)
        motion.save(tmp_path / "m.safetensors")
        loaded = MotionEmbedding.load(tmp_path / "m.safetensors")
        assert loaded.grid == grid and loaded.about == noisy().about
        for after, before in zip(tensors_of(loaded), tensors_of(motion), strict=True):
            torch.testing.assert_close(after, before, atol=0, rtol=0)


def test_no_field_leaves_a_smaller_frame():
    far = torch.full((12, 9, 10, 2), 8.0)
    motion = made(far, static_bias=(far,), frame_flow=far[:8].reshape(2, 4, 9, 10, 2))
    small = motion_size.fit_to(motion, TokenGrid(5, 1, 2))
    for field in (small.static_bias[0], small.frame_flow):
        assert field.abs().amax(tuple(range(field.ndim - 1))).tolist() == [1, 0]


def test_how_large_a_change_of_size_is():
    assert motion_size.size_change(disc(), GRID) == 1
    assert motion_size.size_change(disc(), TokenGrid(10, 9, 10)) == 2
    assert motion_size.size_change(disc(), TokenGrid(5, 3, 10)) == pytest.approx(3)
