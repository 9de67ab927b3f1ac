"""Blends of two motions, and masks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion import blend as motion_blend
from fastvmt_core.motion import edit as motion_edit
from fastvmt_core.motion import fields as motion_fields
from fastvmt_core.motion import resize as motion_size
from fastvmt_core.motion.trajectories import sampled
from tests.core.motion.made_motions import (
    FINGERPRINT,
    GRID,
    NEAR,
    disc,
    made,
    panned,
)


def test_the_subject_of_one_before_the_camera_of_another():
    subject, own = panned()
    camera, given = panned((-0.5, 0.5))
    both = motion_blend.subject_and_camera(subject, camera)
    torch.testing.assert_close(motion_fields.camera_of(both)[-1], 4 * given, atol=0.1, rtol=0)
    for index, (i, j) in enumerate(both.flows[0].pairs):
        background = both.flows[0].displacement[index, :2, 2:8].mean((0, 1))
        torch.testing.assert_close(background, (j - i) * given, **NEAR)
        position = torch.tensor([6.0 - 0.5 * i, 4]) + i * (given - own)
        seen = sampled(both.flows[0].displacement[index], position[None, None])[0, 0]
        torch.testing.assert_close(seen, (j - i) * (torch.tensor([-0.5, 0.0]) + given - own), atol=0.25, rtol=0)


def test_blending_by_weight_and_by_mask():
    first, second = disc(), made(torch.ones(12, 9, 10, 2), frame_flow=torch.zeros(2, 4, 9, 10, 2))
    assert torch.equal(motion_blend.blend(first, second, 0.0).flows[0].displacement, first.flows[0].displacement)
    assert torch.equal(motion_blend.blend(first, second, 1.0).flows[0].displacement, second.flows[0].displacement)
    right = torch.zeros(GRID.as_tuple)
    right[:, :, 5:] = 1
    both = motion_blend.blend(first, second, right).flows[0].displacement
    assert torch.equal(both[:, :, :5], first.flows[0].displacement[:, :, :5])
    assert torch.equal(both[:, :, 5:], second.flows[0].displacement[:, :, 5:])


def test_a_blend_is_cut_where_what_it_shows_is_cut():
    first, second = replace(disc(), cuts=(2,)), replace(disc(), cuts=(3,))
    whole = torch.zeros(GRID.as_tuple)
    part = whole.clone()
    part[:, :, 5:] = 1
    shares = {0.0: (2,), 1.0: (3,), 0.5: (2, 3)}
    assert {share: motion_blend.blend(first, second, share).cuts for share in shares} == shares
    masks = [(whole, (2,)), (whole + 1, (3,)), (part, (2, 3))]
    assert [motion_blend.blend(first, second, mask).cuts for mask, _ in masks] == [cuts for _, cuts in masks]


def test_blending_fits_the_second_to_the_first_and_refuses_another_model():
    other = replace(disc(), fingerprint=replace(FINGERPRINT, dim=512))
    with pytest.raises(ValueError, match="motion_b: expected dim 256, as in motion_a, got dim 512; read both"):
        motion_blend.blend(disc(), other, 0.5)
    with pytest.raises(ValueError, match="weight: expected a finite number from 0 to 1, got 2"):
        motion_blend.blend(disc(), disc(), 2.0)
    longer = motion_size.fit_to(disc(), TokenGrid(9, 6, 6))
    assert motion_blend.blend(disc(), longer, 0.5).grid == GRID


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sharpness": 2.0}, "expected sharpness 1.0, as in motion_a, got 2.0"),
        ({"window": None}, "expected window 5, as in motion_a, got None"),
        ({"window": 7}, "expected window 5, as in motion_a, got 7"),
        ({"centre": "argmax"}, "expected centre self, as in motion_a, got argmax"),
    ],
)
def test_blending_refuses_vectors_that_mean_something_else(change, message):
    first = replace(disc(), config=replace(disc().config, window=5))
    other = replace(first, config=replace(first.config, **change))
    with pytest.raises(ValueError, match=f"motion_b: {message}; read both alike"):
        motion_blend.blend(first, other, 0.5)
    on_another_grid = motion_size.fit_to(first, TokenGrid(5, 18, 20))
    assert on_another_grid.config.window != 5
    assert motion_blend.blend(first, on_another_grid, 0.5).grid == GRID
    # What differs first is the objective: its settings follow from it.
    with pytest.raises(ValueError, match="motion_b: expected objective FastVMT, as in motion_a, got DiTFlow"):
        motion_blend.blend(first, replace(other, objective="DiTFlow"), 0.5)
    with pytest.raises(ValueError, match=r"motion_b: expected sigmas \(.*\), as in motion_a, got \(0.9,\)"):
        motion_blend.blend(first, replace(first, sigmas=(0.9,)), 0.5)


def test_masks_are_carried_and_multiply():
    mask = torch.zeros(GRID.as_tuple)
    mask[:, :, :5] = 1
    motion = motion_blend.masked(disc(), mask)
    assert torch.equal(motion_edit.mirror(motion).mask, mask.flip(2))
    half = motion_blend.masked(motion, torch.full(GRID.as_tuple, 0.5))
    assert torch.equal(half.mask, mask * 0.5)
    with pytest.raises(ValueError, match="mask: expected some area that is guided"):
        motion_blend.masked(motion, 1 - mask)
    with pytest.raises(ValueError, match=r"mask: expected finite numbers of shape \(5, 9, 10\)"):
        motion_blend.masked(motion, mask[:1])


def test_masks_of_images_fit_the_tokens():
    image = torch.zeros(90, 100)
    image[:, :50] = 1
    small = motion_blend.token_mask(image, GRID)
    assert small.shape == GRID.as_tuple
    assert bool((small[:, :, :4] > 0.99).all()) and bool((small[:, :, 6:] < 0.01).all())
    soft = motion_blend.token_mask(image, GRID, feather=2.0)
    assert bool((soft.diff(dim=2) <= 1e-6).all()) and 0.05 < float(soft[0, 0, 6]) < 0.45
    moving = torch.stack([torch.full((9, 10), float(time)) / 16 for time in range(17)])
    # The first latent frame holds one frame of the clip, the others four: 1-4, 5-8, ...
    torch.testing.assert_close(
        motion_blend.token_mask(moving, GRID)[:, 0, 0], torch.tensor([0, 2.5, 6.5, 10.5, 14.5]) / 16, atol=0.01, rtol=0
    )


@pytest.mark.parametrize(
    ("value", "shape", "got"), [(math.nan, (1, 9, 9), "'NaN or infinity'"), (0.5, (9,), r"\(9,\)")]
)
def test_a_mask_that_is_none_says_why(value, shape, got):
    with pytest.raises(ValueError, match=f"^mask: expected .*, got {got}"):
        motion_blend.token_mask(torch.full(shape, value), GRID)


def test_a_mask_of_any_frame_of_the_clip_reaches_the_tokens():
    """A latent frame holds four frames of the clip: it takes the mean of their masks, not that of one of them."""
    white = torch.zeros(17, 9, 10)
    white[2:4] = 1
    assert motion_blend.token_mask(white, GRID)[:, 0, 0].tolist() == [0, 0.5, 0, 0, 0]
    every = torch.rand(17, 1, 1, generator=torch.Generator().manual_seed(0)).expand(-1, 9, 10)
    means = [float(every[:1].mean()), *(float(every[first : first + 4].mean()) for first in range(1, 17, 4))]
    torch.testing.assert_close(motion_blend.token_mask(every, GRID)[:, 0, 0], torch.tensor(means))
    # LTX-Video's latent frames hold eight.
    eighths = torch.rand(33, 1, 1, generator=torch.Generator().manual_seed(1)).expand(-1, 9, 10)
    means = [float(eighths[:1].mean()), *(float(eighths[first : first + 8].mean()) for first in range(1, 33, 8))]
    torch.testing.assert_close(motion_blend.token_mask(eighths, GRID, stride=8)[:, 0, 0], torch.tensor(means))
    # One for each latent frame, and fewer than those.
    exact = torch.arange(5.0).reshape(5, 1, 1).expand(-1, 9, 10) / 4
    assert motion_blend.token_mask(exact, GRID)[:, 0, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert motion_blend.token_mask(exact[[0, 4]], GRID)[:, 0, 0].tolist() == [0, 0, 0, 1, 1]
