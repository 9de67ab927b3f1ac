"""Cuts inside a reference: where they are detected, and that nothing is matched across one."""

from dataclasses import replace

import pytest
import torch

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.config import AMFConfig, CutConfig, LossWeights
from fastvmt_core.objectives.fastvmt import motion_loss
from fastvmt_core.video.cuts import (
    carried_cuts,
    find_cuts,
    find_cuts_in_video,
    frame_mismatch,
    latent_cuts,
    shots,
    straddles,
)

CONFIG = CutConfig()


def shot(seed, frames, step=1):
    """Keys (F, 10, 12, 2, 8) of a random texture that moves by `step` tokens a frame and goes round."""
    texture = torch.randn(10, 12, 2, 8, generator=torch.Generator().manual_seed(seed))
    return torch.stack([texture.roll(step * frame, dims=1) for frame in range(frames)])


def test_a_frame_matches_itself_moved_and_mismatches_another():
    first, moved, other = shot(0, 2)[0], shot(0, 2)[1], shot(1, 1)[0]
    # Cosines of float32 vectors: 1 to rounding.
    assert abs(frame_mismatch(first, moved, 0.08)) < 1e-5
    assert frame_mismatch(first, other, 0.08) > 0.2
    assert frame_mismatch(first, -first, 1.0) == pytest.approx(frame_mismatch(-first, first, 1.0), abs=1e-6)


def test_the_frame_that_matches_less_well_counts():
    empty = torch.ones(4, 4, 1, 8)
    with_object = empty.clone()
    with_object[1, 1] = -1
    # Every token of the empty frame has its match in the other, whose object has none.
    assert frame_mismatch(empty, with_object, 1 / 16) == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize("cut", [1, 2, 4, 5])
def test_a_cut_is_detected_at_its_frame(cut):
    assert find_cuts(torch.cat([shot(0, cut), shot(1, 6 - cut)]), CONFIG) == (cut,)


def test_two_cuts_are_detected():
    k = torch.cat([shot(0, 3), shot(1, 3), shot(2, 3)])
    assert find_cuts(k, CONFIG) == (3, 6)


def test_steady_motion_and_new_texture_in_every_frame_are_no_cuts():
    assert find_cuts(shot(0, 6, step=3), CONFIG) == ()
    assert find_cuts(torch.cat([shot(seed, 1) for seed in range(6)]), CONFIG) == ()


def test_a_clip_too_short_to_compare_has_none():
    k = torch.cat([shot(0, 2), shot(1, 1)])
    assert find_cuts(k, CONFIG) == ()
    assert find_cuts(k, replace(CONFIG, shortest=3)) == (2,)


@pytest.mark.parametrize(
    ("pair", "cuts", "apart"),
    [
        ((0, 1), (), False),
        ((0, 1), (1,), True),
        ((1, 1), (1,), False),
        ((1, 3), (1,), False),
        ((1, 3), (2,), True),
        ((0, 4), (1, 3), True),
    ],
)
def test_pairs_on_two_sides_of_a_cut(pair, cuts, apart):
    assert straddles(pair, cuts) == apart


def test_the_loss_of_a_cut_clip_is_that_of_its_shots_alone():
    config = AMFConfig(temporal_span=3, window=5, tile=(2, 2))
    weights = LossWeights(amf=1, consistency=1)
    random = torch.Generator().manual_seed(3)
    reference, generated = (torch.randn(2, 5, 6, 6, 2, 4, generator=random, dtype=torch.float64) for _ in range(2))
    whole = [attention_motion_flow(*clip, config) for clip in (reference, generated)]
    loss = motion_loss(*whole, weights, cuts=(2,))
    parts = [
        [attention_motion_flow(*clip[:, shot], config) for clip in (reference, generated)]
        for shot in (slice(0, 2), slice(2, 5))
    ]
    alone = [motion_loss(*part, weights) for part in parts]
    counts = [len(part[0].pairs) for part in parts]
    # A mean over all pairs that are left; the window loss is a mean over steps: 0 in the first shot, 1 in the second.
    expected = sum(count * one.amf for count, one in zip(counts, alone, strict=True)) / sum(counts)
    torch.testing.assert_close(loss.amf, expected, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(loss.consistency, alone[1].consistency, atol=1e-12, rtol=1e-9)
    assert not torch.isclose(loss.amf, motion_loss(*whole, weights).amf)


def test_shots_are_all_frames_in_order():
    assert shots((), 5) == (range(5),)
    assert shots((1, 4), 5) == (range(1), range(1, 4), range(4, 5))


def video(seed, frames, step=2):
    """(T, 48, 64, 3): a random texture of 8 px squares that moves by `step` pixels a frame and goes round."""
    texture = torch.rand(6, 8, 3, generator=torch.Generator().manual_seed(seed))
    texture = texture.repeat_interleave(8, 0).repeat_interleave(8, 1)
    return torch.stack([texture.roll(step * frame, dims=1) for frame in range(frames)])


@pytest.mark.parametrize("cut", [1, 6, 11])
def test_a_cut_of_a_video_is_detected_at_its_frame(cut):
    assert find_cuts_in_video(torch.cat([video(0, cut), video(1, 12 - cut)]), CONFIG) == (cut,)


def test_both_cuts_of_a_video_are_detected():
    assert find_cuts_in_video(torch.cat([video(seed, 8) for seed in range(3)]), CONFIG) == (8, 16)


@pytest.mark.parametrize("step", [0, 1, 6])
def test_steady_motion_is_no_cut(step):
    assert find_cuts_in_video(video(0, 12, step), CONFIG) == ()


def test_grain_on_a_still_a_flash_and_a_repeated_frame_are_no_cuts():
    still = video(0, 1).expand(12, -1, -1, -1).clone()
    grain = 0.1 * torch.rand(still.shape, generator=torch.Generator().manual_seed(1))
    flash, repeated = video(0, 12), video(0, 12)
    flash[6] = 1.0
    repeated[6] = repeated[5]
    for clip in (still + grain, flash, repeated):
        assert find_cuts_in_video(clip, CONFIG) == ()


@pytest.mark.parametrize("repeats", [2, 3, 4, 5])
def test_footage_of_fewer_frames_a_second_is_compared_with_itself(repeats):
    slow = torch.cat([video(0, 6), video(1, 6)]).repeat_interleave(repeats, 0)
    assert find_cuts_in_video(slow, CONFIG) == (6 * repeats,)


def test_a_cut_from_a_still_to_another_is_detected():
    stills = [video(seed, 1).expand(8, -1, -1, -1) for seed in (0, 1)]
    assert find_cuts_in_video(torch.cat(stills), CONFIG) == (8,)


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_a_video_of_a_few_frames_has_nothing_to_compare_a_change_with(frames):
    assert find_cuts_in_video(torch.rand(frames, 16, 16, 3), CONFIG) == ()


def test_a_cut_inside_a_frame_of_the_latent_belongs_to_its_larger_part():
    # Frames 1-4, 5-8, 9-12 of the video are frames 1, 2 and 3 of the latent.
    assert [latent_cuts((cut,), 13) for cut in range(1, 7)] == [(1,), (1,), (2,), (2,), (2,), (2,)]
    assert latent_cuts((5, 6, 9), 13) == (2, 3)
    assert latent_cuts((), 13) == ()
    # The last frame of the latent shows the old shot for the most part.
    assert latent_cuts((12,), 13) == ()


def test_cuts_go_with_the_frames_that_stand_on_their_two_sides():
    assert carried_cuts((2, 4), range(6)) == (2, 4)
    assert carried_cuts((2,), (5, 4, 3, 2, 1, 0)) == (4,)
    assert carried_cuts((2, 3), (0, 0, 4, 4)) == (2,)
    assert carried_cuts((), (0, 1)) == ()


def textured(seed, height=96, width=160):
    """(height, width, 3): a smooth random texture."""
    coarse = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    return smooth[0].permute(1, 2, 0).clamp(0, 1)


def still(seed, frames=33):
    return textured(seed).expand(frames, -1, -1, -1).clone()


def subtitled(clip):
    words = (torch.rand(12, 80, 1, generator=torch.Generator().manual_seed(7)) < 0.5).float()
    clip[24:, 76:88, 40:120] = words
    return clip


def entered(clip):
    clip[16:, 20:, :60] = textured(9)[20:, :60]
    return clip


ONE_SHOT = {
    "a subtitle that appears at frame 24": lambda: subtitled(still(0)),
    "a subtitle that goes": lambda: subtitled(still(0)).flip(0),
    "an exposure step of 0.02": lambda: torch.cat((still(0, 16), still(0, 17) + 0.02)),
    "a gain step of 0.6": lambda: torch.cat((still(0, 16), still(0, 17) * 0.6)),
    "one step of 20 px": lambda: torch.cat((still(0, 16), still(0, 17).roll(20, 2))),
    "an object that appears at once": lambda: entered(still(0)),
}


@pytest.mark.parametrize("kind", ONE_SHOT)
def test_what_leaves_most_of_the_frame_in_sight_is_no_cut(kind):
    assert find_cuts_in_video(ONE_SHOT[kind](), CONFIG) == ()


@pytest.mark.parametrize(
    "clip",
    [
        lambda: torch.cat((still(0, 16), still(1, 17))),
        lambda: torch.cat((subtitled(still(0))[-16:], subtitled(still(1))[-17:])),
        lambda: torch.cat((still(0, 16), still(1, 17) * 0.6 + 0.2)),
        lambda: torch.cat((torch.zeros_like(still(0, 16)), still(1, 17))),
    ],
    ids=["another scene", "another scene under one subtitle", "another scene, darker", "from black"],
)
def test_another_scene_is_a_cut(clip):
    assert find_cuts_in_video(clip(), CONFIG) == (16,)
