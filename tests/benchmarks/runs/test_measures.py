"""A clip that follows scores higher than one that does not, and a lost sprite counts against it."""

import numpy as np
import pytest
import torch

from benchmarks.runs.measures import measure, reference_tracks
from benchmarks.runs.references import Reference, Target
from tools.train.clips import make_clip


@pytest.fixture(scope="module")
def clip():
    return make_clip(1003, "red", "circle", "plain")


def of(clip, colour="blue", shape="square"):
    return Reference("plain 3", clip.frames, f"{colour} {shape} plain", (Target(colour, shape, clip.path),))


def test_the_same_motion_in_another_colour_and_shape_scores_high(clip):
    pytest.importorskip("cv2")
    same = make_clip(1003, "blue", "square", "plain")
    figures = measure(same.frames, of(clip), reference_tracks(clip.frames), None)
    assert figures["correlation"] > 0.99
    assert figures["error_px"] < 2
    assert not figures["lost"]
    assert figures["fidelity"] > 0.3
    other = measure(make_clip(1004, "blue", "square", "plain").frames, of(clip), reference_tracks(clip.frames), None)
    assert other["correlation"] < figures["correlation"]
    assert other["fidelity"] < figures["fidelity"]


def test_a_lost_sprite_is_no_correlation_and_half_the_frame_off(clip):
    figures = measure(np.zeros_like(clip.frames), of(clip), None, None)
    assert (figures["correlation"], figures["error_px"], figures["lost"]) == (0.0, 64.0, True)
    assert figures["fidelity"] is None


def test_the_judge_decides_on_colour_and_shape(clip):
    figures = measure(clip.frames, of(clip), None, lambda frames: ("blue", "star"))
    assert (figures["colour_kept"], figures["shape_kept"]) == (True, False)
    figures = measure(clip.frames, of(clip), None, None)
    assert (figures["colour_kept"], figures["shape_kept"]) == (None, None)


def test_two_sprites_are_measured_together():
    clip = make_clip(1002, "red", "circle", "plain", second=True)
    first, second = clip.sprites
    targets = (Target("red", "circle", first.path), Target(second.colour, second.shape, first.path))
    both = Reference("two", clip.frames, "", targets)
    figures = measure(clip.frames, both, None, lambda frames: ("red", "circle"))
    alone = measure(clip.frames, Reference("one", clip.frames, "", targets[:1]), None, None)
    # The second is compared with the first one's path, which it does not follow.
    assert figures["error_px"] > alone["error_px"] + 5
    assert figures["colour_kept"] is None


def test_consistency_is_that_of_still_and_of_flickering_frames(clip):
    still = np.repeat(clip.frames[:1], 17, 0)
    flicker = torch.rand(17, 128, 128, 3, generator=torch.Generator().manual_seed(0)).numpy()
    assert measure(still, of(clip), None, None)["consistency"] == pytest.approx(1)
    # Independent noise has no cosine; over 3072 values its scatter is below 0.1.
    assert abs(measure(flicker, of(clip), None, None)["consistency"]) < 0.1
