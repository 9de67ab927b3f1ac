"""Edits of a motion: what each one promises, on motions whose movement is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fastvmt_core.attention.windows import frame_pairs
from fastvmt_core.config import AMFConfig
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion import edit as motion_edit
from fastvmt_core.motion import resize as motion_size
from fastvmt_core.motion.fields import frame_flow_of
from fastvmt_core.motion.trajectories import sampled
from tests.core.motion.made_motions import (
    CLOSE,
    GRID,
    NEAR,
    PATH,
    disc,
    filmed,
    flow_of_path,
    made,
    noisy,
    panned,
    seen_path,
    steps_of_path,
    tensors_of,
)


@pytest.mark.parametrize(
    "edit",
    [
        motion_edit.mirror,
        lambda motion: motion_edit.mirror(motion, "vertical"),
        motion_edit.reverse,
    ],
)
def test_twice_is_the_identity(edit):
    motion = noisy()
    once, twice = edit(motion), edit(edit(motion))
    assert not torch.allclose(once.flows[0].displacement, motion.flows[0].displacement, atol=0.1)
    assert (twice.cuts, twice.grid, twice.about) == (motion.cuts, motion.grid, motion.about)
    for after, before in zip(tensors_of(twice), tensors_of(motion), strict=True):
        torch.testing.assert_close(after, before, **CLOSE)


def test_mirroring_moves_the_vectors_and_flips_them():
    mirrored = motion_edit.mirror(disc())
    turned = PATH * torch.tensor([-1.0, 1]) + torch.tensor([9.0, 0])
    torch.testing.assert_close(mirrored.flows[0].displacement, flow_of_path(turned), **CLOSE)
    upright = motion_edit.mirror(disc(), "vertical")
    torch.testing.assert_close(
        upright.flows[0].displacement, flow_of_path(torch.stack((PATH[:, 0], 8 - PATH[:, 1]), 1))
    )


def test_the_static_bias_stays_at_its_position():
    bias = torch.full((12, 9, 10, 2), 0.25)
    motion = made(flow_of_path(PATH) + bias, frame_flow=steps_of_path(PATH), static_bias=(bias,))
    unbiased = disc()
    for edit in (motion_edit.mirror, motion_edit.reverse, lambda each: motion_edit.amplify(each, 0.5)):
        beyond = edit(motion).flows[0].displacement - bias
        # In the last row and column the sum would point out of the frame.
        torch.testing.assert_close(beyond[:, :-1, :-1], edit(unbiased).flows[0].displacement[:, :-1, :-1], **CLOSE)


@pytest.mark.parametrize("backward", [True, False])
def test_reversing(backward):
    field = (flow_of_path(PATH.flip(0)),) if backward else ()
    motion = motion_edit.reverse(disc(backward=field))
    expected = flow_of_path(PATH.flip(0))
    torch.testing.assert_close(motion.flows[0].displacement, expected, **CLOSE)
    # Reversed once more it is as before, as far as its vectors show it.
    torch.testing.assert_close(motion_edit.reverse(motion).flows[0].displacement, flow_of_path(PATH), **CLOSE)
    assert replace(disc(), cuts=(1, 3)).cuts == motion_edit.reverse(replace(disc(), cuts=(2, 4))).cuts


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.5])
def test_amplifying_scales_a_pan(factor):
    step = torch.tensor([0.5, -0.25])
    pairs = frame_pairs(GRID.frames, 3)
    pan = torch.stack([(j - i) * step.expand(9, 10, 2) for i, j in pairs])
    steps = torch.stack((step.expand(4, 9, 10, 2), -step.expand(4, 9, 10, 2)))
    edited = motion_edit.amplify(made(pan, frame_flow=steps), factor).flows[0].displacement
    # At the border the target is kept inside the frame, and trajectories end at it.
    torch.testing.assert_close(edited[:, 4:5, 4:6], factor * pan[:, 4:5, 4:6], **CLOSE)


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_amplifying_moves_vectors_about_the_middle_of_their_trajectory(factor):
    edited = motion_edit.amplify(disc(), factor)
    wanted = PATH.mean(0) + factor * (PATH - PATH.mean(0))
    for index, (i, j) in enumerate(edited.flows[0].pairs):
        at = sampled(edited.flows[0].displacement[index], wanted[i][None, None])[0, 0]
        torch.testing.assert_close(at, wanted[j] - wanted[i], **NEAR)
    # The edited steps are what the next edit follows; each time its disc is laid down between tokens, its edge blurs.
    again = motion_edit.amplify(edited, 1 / factor)
    for index, (i, j) in enumerate(again.flows[0].pairs):
        at = sampled(again.flows[0].displacement[index], PATH[i][None, None])[0, 0]
        torch.testing.assert_close(at, PATH[j] - PATH[i], atol=0.1, rtol=0.2)


def test_amplifying_by_one_changes_nothing():
    motion = disc()
    torch.testing.assert_close(motion_edit.amplify(motion, 1.0).flows[0].displacement, motion.flows[0].displacement)


def test_half_the_speed_shows_the_first_half():
    slow = motion_edit.change_speed(disc(), 0.5)
    wanted = PATH[0] + 0.5 * (PATH - PATH[0])
    for index, (i, j) in enumerate(slow.flows[0].pairs):
        at = sampled(slow.flows[0].displacement[index], wanted[i][None, None])[0, 0]
        torch.testing.assert_close(at, wanted[j] - wanted[i], **NEAR)


def test_twice_the_speed_ends_early_and_holds():
    fast = motion_edit.change_speed(disc(), 2.0)
    index = fast.flows[0].pairs.index((0, 1))
    at = sampled(fast.flows[0].displacement[index], PATH[0][None, None])[0, 0]
    torch.testing.assert_close(at, torch.tensor([2.0, 0]), **NEAR)
    last = fast.flows[0].displacement[fast.flows[0].pairs.index((3, 4))]
    torch.testing.assert_close(sampled(last, PATH[4][None, None])[0, 0], torch.zeros(2), **NEAR)
    assert float(last.norm(dim=-1).mean()) < 0.05


def test_freezing_holds_a_frame_and_goes_on_from_there():
    frozen = motion_edit.freeze(disc(), 1, 3)
    steps = [
        sampled(frozen.flows[0].displacement[frozen.flows[0].pairs.index((i, i + 1))], PATH[start][None, None])[0, 0, 0]
        for i, start in ((0, 0), (1, 1), (2, 1), (3, 1))
    ]
    torch.testing.assert_close(torch.stack(steps), torch.tensor([1.0, 0, 0, 1]), **NEAR)
    with pytest.raises(ValueError, match="freeze: expected frames of the latent in order, from 0 to 4, got 3 to 1"):
        motion_edit.freeze(disc(), 3, 1)


def test_taking_the_camera_out_leaves_nothing_of_a_pan():
    step = torch.tensor([0.5, 0.25])
    pairs = frame_pairs(GRID.frames, 3)
    pan = torch.stack([(j - i) * step.expand(9, 10, 2) for i, j in pairs])
    steps = torch.stack((step.expand(4, 9, 10, 2), -step.expand(4, 9, 10, 2)))
    still = motion_edit.without_camera(made(pan, frame_flow=steps)).flows[0].displacement
    torch.testing.assert_close(still.mean((1, 2)), torch.zeros(len(pairs), 2), atol=0.02, rtol=0)
    assert float(pan.mean((1, 2)).norm()) > 1


def test_taking_the_camera_out_leaves_the_background_still_and_the_subject_its_own_path():
    motion, step = panned()
    still = motion_edit.without_camera(motion)
    pairs = still.flows[0].pairs
    for index, (i, j) in enumerate(pairs):
        background = still.flows[0].displacement[index, :2].mean((0, 1))
        torch.testing.assert_close(background, torch.zeros(2), atol=0.05, rtol=0)
        subject = torch.tensor([6.0 - 0.5 * i, 4]) - i * step
        own = sampled(still.flows[0].displacement[index], subject[None, None])[0, 0]
        torch.testing.assert_close(own, (j - i) * torch.tensor([-1.0, -0.25]), atol=0.1, rtol=0)


def test_the_camera_alone():
    motion, step = panned()
    camera = motion_edit.only_camera(motion)
    for index, (i, j) in enumerate(camera.flows[0].pairs):
        background = camera.flows[0].displacement[index, :2, 2:8].mean((0, 1))
        torch.testing.assert_close(background, (j - i) * step, **NEAR)
        subject = torch.tensor([5.0, 4]) + (i - 2) * step
        own = sampled(camera.flows[0].displacement[index], subject[None, None])[0, 0]
        torch.testing.assert_close(own, (j - i) * step, atol=0.25, rtol=0)


@pytest.mark.parametrize(("factor", "edit"), [(-1.0, motion_edit.amplify), (0.0, motion_edit.change_speed)])
def test_bad_factors_are_refused(factor, edit):
    with pytest.raises(ValueError, match="expected a .*number"):
        edit(disc(), factor)


def test_the_latent_is_edited_along():
    motion, path, appearance = filmed()
    # Estimated once for all edits; each would estimate the same.
    motion = replace(motion, frame_flow=frame_flow_of(motion))
    middle = path.mean(0)
    wanted = {
        "mirror": (motion_edit.mirror, path * torch.tensor([-1.0, 1]) + torch.tensor([19.0, 0])),
        "reverse": (motion_edit.reverse, path.flip(0)),
        "damp": (lambda each: motion_edit.amplify(each, 0.5), middle + 0.5 * (path - middle)),
        "amplify": (lambda each: motion_edit.amplify(each, 1.5), middle + 1.5 * (path - middle)),
        "slow": (lambda each: motion_edit.change_speed(each, 0.5), path[0] + 0.5 * (path - path[0])),
        "hold": (lambda each: motion_edit.freeze(each, 0, 4), path[:1].expand(5, 2)),
    }
    for edit, expected in wanted.values():
        edited = edit(motion)
        # Half a pixel of the latent is a quarter of a token.
        torch.testing.assert_close(seen_path(edited.reference, appearance), expected, atol=0.5, rtol=0)
        assert edited.reference_hash.startswith("made|")
    longer = motion_size.fit_to(motion, TokenGrid(9, 9, 10))
    times = torch.arange(9)[:, None] / 2
    torch.testing.assert_close(
        seen_path(longer.reference, appearance), path[0] + times * (path[1] - path[0]), atol=0.5, rtol=0
    )
    assert motion_size.fit_to(motion, TokenGrid(5, 12, 15)).reference.shape == (1, 16, 5, 24, 30)


def test_what_an_edit_uncovers_shows_the_background():
    motion, path, appearance = filmed()
    shown = motion_edit.amplify(motion, 0.5).reference[0, :, 0]
    x, y = path[0].long().tolist()
    background, appearance = motion.reference[0, :, -1], appearance[:, 0, 0, 0]
    for row, column in ((y, x - 1), (y - 1, x), (y - 1, x - 1)):
        uncovered = shown[:, row, column]
        # The noise of the texture is smoothed by what is laid over it; the disc is gone.
        assert float((uncovered - background[:, row, column]).norm()) < 0.5 * float((uncovered - appearance).norm())


def test_a_motion_that_compares_no_frames_can_be_edited():
    config = AMFConfig(temporal_span=1, window=5, tile=(3, 5))
    motion = made(torch.zeros(5, 9, 10, 2), config=config)
    for edit in (motion_edit.mirror, motion_edit.reverse, lambda each: motion_edit.amplify(each, 2.0)):
        assert edit(motion).flows[0].pairs == motion.flows[0].pairs
