"""References: the same motion in every kind, and a prompt of another colour and shape."""

import numpy as np
import pytest
import torch

from benchmarks.runs.camera import camera_path
from benchmarks.runs.measures import path_correlation, path_error
from benchmarks.runs.references import KINDS, make_reference
from fastvmt_core.tiny_prompt import parse
from tools.train.clips import make_clip
from tools.train.patterns import COLOURS


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_names_the_targets_of_the_same_path(kind):
    for index in range(4):
        reference, clip = make_reference(index, kind), make_clip(1000 + index)
        words = parse(reference.prompt)
        assert words.sprites == tuple((target.colour, target.shape) for target in reference.targets)
        drawn = make_reference(index)
        assert np.array_equal(drawn.targets[0].path, clip.path)
        assert len(reference.frames) == len(reference.targets[0].path)


def test_no_prompt_names_the_reference_s_own_colour_or_shape():
    for index in range(12):
        target, clip = make_reference(index).targets[0], make_reference(index)
        # The reference's own colour is at the sprite's centre (a ring's is empty) in its first frame.
        x, y = target.path[0].round().astype(int)
        own = np.linalg.norm(np.array(list(COLOURS.values())) - clip.frames[0, y, x], axis=1)
        if own.min() < 0.05:
            assert target.colour != list(COLOURS)[own.argmin()]


def test_each_index_has_a_clip_of_its_own():
    assert np.array_equal(make_reference(3).frames, make_reference(3).frames)
    assert not np.array_equal(make_reference(3).frames, make_reference(4).frames)


def test_kinds_keep_the_motion_and_change_their_own_part():
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
def test_the_path_of_a_moving_camera_is_in_the_frames(index):
    # Frames without blur or errors, as from a perfect model.
    reference = make_reference(index, "camera")
    measured = torch.from_numpy(camera_path(reference.frames, [target.path for target in reference.targets]))
    known = torch.from_numpy(reference.camera)
    assert path_correlation(measured, known) > 0.99 and path_error(measured, known) < 1.0


@pytest.mark.parametrize("part", [0, 1])
def test_a_shot_is_half_of_a_cut_clip_alone(part):
    cut, shot = make_reference(1, "cut", frames=33, part=part), make_reference(1, "shot", frames=17, part=part)
    assert len(shot.frames) == 17
    both, judged = slice(None) if part == 0 else slice(1, None), slice(*cut.judged)
    assert np.array_equal(shot.frames[both], cut.frames[judged])
    assert np.array_equal(shot.targets[0].path[both], cut.targets[0].path[judged])
    assert shot.prompt == cut.prompt


def test_size_and_length_are_the_given_ones():
    reference = make_reference(0, size=64, frames=9)
    assert reference.frames.shape == (9, 64, 64, 3)
    assert reference.targets[0].path.max() < 64


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="reference kind: expected one of plain"):
        make_reference(0, "still")
