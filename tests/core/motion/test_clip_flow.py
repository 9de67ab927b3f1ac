"""The frame flow of a clip from its own frames: a known movement, moments of latent frames, sizes."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d

from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.clip_flow import clip_steps, steps_on_tokens
from tests.core.video.allocations import allocated


def panned(step, frames=9, height=96, width=128):
    """(T, H, W, 3): a soft random texture that moves by `step` pixels a frame."""
    generator = torch.Generator().manual_seed(0)
    wide = torch.rand(1, 3, height + 120, width + 120, generator=generator)
    wide = avg_pool2d(avg_pool2d(wide, 9, 1), 9, 1)[0].permute(1, 2, 0)
    wide = (wide - wide.min()) / (wide.max() - wide.min())
    windows = []
    for time in range(frames):
        x, y = 50 - step[0] * time, 50 - step[1] * time
        windows.append(wide[y : y + height, x : x + width])
    return torch.stack(windows)


@pytest.mark.parametrize("step", [(2, 0), (-1, 2), (0, 0)])
def test_a_known_movement_is_measured_in_latent_pixels_and_in_tokens(step):
    steps = clip_steps(panned(step), (12, 16))
    assert steps.shape == (2, 2, 12, 16, 2) and steps.dtype == torch.float32
    # Latent frame 0 is frame 0; 1 and 2 stand for frames 2.5 and 6.5.
    inner = steps[:, :, 3:-3, 3:-3].mean((2, 3))
    apart = torch.tensor([2.5, 4.0])[:, None] * torch.tensor(step) / 8
    # A quarter of a place a frame, as here, is matched a little short of itself: .05 of a place, four times.
    torch.testing.assert_close(inner, torch.stack((apart, -apart)), atol=0.2, rtol=0)
    on_tokens = steps_on_tokens(steps, TokenGrid(3, 6, 8))
    assert on_tokens.shape == (2, 2, 6, 8, 2)
    torch.testing.assert_close(on_tokens.mean((2, 3)), steps.mean((2, 3)) / 2)


def test_large_frames_are_matched_at_no_more_places():
    small, large = clip_steps(panned((2, 0), 5), (12, 16)), None
    frames = panned((2, 0), 5).repeat_interleave(8, 1).repeat_interleave(8, 2)
    large = clip_steps(frames, (96, 128))
    # One place a latent pixel: the same frames, matched at 128 places instead of 32.
    assert large.shape == (2, 1, 96, 128, 2)
    torch.testing.assert_close(
        large[:, :, 24:-24, 24:-24].mean((2, 3)), 8 * small[:, :, 3:-3, 3:-3].mean((2, 3)), atol=0.5, rtol=0.1
    )


def test_frames_are_shrunk_one_by_one_and_each_pair_is_counted():
    frames, pairs = panned((1, 0), 25).repeat_interleave(4, 1).repeat_interleave(4, 2), []
    # A quarter of a clip of 25 frames: matching holds a few tables of one pair at a time.
    assert allocated(lambda: clip_steps(frames, (12, 16), on_frame=lambda: pairs.append(1)), frames.nbytes // 4) == []
    assert len(pairs) == 24


def test_a_single_frame_does_not_move():
    assert clip_steps(panned((1, 1), 1), (12, 16)).shape == (2, 0, 12, 16, 2)
    assert steps_on_tokens(torch.zeros(2, 0, 12, 16, 2), TokenGrid(1, 6, 8)).shape == (2, 0, 6, 8, 2)


def test_a_clip_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"4n \+ 1"):
        clip_steps(panned((1, 1), 6), (12, 16))


@pytest.mark.parametrize("cut", [5, 6, 7, 8])
def test_nothing_moves_from_one_shot_to_the_next(cut):
    """Also where the cut lies within the frames of the video that one latent frame stands for."""
    still, turned = panned((0, 0), 13), panned((0, 0), 13).flip(1, 2)
    clip = torch.cat([still[:cut], turned[cut:]])
    # What stands still is matched a little off its place, too.
    most = max(float(clip_steps(each, (12, 16)).abs().max()) for each in (still, turned))
    assert float(clip_steps(clip, (12, 16), cuts=(cut,)).abs().max()) <= most + 1e-4
