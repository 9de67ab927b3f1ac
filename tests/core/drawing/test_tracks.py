"""Tracks of other nodes: read, cleaned and refused; and tracks of a motion."""

import json

import pytest
import torch

from fastvmt_core.drawing.tracks import MOST_TRACKS, cleaned, tracks_of_host, tracks_of_motion, tracks_of_text
from tests.core.motion.made_motions import panned

SIZE = (128, 96)


def points(*path):
    return [{"x": x, "y": y} for x, y in path]


def host(path, visible=None):
    value = {"track_path": torch.as_tensor(path, dtype=torch.float32)}
    return value if visible is None else {**value, "track_visibility": visible}


def line(frames=5, tracks=2):
    return torch.linspace(10, 90, frames)[:, None, None].expand(frames, tracks, 2).clone()


def test_the_hosts_tracks_come_back_as_they_are():
    tracks = tracks_of_host(host(line()))
    assert torch.equal(tracks.points, line()) and bool(tracks.visible.all())
    again = tracks_of_host(tracks.as_host())
    assert torch.equal(again.points, tracks.points) and torch.equal(again.visible, tracks.visible)
    # A mask of the frames alone, as the host's nodes make it.
    seen = torch.tensor([True, False, True, True, True])[:, None]
    assert tracks_of_host(host(line(), seen)).visible.sum() == 8


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"track_path": [[1, 2]]}, host(torch.zeros(5, 2)), host(line(), torch.ones(4, 2, dtype=torch.bool))],
)
def test_what_are_no_tracks_is_refused_by_name(value):
    with pytest.raises(ValueError, match="tracks: expected TRACKS with track_path .*, got .*; "):
        tracks_of_host(value)


@pytest.mark.parametrize("shape", [(0, 2, 2), (5, 0, 2), (5000, 1000, 2)])
def test_no_tracks_and_too_many_are_refused(shape):
    value = {"track_path": torch.zeros(1).expand(shape)}
    with pytest.raises(ValueError, match="tracks: expected at least one position and at most 4,000,000 in all"):
        tracks_of_host(value)


def test_coordinates_of_a_spline_editor_and_of_ati():
    one = points((10, 20), (30, 20))
    for text in (json.dumps(one), json.dumps([one]), str(one)):
        tracks = cleaned(tracks_of_text(text), SIZE, 3)[0]
        assert tracks.points[:, 0].tolist() == [[10, 20], [20, 20], [30, 20]]
    both, _ = cleaned(tracks_of_text(json.dumps([one, points(*[(i, i) for i in range(121)])])), (128, 128), 5)
    assert both.points.shape == (5, 2, 2) and both.points[:, 1, 0].tolist() == [0, 30, 60, 90, 120]
    again, _ = cleaned(tracks_of_text(both.as_text()), (128, 128), 5)
    assert again.points.tolist() == both.points.tolist()


def test_ten_thousand_points_are_stretched():
    text = json.dumps(points(*[(i / 100, 5) for i in range(10_000)]))
    tracks, _ = cleaned(tracks_of_text(text), SIZE, 17)
    assert tracks.points.shape == (17, 1, 2)
    assert tracks.points[:, 0, 0].tolist() == pytest.approx([99.99 * i / 16 for i in range(17)], abs=1e-3)


@pytest.mark.parametrize(
    "text",
    [
        f'[{{"x": 1{"0" * 400}, "y": 1}}]',
        "",
        "[]",
        "[[]]",
        "{",
        "3",
        "[1]",
        "[[1, 2]]",
        '[{"x": 1}]',
        '[{"x": "1", "y": 2}]',
        '[{"x": 1, "y": null}]',
    ],
)
def test_what_are_no_coordinates_is_refused_by_name(text):
    with pytest.raises(ValueError, match="coordinates: expected "):
        tracks_of_text(text)


def test_a_text_too_long_is_refused():
    with pytest.raises(ValueError, match="coordinates: expected at most 4,000,000 characters, got 4,000,001"):
        tracks_of_text(" " * 4_000_001)


def test_nan_is_hidden_and_named():
    path = line()
    path[2, 0] = torch.nan
    tracks, note = cleaned([tracks_of_host(host(path))], SIZE, 5)
    assert note == "Not finite or out of range: 1 of the positions; the track is hidden there."
    assert not bool(tracks.visible[2, 0]) and tracks.visible.sum() == 9
    # Between its neighbours: the disc comes back where it would have been.
    torch.testing.assert_close(tracks.points, line())
    text = tracks_of_text('[{"x": 10, "y": 10}, {"x": 1e300, "y": 10}, {"x": 30, "y": 10}]')
    tracks, note = cleaned(text, SIZE, 3)
    assert note == "Not finite or out of range: 1 of the positions; the track is hidden there." and not bool(
        tracks.visible[1, 0]
    )
    assert tracks.points[:, 0, 0].tolist() == [10, 20, 30]


def test_out_of_frame_is_left_out_or_clipped_and_named():
    path = torch.cat((line(), line() + 1000, line()), 1)
    path[4, 0] = torch.tensor((1e6, 50.0))
    tracks, note = cleaned([tracks_of_host(host(path))], SIZE, 5)
    assert tracks.points.shape[1] == 4
    assert "Never seen inside the frame: 2 of the tracks, left out." in note
    assert "Far outside the frame: 1 of the positions, moved nearer." in note
    assert tracks.points.max() == 256


def test_too_many_tracks_are_thinned_and_named():
    many = line(tracks=1000) + torch.arange(1000)[None, :, None] / 1000
    tracks, note = cleaned([tracks_of_host(host(many))], SIZE, 5)
    assert tracks.points.shape == (5, MOST_TRACKS, 2) and note.startswith("Of 1000 tracks 64 are drawn")
    assert torch.equal(tracks.points[:, [0, -1]], many[:, [0, -1]])


@pytest.mark.parametrize("path", [torch.full((5, 2, 2), torch.nan), line() + 1000])
def test_no_track_that_is_seen_is_refused(path):
    with pytest.raises(ValueError, match="tracks: expected a track that is seen inside the frame of 128 x 96 pixels"):
        cleaned([tracks_of_host(host(path))], SIZE, 5)


def test_other_lengths_are_stretched():
    seen = torch.ones(9, 1, dtype=torch.bool)
    seen[:4] = False
    tracks, note = cleaned([tracks_of_host(host(line(9, 1), seen))], SIZE, 5)
    assert note == "" and tracks.visible[:, 0].tolist() == [False, False, True, True, True]
    # Before it is seen it waits where it will be.
    assert tracks.points[0, 0, 0] == tracks.points[1, 0, 0] == 50


def test_a_motion_gives_its_trajectories():
    motion, _ = panned(step=(0.5, 0.25))
    grid = motion.grid
    size = (16 * grid.width, 16 * grid.height)
    tracks = tracks_of_motion(motion, size, 2)
    assert tracks.points.shape == (4 * grid.frames - 3, (grid.height // 2) * (grid.width // 2), 2)
    assert tracks.points[0, 0].tolist() == [24, 24] and bool(tracks.visible[0].all())
    # Half a token and a quarter in each latent frame, which is four of the video: two pixels and one.
    torch.testing.assert_close(tracks.points[5, 0] - tracks.points[4, 0], torch.tensor((2.0, 1.0)), atol=0.2, rtol=0)
    with pytest.raises(ValueError, match="spacing: expected 1 to 17 tokens for 5 x 9 x 10 tokens .*, got 18; choose"):
        tracks_of_motion(motion, size, 18)
