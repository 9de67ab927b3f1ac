"""Motion metrics against paths whose likeness is known."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from fastvmt_core.metrics.fidelity import (
    dense_tracks,
    motion_fidelity,
    path_correlation,
    path_error,
    temporal_consistency,
)


def line(dx, dy, frames=5, start=(0.0, 0.0)):
    return torch.tensor(start) + torch.arange(frames)[:, None] * torch.tensor([dx, dy], dtype=torch.float32)


def test_fidelity_of_a_set_with_itself_is_1():
    tracks = torch.randn(7, 9, 2, generator=torch.Generator().manual_seed(0)).cumsum(1)
    assert motion_fidelity(tracks, tracks) == pytest.approx(1)
    assert motion_fidelity(tracks, tracks[torch.randperm(7)] * 3 + 50) == pytest.approx(1)


def test_fidelity_by_hand():
    right, up, diagonal = line(1, 0), line(0, -2), line(3, 3)
    assert motion_fidelity(right[None], up[None]) == pytest.approx(0)
    assert motion_fidelity(right[None], -right[None]) == pytest.approx(-1)
    # Of the first set, right finds right (1) and up finds right (0); of the second, both find their best (1, cos 45).
    both_ways = (0.5 * (1 + 0.0) + 0.5 * (1 + math.sqrt(0.5))) / 2
    assert motion_fidelity(torch.stack([right, up]), torch.stack([right, diagonal])) == pytest.approx(both_ways)


def test_fidelity_averages_over_frames_and_takes_any_numbers_of_tracks():
    turning = torch.cat([line(1, 0, 3), line(0, 1, 3)[1:] + torch.tensor([2.0, 0.0])])
    assert motion_fidelity(turning[None], line(1, 0).expand(4, -1, -1)) == pytest.approx(0.5)


def test_still_tracks_agree_with_still_ones_only():
    assert motion_fidelity(line(0, 0)[None], line(0, 0, start=(3.0, 4.0))[None]) == pytest.approx(1)
    assert motion_fidelity(line(0, 0)[None], line(1, 0)[None]) == pytest.approx(0)


def test_path_error_is_the_mean_distance():
    assert path_error(line(1, 0), line(1, 0, start=(3.0, 4.0))) == pytest.approx(5)
    assert path_error(line(1, 0), line(2, 0)) == pytest.approx(2)


def test_path_correlation_sees_form_not_place_or_size():
    arc = torch.stack([torch.linspace(0, 3, 9), torch.linspace(0, 3, 9).square()], dim=-1)
    assert path_correlation(arc, 4 * arc - 7) == pytest.approx(1)
    assert path_correlation(arc, -arc) == pytest.approx(-1)
    assert path_correlation(line(1, 0), line(0, 1)) == pytest.approx(0)
    assert path_correlation(line(1, 0), line(1, 1)) == pytest.approx(math.sqrt(0.5))
    assert path_correlation(line(1, 0), line(0, 0)) == 0


def test_temporal_consistency_is_the_mean_cosine_of_neighbours():
    features = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    assert temporal_consistency(features) == pytest.approx(0.5)
    assert temporal_consistency(features[:, :, None, None].expand(-1, -1, 2, 2)) == pytest.approx(0.5)


def test_dense_tracks_follow_a_moving_texture():
    pytest.importorskip("cv2")
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(1, 3, 16, 20, generator=generator)
    texture = torch.nn.functional.interpolate(texture, scale_factor=6, mode="bicubic")[0].clamp(0, 1).permute(1, 2, 0)
    clip = torch.stack([texture[20 - 2 * frame : 84 - 2 * frame, 20 - frame : 100 - frame] for frame in range(5)])
    tracks = dense_tracks(clip, spacing=8)
    assert tracks.shape == (8 * 10, 5, 2)
    inner = tracks[(tracks[:, 0] > 12).all(-1) & (tracks[:, 0] < 50).all(-1)]
    assert float((inner[:, -1] - inner[:, 0] - torch.tensor([4.0, 8.0])).abs().median()) < 0.3
    assert motion_fidelity(inner, line(1, 2)[None]) > 0.95


def test_more_points_than_opencv_takes_rows():
    pytest.importorskip("cv2")
    frames = torch.rand(2, 256, 160, 3, generator=torch.Generator().manual_seed(0))
    assert dense_tracks(frames, spacing=1).shape == (256 * 160, 2, 2)


def test_many_tracks_are_compared_in_parts(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(n, 6, 2, generator=generator).cumsum(1) for n in (37, 23))
    whole = motion_fidelity(one, other)
    monkeypatch.setattr("fastvmt_core.metrics.fidelity._PAIRS_AT_ONCE", 100)
    assert motion_fidelity(one, other) == pytest.approx(whole, abs=1e-12)


def test_without_opencv_the_tracker_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match="pip install opencv-python-headless"):
        dense_tracks(torch.zeros(2, 16, 16, 3))


@pytest.mark.parametrize(
    "call",
    [
        lambda: motion_fidelity(torch.zeros(2, 5), torch.zeros(1, 5, 2)),
        lambda: motion_fidelity(torch.zeros(0, 5, 2), torch.zeros(1, 5, 2)),
        lambda: motion_fidelity(torch.zeros(1, 5, 2), torch.zeros(1, 4, 2)),
        lambda: motion_fidelity(torch.zeros(1, 5, 2), torch.full((1, 5, 2), torch.nan)),
        lambda: path_error(line(1, 0, 4), line(1, 0, 5)),
        lambda: path_correlation(line(1, 0, 1), line(1, 0, 1)),
        lambda: path_correlation(line(1, 0), line(math.nan, 0)),
        lambda: temporal_consistency(torch.zeros(1, 4)),
        lambda: temporal_consistency(torch.full((3, 4), torch.inf)),
        lambda: dense_tracks(torch.zeros(2, 8, 8, 3)),
        lambda: dense_tracks(torch.zeros(2, 16, 16, 3), spacing=0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match="expected .*, got "):
        call()
