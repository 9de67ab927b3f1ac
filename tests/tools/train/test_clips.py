"""Clips match their description, and the tracker follows the paths."""

import itertools
import json

import av
import numpy as np
import pytest

from tools.train.clips import FRAMES, MARGIN, MOTIONS, RADIUS, SIZE, TRAVEL, make_clip, write_video
from tools.train.clips import main as clips_main
from tools.train.patterns import BACKGROUNDS, COLOURS, LANDMARKS, SHAPES
from tools.train.track import track

APPEARANCES = list(itertools.product(COLOURS, SHAPES, BACKGROUNDS))


def correlation(a, b):
    a, b = (path - path.mean(0) for path in (a, b))
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def test_same_seed_same_pixels_and_another_seed_another_path():
    first, again, other = make_clip(4), make_clip(4), make_clip(5)
    assert np.array_equal(first.frames, again.frames)
    assert not np.array_equal(first.path, other.path)


def test_a_given_colour_shape_and_background_do_not_change_the_path():
    motion = make_clip(7).motion
    paths = [make_clip(7, *appearance, motion).path for appearance in APPEARANCES[::17]]
    assert all(np.array_equal(path, paths[0]) for path in paths)


@pytest.mark.parametrize("motion", MOTIONS)
def test_clips_have_the_stated_size_range_and_travel(motion):
    for seed in range(10):
        clip = make_clip(seed, motion=motion)
        assert clip.frames.shape == (FRAMES, SIZE, SIZE, 3) and clip.frames.dtype == np.float32
        assert clip.path.shape == (FRAMES, 2)
        assert 0 <= clip.frames.min() and clip.frames.max() <= 1
        assert RADIUS[0] <= clip.radius <= RADIUS[1]
        assert np.linalg.norm(np.diff(clip.path, axis=0), axis=1).sum() <= TRAVEL[1] + 1e-9
        assert clip.path.min() >= clip.radius + MARGIN - 1e-9
        assert clip.path.max() <= SIZE - 1 - clip.radius - MARGIN + 1e-9


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_the_tracker_finds_the_true_path(colour, shape, background):
    clip = make_clip(APPEARANCES.index((colour, shape, background)), colour, shape, background)
    tracked = track(clip.frames, colour)
    assert np.linalg.norm(tracked - clip.path, axis=1).max() <= 1.0
    assert correlation(tracked, clip.path) >= 0.99


@pytest.mark.parametrize("colour", COLOURS)
def test_the_tracker_takes_no_landmark_of_a_moving_camera_for_the_sprite(colour):
    clip = make_clip(list(COLOURS).index(colour), colour, camera=True)
    assert clip.background == LANDMARKS
    assert np.linalg.norm(track(clip.frames, colour) - clip.path, axis=1).max() <= 1.5


def test_a_moving_camera_begins_anywhere():
    # Always over the same place, a single frame would show where the camera is.
    first, other = (make_clip(seed, "red", "circle", camera=True) for seed in (1, 2))
    assert not first.camera[0].any() and first.camera[-1].any()
    assert np.abs(first.frames[0] - other.frames[0]).mean() > 0.05


def test_a_faded_frame_is_interpolated():
    clip = make_clip(1, "red", "circle", "plain", "line")
    frames = clip.frames.copy()
    frames[8] = frames[:, 0, 0].mean(0)
    tracked = track(frames, "red")
    assert np.linalg.norm(tracked[8] - clip.path[8]) <= 1.0


def test_a_second_spot_of_the_colour_is_left_out():
    clip = make_clip(2, "blue", "square", "plain", "line")
    frames = clip.frames.copy()
    corner = np.array([[0, 0], [0, 118], [118, 0], [118, 118]])
    far = corner[np.argmax(np.linalg.norm(corner - clip.path.mean(0)[::-1], axis=1))]
    frames[:, far[0] : far[0] + 9, far[1] : far[1] + 9] = COLOURS["blue"]
    assert np.linalg.norm(track(frames, "blue") - clip.path, axis=1).max() <= 1.0


def test_no_sprite_gives_nan():
    clip = make_clip(3, "red", background="stripes")
    assert np.isnan(track(clip.frames, "blue")).all()


def test_the_command_writes_a_video_that_keeps_the_path(tmp_path):
    clips_main([str(tmp_path / "a.mp4"), "--seed", "3", "--colour", "magenta"])
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]) / 255
    clip = make_clip(3, "magenta")
    description = json.loads((tmp_path / "a.json").read_text())
    assert description["colour"] == "magenta" and description["size"] == [FRAMES, SIZE, SIZE]
    assert np.abs(np.array(description["path"]) - clip.path).max() < 1e-3
    assert np.linalg.norm(track(frames, "magenta") - clip.path, axis=1).max() <= 1.0


def test_write_video_takes_a_rate_that_is_no_integer(tmp_path):
    write_video(tmp_path / "a.mp4", make_clip(0).frames, fps=29.97)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(29.97, abs=0.01)
