"""The motion of chosen frames: parts, windows that go backwards, that leave frames out, or that begin again."""

from dataclasses import replace

import pytest
import torch

from fastvmt_core.attention.windows import frame_pairs
from fastvmt_core.motion.edit import EDITS, EditSettings, reverse
from fastvmt_core.motion.frames import motion_of_frames, spacing
from fastvmt_core.motion.trim import part_of
from tests.core.motion.made_motions import CLOSE, GRID, NEAR, PATH, disc, flow_of_path, noisy, tensors_of

PAIRS = frame_pairs(GRID.frames, 3)


def whole():
    latent = torch.randn(1, 16, 5, 18, 20, generator=torch.Generator().manual_seed(1))
    half = torch.rand(12, 5, 5, 2, generator=torch.Generator().manual_seed(2))
    return replace(noisy(), reference=latent, half_displacement=(half,), half_centres=(torch.rand(12, 2, 2),))


def test_a_part_holds_what_its_frames_had():
    motion = whole()
    part = part_of(motion, 1, 3)
    chosen = [PAIRS.index((i + 1, j + 1)) for i, j in frame_pairs(3, 3)]
    assert part.grid.as_tuple == (3, 9, 10) and part.cuts == (1,)
    assert torch.equal(part.flows[0].displacement, motion.flows[0].displacement[chosen])
    assert torch.equal(part.flows[0].centres, motion.flows[0].centres[chosen])
    assert torch.equal(part.half_displacement[0], motion.half_displacement[0][chosen])
    assert torch.equal(part.reference, motion.reference[:, :, 1:4])
    assert torch.equal(part.mask, motion.mask[1:4])
    assert torch.equal(part.frame_flow, motion.frame_flow[:, 1:3])
    assert part.flows[0].span == 3


def test_a_part_of_the_reversed_clip_is_the_reversed_part():
    motion = replace(whole(), half_displacement=(), half_centres=())
    one, other = reverse(part_of(motion, 1, 3)), part_of(reverse(motion), 1, 3)
    for expected, got in zip(tensors_of(one), tensors_of(other), strict=True):
        assert torch.equal(expected, got)


@pytest.mark.parametrize(("first", "count"), [(-1, 2), (3, 3), (1, 0)])
def test_frames_that_are_not_there_are_refused(first, count):
    with pytest.raises(ValueError, match="expected some of the motion's 5 latent frames"):
        part_of(whole(), first, count)


def test_trim_is_an_edit():
    assert torch.equal(EDITS["trim"](whole(), EditSettings(first=2, last=4)).mask, whole().mask[2:])
    with pytest.raises(ValueError, match="latent frames"):
        EDITS["trim"](whole(), EditSettings(first=3, last=2))


def test_all_frames_in_order_are_the_motion():
    motion = whole()
    for expected, got in zip(tensors_of(motion), tensors_of(motion_of_frames(motion, range(5))), strict=True):
        assert torch.equal(expected, got)


def test_frames_backwards_have_the_flow_of_the_reversed_clip():
    motion = replace(whole(), cuts=())
    window = motion_of_frames(motion, [3, 2, 1])
    assert torch.equal(window.flows[0].displacement, reverse(part_of(motion, 1, 3)).flows[0].displacement)
    assert torch.equal(window.mask, motion.mask[[3, 2, 1]])
    assert torch.equal(window.reference, motion.reference[:, :, [3, 2, 1]])
    assert window.cuts == ()


def test_frames_apart_are_followed_along_trajectories():
    window = motion_of_frames(disc(), [0, 2, 4])
    expected = flow_of_path(PATH[::2], grid=replace(GRID, frames=3))
    moving = expected.abs().sum(-1) > 0
    assert torch.allclose(window.flows[0].displacement[moving], expected[moving], **NEAR)
    assert spacing([0, 2, 4]) == 2


def test_nothing_is_compared_where_a_loop_begins_again():
    motion = replace(whole(), cuts=())
    window = motion_of_frames(motion, [3, 4, 0, 1])
    assert window.cuts == (2,)
    pairs = window.flows[0].pairs
    for place, (i, j) in (((0, 1), (3, 4)), ((2, 3), (0, 1)), ((3, 3), (1, 1))):
        got = window.flows[0].displacement[pairs.index(place)]
        assert torch.equal(got, motion.flows[0].displacement[PAIRS.index((i, j))])
    assert not window.flows[0].displacement[pairs.index((1, 2))].any()
    assert torch.equal(window.mask, motion.mask[[3, 4, 0, 1]])
    assert torch.allclose(window.frame_flow[:, 1], torch.zeros(()), **CLOSE)
    assert torch.equal(window.frame_flow[:, 2], motion.frame_flow[:, 0])


def test_a_single_frame_is_a_window_too():
    window = motion_of_frames(replace(whole(), cuts=()), [2])
    assert window.grid.frames == 1 and len(window.flows[0].pairs) == 1
