"""The Polyak step: where it lands, clip by clip, whatever the loss's scale; its bounds and shares."""

from __future__ import annotations

import pytest
import torch

from fastvmt_core.config import GuidanceConfig
from fastvmt_core.guidance.optimizer import optimize_latent
from fastvmt_core.guidance.rules import LARGEST_POLYAK_RMS
from fastvmt_core.guidance.schedule import gradients_per_step
from fastvmt_core.objectives.protocol import MotionLoss

SHAPE = (1, 4, 3, 4, 5)
ONE_STEP = GuidanceConfig(optimizer="polyak", inner_steps=1)
NEAR = 0.3
"""Distance of the starts from the minimum: less than the largest step."""


def noise(seed, clips=1):
    return torch.randn((clips, *SHAPE[1:]), generator=torch.Generator().manual_seed(seed))


def bowl(minimum, factor=1.0):
    """Sums of squares around a minimum, the mean over clips."""

    def loss_fn(latent):
        clips = factor * (latent - minimum).square().flatten(1).sum(1)
        return MotionLoss(clips.mean(), {}, clips)

    return loss_fn


def fourth_powers(latent):
    clips = latent.square().square().flatten(1).sum(1)
    return MotionLoss(clips.mean(), {}, clips)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_one_step_lands_in_the_minimum_of_a_bowl_of_any_scale(factor):
    minimum = noise(0)
    landed, log = optimize_latent(minimum + NEAR * noise(1), bowl(minimum, factor), ONE_STEP)
    assert torch.allclose(landed, minimum, atol=1e-5)
    assert log.gradient_evaluations == 1 and log.steps[0].learning_rate == 2.0
    assert log.steps[0].step_rms == pytest.approx(float((NEAR * noise(1)).square().mean().sqrt()), rel=1e-4)


def test_clips_of_a_batch_move_as_they_do_alone():
    latent = NEAR * noise(2, clips=3) * torch.tensor([0.2, 1.0, 2.0]).view(3, 1, 1, 1, 1)
    config = GuidanceConfig(optimizer="polyak", inner_steps=3)
    together, _ = optimize_latent(latent, fourth_powers, config)
    alone = torch.cat([optimize_latent(clip[None], fourth_powers, config)[0] for clip in latent])
    assert torch.allclose(together, alone, atol=1e-6)


def test_every_inner_step_evaluates_a_gradient():
    config = GuidanceConfig(optimizer="polyak", inner_steps=4, gradient_interval=3)
    _, log = optimize_latent(noise(3), fourth_powers, config)
    assert log.gradient_evaluations == gradients_per_step(config) == 4
    assert log.losses == sorted(log.losses, reverse=True)


def test_strength_and_the_schedule_multiply_the_step():
    latent, minimum = NEAR * noise(4), torch.zeros(SHAPE)
    weak = GuidanceConfig(optimizer="polyak", inner_steps=1, strength=0.5)
    assert torch.allclose(optimize_latent(latent, bowl(minimum), weak)[0], 0.5 * latent, atol=1e-6)
    assert torch.allclose(optimize_latent(latent, bowl(minimum), ONE_STEP, 0.25)[0], 0.75 * latent, atol=1e-6)
    assert torch.equal(optimize_latent(latent, bowl(minimum), ONE_STEP, 0.0)[0], latent)


def test_strength_above_1_leaves_the_minimum_where_it_is():
    latent, strong = NEAR * noise(4), GuidanceConfig(optimizer="polyak", inner_steps=1, strength=2.0)
    assert torch.allclose(optimize_latent(latent, bowl(torch.zeros(SHAPE)), strong)[0], torch.zeros(SHAPE), atol=1e-5)


def test_what_cannot_fall_to_zero_does_not_lengthen_the_step():
    def with_a_floor(latent):
        loss = bowl(torch.zeros(SHAPE))(latent)
        return MotionLoss(loss.total + 100, {}, loss.reducible)

    latent = NEAR * noise(5)
    assert torch.allclose(optimize_latent(latent, with_a_floor, ONE_STEP)[0], torch.zeros(SHAPE), atol=1e-5)


def test_a_step_is_bounded_and_a_gradient_of_zero_moves_nothing():
    far = 50 * noise(6)
    landed, log = optimize_latent(far, bowl(torch.zeros(SHAPE)), ONE_STEP)
    assert log.steps[0].step_rms == pytest.approx(LARGEST_POLYAK_RMS, rel=1e-4)
    assert torch.allclose(landed / far, (landed / far).mean().expand(SHAPE), atol=1e-4)

    def flat(latent):
        clips = (0 * latent).flatten(1).sum(1) + 1
        return MotionLoss(clips.mean(), {}, clips)

    assert torch.equal(optimize_latent(far, flat, ONE_STEP)[0], far)


def test_only_the_given_part_moves_and_makes_up_for_the_others():
    """Half the values may move: they take a step that lowers the loss, to first order, as much as all would."""
    latent = NEAR * noise(7)
    share = torch.zeros(1, 1, *SHAPE[2:])
    share[..., :2] = 1
    moved, _ = optimize_latent(latent, fourth_powers, ONE_STEP, step_share=share)
    assert torch.equal(moved[..., 2:], latent[..., 2:])
    gradient = 4 * latent**3
    fall = (gradient * (latent - moved)).sum()
    assert float(fall) == pytest.approx(2 * float(fourth_powers(latent).total), rel=1e-4)


def test_the_bound_is_over_what_may_move_and_falls_with_the_strength():
    far, share = 50 * noise(8), torch.zeros(SHAPE)
    share[..., 0, 0] = 1
    weak = GuidanceConfig(optimizer="polyak", inner_steps=1, strength=0.5)
    for config, factor in ((ONE_STEP, 1.0), (weak, 0.5)):
        moved, _ = optimize_latent(far, bowl(torch.zeros(SHAPE)), config, step_share=share)
        rms = float((moved - far)[..., 0, 0].square().mean().sqrt())
        assert rms == pytest.approx(factor * LARGEST_POLYAK_RMS, rel=1e-4)
