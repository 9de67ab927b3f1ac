"""References: the same motion in every kind, and a prompt of another look."""

import numpy as np
import pytest
import torch

from benchmarks.quality.camera import camera_path
from benchmarks.runs.measures import path_correlation, path_error
from benchmarks.runs.references import KINDS, make_reference
from fastvmt_core.tiny_prompt import parse
from tools.train.clips import make_clip


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_asks_for_another_colour_and_shape(kind):
    for index in range(4):
        reference, clip = make_reference(index, kind), make_clip(1000 + index)
        words = parse(reference.prompt)
        assert words.sprites == tuple((target.colour, target.shape) for target in reference.targets)
        drawn = make_reference(index)
        assert np.array_equal(drawn.targets[0].path, clip.path)
        assert len(reference.frames) == len(reference.targets[0].path)


def test_the_look_differs_from_the_reference_s_own():
    for index in range(12):
        target = make_reference(index).targets[0]
        shown = make_reference(index, colours=("red", "blue"), shapes=("circle", "square"))
        assert {target.colour, target.shape} & {"red", "green", "blue", "yellow", "magenta", "white"}
        other = {"red": "blue", "blue": "red"}[shown.targets[0].colour]
        # The reference's own colour is found in its first frame, at the sprite's centre.
        x, y = shown.targets[0].path[0].round().astype(int)
        red, _, blue = shown.frames[0, y, x]
        assert (red > blue) == (other == "red")


def test_the_same_index_gives_the_same_clip_and_another_another():
    assert np.array_equal(make_reference(3).frames, make_reference(3).frames)
    assert not np.array_equal(make_reference(3).frames, make_reference(4).frames)


def test_kinds_keep_the_motion_and_change_what_they_say():
    plain = make_reference(1)
    camera, deform, jump, cut = (make_reference(1, kind) for kind in ("camera", "deform", "jump", "cut"))
    assert np.array_equal(camera.targets[0].path, plain.targets[0].path)
    assert np.array_equal(deform.targets[0].path, plain.targets[0].path)
    assert not np.array_equal(camera.frames, plain.frames)
    assert not np.array_equal(deform.frames, plain.frames)
    half = len(plain.frames) // 2
    # A cut clip changes where a frame of the latent begins: 1, 5, 9, ...
    at = half + 1
    assert np.array_equal(jump.targets[0].path[:half], plain.targets[0].path[:half])
    assert np.array_equal(cut.frames[:at], plain.frames[:at])
    assert (cut.frames[at:] != plain.frames[at:]).any(axis=(1, 2, 3)).all()
    two = make_reference(1, "two")
    assert len(two.targets) == 2
    assert two.targets[0].colour != two.targets[1].colour


@pytest.mark.parametrize("index", range(4))
def test_the_way_of_a_moving_camera_can_be_told_from_the_frames(index):
    # Without a blur or a wrong pixel in them: what a perfect model's clip would get.
    reference = make_reference(index, "camera")
    found = torch.from_numpy(camera_path(reference.frames, [target.path for target in reference.targets]))
    known = torch.from_numpy(reference.camera)
    assert path_correlation(found, known) > 0.99 and path_error(found, known) < 1.0


@pytest.mark.parametrize("part", [0, 1])
def test_a_shot_is_half_of_a_cut_clip_alone(part):
    cut, shot = make_reference(1, "cut", frames=33, part=part), make_reference(1, "shot", frames=17, part=part)
    assert len(shot.frames) == 17
    both, judged = slice(None) if part == 0 else slice(1, None), slice(*cut.judged)
    assert np.array_equal(shot.frames[both], cut.frames[judged])
    assert np.array_equal(shot.targets[0].path[both], cut.targets[0].path[judged])
    assert shot.prompt == cut.prompt


def test_size_and_length_are_as_asked():
    reference = make_reference(0, size=64, frames=9)
    assert reference.frames.shape == (9, 64, 64, 3)
    assert reference.targets[0].path.max() < 64


def test_unknown_kinds_and_too_few_words_are_refused():
    with pytest.raises(ValueError, match="reference kind: expected one of plain"):
        make_reference(0, "still")
    with pytest.raises(ValueError, match="expected two colours"):
        make_reference(0, colours=("red",))
