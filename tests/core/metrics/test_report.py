"""Clips compared by their movement."""

import numpy as np
import pytest
import torch

from fastvmt_core.metrics.report import compared, moving
from tests.core.video.allocations import allocated
from tools.train.clips import make_clip

pytest.importorskip("cv2")

# Clips of mostly sideways movement: the mirrored clip of an upright one moves just as it does.
SIDEWAYS = [
    seed
    for seed in range(1000, 1040)
    if np.abs(np.diff(make_clip(seed, frames=5, size=32).path, axis=0)).sum(0) @ (1, -3) > 0
][:3]


def clip(seed):
    return torch.from_numpy(make_clip(seed).frames)


@pytest.mark.parametrize("seed", SIDEWAYS)
def test_identical_clips_agree_and_mirrored_ones_do_not(seed):
    frames = clip(seed)
    assert compared(frames, frames, 8).fidelity >= 0.99
    assert compared(frames.flip(2), frames, 8).fidelity < 0.5


def test_the_look_does_not_count_and_the_motion_does():
    frames = clip(SIDEWAYS[0])
    other_look = torch.from_numpy(make_clip(SIDEWAYS[0], "white", "ring", "plain").frames)
    other_motion = clip(SIDEWAYS[1])
    assert compared(other_look, frames, 8).fidelity > compared(other_motion, frames, 8).fidelity


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_camera_moves_come_in_the_right_order(seed):
    # A texture behind a panning window: the same pan, a slower turn of it, the opposite.
    generator = torch.Generator().manual_seed(seed)
    wide = torch.nn.functional.interpolate(
        torch.rand(1, 3, 24, 40, generator=generator), scale_factor=8, mode="bicubic"
    )
    wide = wide[0].permute(1, 2, 0).clamp(0, 1)

    def pan(dx, dy):
        at = [(40 + round(dx * time), 40 + round(dy * time)) for time in range(-8, 9)]
        return torch.stack([wide[y : y + 96, x + 40 : x + 168] for x, y in at])

    reference = pan(4, 0)
    scores = [compared(pan(*step), reference, 16).fidelity for step in ((4, 0), (3, 2), (0, 4), (-4, 0))]
    assert scores == sorted(scores, reverse=True) and scores[0] >= 0.99 and scores[-1] < 0


def test_another_size_and_length_is_brought_to_the_generated_clips():
    frames = clip(SIDEWAYS[0])
    small = frames[::2, ::2, ::2]
    found = compared(small, frames, 8)
    assert found.images.shape == (9, 64, 134, 3) and found.report["reference_resampled"]
    assert found.fidelity > 0.9


def test_only_moving_points_are_compared():
    still, moved = torch.zeros(9, 4, 2), torch.zeros(2, 4, 2)
    moved[:, :, 0] = torch.arange(4.0) * 3
    assert len(moving(torch.cat((still, moved)))) == 2
    assert len(moving(still)) == 9


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (torch.zeros(1, 32, 32, 3), "generated: expected a clip of at least 2"),
        (torch.zeros(5, 32, 32), "generated: expected a clip of shape"),
    ],
)
def test_a_single_image_is_no_clip(made, message):
    with pytest.raises(ValueError, match=message):
        compared(made, torch.zeros(5, 32, 32, 3), 8)


def test_nothing_but_the_results_is_as_large_as_a_long_clip():
    generated, reference = torch.rand(64, 48, 64, 3), torch.rand(96, 60, 80, 3)
    # Tracks and the squares in which lines are drawn do not grow with the frames.
    half = generated.nbytes // 2
    resized, drawn = generated.nbytes, 64 * 48 * (2 * 64 + 6) * 3 * 4
    assert allocated(lambda: compared(generated, reference, 16), half) == [drawn, resized]
    # A clip of the same size and length is not copied.
    backwards = generated.flip(0)
    assert allocated(lambda: compared(generated, backwards, 16), half) == [drawn]
