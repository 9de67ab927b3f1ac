"""Figures of one video: exact on clips made by hand, and in the right order on clips that are better or worse."""

import pytest
import torch

from fastvmt_core.metrics import quality
from tools.train.clips import make_clip


def clip(seed=1003, **options):
    return torch.from_numpy(make_clip(seed, **options).frames)


def test_a_still_clip_does_not_flicker_and_one_that_blinks_does_by_its_step():
    still = torch.full((4, 16, 16, 3), 0.5)
    blinking = still + torch.tensor([0.0, 0.25, 0.0, 0.25])[:, None, None, None]
    assert quality.temporal_flickering(still) == 1.0
    assert quality.temporal_flickering(blinking) == pytest.approx(0.75)


def test_a_frame_out_of_place_is_less_smooth():
    pytest.importorskip("cv2")
    frames = clip()
    swapped = frames[torch.tensor([0, 2, 1, *range(3, len(frames))])]
    assert quality.motion_smoothness(swapped) < quality.motion_smoothness(frames) < 1
    assert quality.motion_smoothness(frames[:2]) is None
    assert quality.motion_smoothness(frames[:1].expand(5, -1, -1, -1)) == pytest.approx(1.0, abs=1e-6)


def test_the_dynamic_degree_is_the_fastest_pixels_step():
    pytest.importorskip("cv2")
    texture = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    wide = torch.nn.functional.interpolate(texture, scale_factor=8, mode="bicubic")[0].permute(1, 2, 0).clamp(0, 1)
    pan = torch.stack([wide[:, 3 * time : 3 * time + 128] for time in range(6)])
    # The border, which comes into view, has no place in the frame before.
    assert quality.dynamic_degree(pan) == pytest.approx(3, abs=0.5)
    assert quality.dynamic_degree(pan[:1].expand(4, -1, -1, -1)) == pytest.approx(0, abs=1e-3)


def test_subject_consistency_is_the_cosine_to_the_first_and_to_the_last_frame():
    turned = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    # To the first: 0 and 0; to the one before: 0 and 1.
    assert quality.subject_consistency(turned) == pytest.approx(0.25)
    assert quality.subject_consistency(turned[:1].expand(5, -1)) == pytest.approx(1.0)


def test_only_a_background_that_is_shared_counts_as_shared_layout():
    reference = clip(background="blobs")
    same, other = clip(1005, background="blobs"), clip(1005, background="checks")
    assert quality.shared_layout(same, reference) > 0.95
    assert abs(quality.shared_layout(other, reference)) < 0.3
    # One path on plain grounds: what moves does not count, and a plain part says nothing.
    assert quality.shared_layout(clip(background="plain"), clip(background="plain", colour="white")) is None
    assert quality.shared_layout(torch.rand(4, 16, 16, 3), reference[:4, :16, :16]) is None
