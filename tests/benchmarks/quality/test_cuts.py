"""Cut detection on real footage and what is made of it: the table's kinds, by one still each."""

import numpy as np
import pytest
import torch

from benchmarks.quality.cut_cases import MADE, SHOTS, footage
from benchmarks.quality.cuts import page
from fastvmt_core.config import CutConfig
from fastvmt_core.video.cuts import find_cuts_in_video

UNSURE = {"cut inside a fast pan", "whip pan", "5 frames dropped, pan"}
"""Kinds of which the table (benchmarks/quality/cuts.md) has a clip that is taken wrongly."""


def cuts_of(frames):
    return find_cuts_in_video(torch.from_numpy(np.ascontiguousarray(frames)), CutConfig())


def test_the_cuts_of_real_footage_and_no_others_are_detected():
    assert cuts_of(footage("bikes.mp4")) == SHOTS[1:]
    assert cuts_of(footage("bigbuckbunny.mp4")[::3]) == cuts_of(footage("carphone_distorted.mp4")) == ()


@pytest.mark.parametrize("kind", sorted(set(MADE) - UNSURE))
def test_a_kind_of_clip_is_judged_rightly(kind):
    case = MADE[kind](kind, 0)
    assert cuts_of(case.frames) == case.cuts


def test_the_page_sums_up_the_table():
    rows = {"a": {"clips": 2, "cuts": 2, "X": [1, 0]}, "b": {"clips": 3, "cuts": 0, "X": [0, 4]}}
    assert page(rows).splitlines()[-3:] == [
        "| a (2 clips, 2 cuts) | 1, 0 false |",
        "| b (3 clips, no cut) | 4 false |",
        "| **all** (5 clips, 2 cuts) | 1, 4 false |",
    ]
