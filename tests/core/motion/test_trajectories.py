"""Trajectories through a latent, cuts in them, and splatting."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fastvmt_core.attention.windows import token_positions
from fastvmt_core.config import TrajectoryConfig
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion import fields as motion_fields
from fastvmt_core.motion.trajectories import camera_path, latent_steps, sampled, trajectories
from fastvmt_core.motion.transport import splat
from tests.core.motion.made_motions import (
    GRID,
    disc,
    filmed,
)


def test_a_disc_is_followed_through_a_latent():
    generator = torch.Generator().manual_seed(0)
    path = torch.tensor([[5.0, 8], [8, 9], [11, 10], [13, 12], [14, 14]])
    y, x = torch.meshgrid(torch.arange(18), torch.arange(20), indexing="ij")
    frames = torch.randn(16, 1, 18, 20, generator=generator).expand(-1, 5, -1, -1) * 0.3
    appearance = torch.randn(16, generator=generator)
    inside = torch.stack([(x - px) ** 2 + (y - py) ** 2 <= 9 for px, py in path])
    latent = torch.where(inside, appearance[:, None, None, None], frames)[None]
    steps = latent_steps(latent, GRID, TrajectoryConfig())
    positions = trajectories(steps)
    tokens = (path + 0.5) / 2 - 0.5
    for time in range(5):
        at = sampled(positions[2, time], tokens[2][None, None])[0, 0]
        assert float((at - tokens[time]).norm()) < 0.5
    # The background stays still.
    assert float(steps[:, :, :2].abs().max()) < 0.25
    torch.testing.assert_close(camera_path(steps), torch.zeros(5, 2), atol=0.1, rtol=0)


def test_splatting_keeps_what_it_puts_down():
    field = torch.rand(4, 5, 2, generator=torch.Generator().manual_seed(1))
    cover, total, summed = splat(field, token_positions(4, 5) + torch.tensor([0.25, 0]), torch.ones(4, 5))
    torch.testing.assert_close(summed[:, 1:], 0.75 * field[:, 1:] + 0.25 * field[:, :-1])
    torch.testing.assert_close(cover, total)
    assert float(cover[0, 0]) == 0.75


def test_nothing_is_followed_across_a_cut():
    motion, _, _ = filmed()
    whole, cut = (motion_fields.frame_flow_of(replace(motion, cuts=cuts)) for cuts in ((), (2,)))
    assert bool((cut[:, 1] == 0).all()) and float(whole[:, 1].abs().max()) > 0.5
    assert torch.equal(cut[:, [0, 2, 3]], whole[:, [0, 2, 3]])
    vectors = disc()
    assert bool((motion_fields.frame_flow_of(replace(vectors, frame_flow=None, cuts=(1,)))[:, 0] == 0).all())


def test_a_clip_without_contrast_stands_still():
    """Every displacement fits alike there; the first that was tried used to win."""
    for latent in (torch.zeros(1, 16, 3, 18, 20), torch.full((1, 16, 3, 18, 20), 0.7)):
        assert float(latent_steps(latent, GRID, TrajectoryConfig()).abs().max()) == 0


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 40), (5, 5)])
def test_steps_are_no_longer_than_a_small_frame(size):
    """A search radius of 4 tokens is more than such a frame has."""
    grid = TokenGrid(4, *size)
    latent = torch.randn(1, 16, 4, 2 * size[0], 2 * size[1], generator=torch.Generator().manual_seed(0))
    steps = latent_steps(latent, grid, TrajectoryConfig(stillness=0.0))
    assert bool((steps.abs() <= torch.tensor((size[1] - 1, size[0] - 1))).all())
