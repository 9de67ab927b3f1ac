"""The bench of the motion that is shown: its truths and its figures."""

import numpy as np
import pytest
import torch

from benchmarks.quality import shown_motion
from benchmarks.quality.shown_motion import Clip, compared, moments, moments_of, row_of, tiny
from fastvmt_core.motion.clip_flow import _moments


def test_latent_frames_stand_for_the_moments_that_the_product_takes():
    assert [moments(number) for number in range(3)] == [(0, 0), (2, 3), (6, 7)]
    assert all(moments(number) == _moments(number, 4) for number in range(9))
    path = np.arange(18.0).reshape(9, 2)
    np.testing.assert_allclose(moments_of(path), [[0, 1], [5, 6], [13, 14]])


@pytest.mark.parametrize("kind", shown_motion.TINY)
def test_sprites_and_background_have_their_true_displacements(kind):
    clip = tiny(kind, 1)
    assert clip.truth.shape == (4, 8, 8, 2) and clip.judged.shape == (4, 8, 8)
    assert clip.judged.flatten(1).any(1).all()
    beside = clip.truth[~clip.judged]
    assert bool(beside.any()) == (kind == "camera")
    assert bool(clip.truth[clip.judged].any())


def test_cosine_and_slope_by_hand():
    truth, judged = torch.zeros(1, 1, 3, 2), torch.tensor([[[True, True, False]]])
    truth[0, 0, 0, 0] = truth[0, 0, 1, 1] = 2.0
    clip = Clip("by hand", np.zeros((5, 16, 48, 3)), truth, judged)
    steps = torch.zeros(1, 1, 3, 2)
    # Half as far for one token, nothing for the other; the third is not judged.
    steps[0, 0, 0, 0], steps[0, 0, 2] = 1.0, 9.0
    assert compared(steps, clip) == {"cosine": round(0.5**0.5, 4), "slope": 0.25}


def test_a_row_has_its_means_and_the_least():
    runs = [
        {"group": "real", "clip": name, "sources": {"values": {"cosine": cosine, "slope": 1.0}}}
        for name, cosine in (("a", 0.5), ("b", 0.9))
    ]
    row = row_of([*runs, {"group": "plain", "clip": "c", "sources": {}}], "real", "values")
    assert (row["clips"], row["cosine"], row["least"], row["slope"]) == (2, 0.7, 0.5, 1.0)
