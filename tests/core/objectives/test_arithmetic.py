"""The losses of published objectives, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fastvmt_core.config import AMFConfig, LossWeights
from fastvmt_core.grid import TokenGrid
from fastvmt_core.objectives.ditflow import DiTFlow
from fastvmt_core.objectives.flow_of_values import FlowOfValues
from fastvmt_core.objectives.flowmotion import FlowMotion
from fastvmt_core.objectives.moft import MOFT
from fastvmt_core.objectives.motionclone import MotionClone
from fastvmt_core.objectives.protocol import Signals
from fastvmt_core.objectives.smm import SMM
from tests.core.objectives.made_signals import compared, motion_of

ROW = TokenGrid(2, 1, 3)
"""Three tokens in a row, two frames."""
CONFIG = AMFConfig(temporal_span=2, window=None, tile=(1, 1))
EYE = torch.eye(3)
NEXT = [2, 0, 1]
"""Whose content each token of the second frame shows: all moves by one to the right, the last one to the left."""
MOVED = [1.0, 1.0, -2.0]
"""Columns that each token of the first frame moves by."""
UNSURE = [1.0, 0.0, -1.0]
"""The same where attention is even: to the middle."""


def rows(first, second):
    """(2, 1, 3, 1, C) of two frames (3, C)."""
    return torch.stack([first, second])[:, None, :, None]


def moving(**more):
    """Tokens that find themselves again one further, with a latent of no interest."""
    shown = rows(EYE, EYE[NEXT])
    nothing = torch.zeros(4, 2, 2, 6)
    return Signals(100 * shown, 100 * shown, velocity=nothing, latent=nothing, sigma=0.5, **more)


def test_ditflow_compares_the_best_match_with_the_expected_one():
    motion = motion_of(DiTFlow(), moving(), ROW, CONFIG)
    assert motion.flows[0].pairs == ((0, 0), (0, 1), (1, 1)) and motion.config.sharpness == 2
    assert motion.flows[0].displacement[1, 0].tolist() == [[x, 0.0] for x in MOVED]
    even = Signals(torch.zeros(2, 1, 3, 1, 3), torch.zeros(2, 1, 3, 1, 3))
    # Of three tokens that move two are one column off, and a coordinate counts half. Those of (i, i) stand still.
    assert float(compared(DiTFlow(), motion, even).total) == pytest.approx(2 / 3 / 2)
    assert float(compared(DiTFlow(), motion, moving()).total) == pytest.approx(0, abs=1e-6)


def test_the_flow_of_values_follows_content_and_holds_place_by_q_and_k():
    even = torch.zeros(2, 1, 3, 1, 3)
    method, clip = FlowOfValues(LossWeights(amf=1, consistency=0), temperature=0.01), moving()
    clip = Signals(even, even, rows(5 + EYE, 5 + EYE[NEXT]), velocity=clip.velocity, latent=clip.latent, sigma=0.5)
    flow = motion_of(method, clip, ROW, CONFIG).flows[0].displacement[:, 0, :, 0]
    for found, expected in zip(flow, (UNSURE, MOVED, UNSURE), strict=True):
        assert torch.allclose(found, torch.tensor(expected), atol=1e-5)
    still = Signals(even, even, rows(EYE, EYE))
    motion = motion_of(method, clip, ROW, CONFIG)
    # Of the three pairs one differs, by 1, 1 and 2 columns.
    assert float(compared(method, motion, still).total) == pytest.approx((1 + 1 + 4) / 3 / 3, abs=1e-5)


def hidden(frames):
    """Signals of one token whose features are `frames` (F, C), with keys of no interest."""
    features = torch.tensor(frames)[:, None, None]
    keys, nothing = torch.zeros(len(features), 1, 1, 1, 1), torch.zeros(4, len(features), 2, 2)
    return Signals(keys, keys, hidden=features, velocity=nothing, latent=nothing, sigma=0.5)


ONE = TokenGrid(2, 1, 1)


def test_smm_compares_the_directions_of_differences():
    motion = motion_of(SMM(), hidden([[0.0, 5.0], [1.0, 6.0]]), ONE, CONFIG)
    assert float(compared(SMM(), motion, hidden([[7.0, 0.0], [10.0, 2.0]])).total) == pytest.approx(0, abs=1e-6)
    # One of two channels turned round: 1 - (-1), a mean over two channels, from each of two frames.
    assert float(compared(SMM(), motion, hidden([[1.0, 0.0], [0.0, 2.0]])).total) == pytest.approx(2)


def test_moft_compares_the_channel_that_moves_most_without_what_stays():
    still = [1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 7.0, 8.0]
    first, second = list(still), list(still)
    first[5], second[5], second[0] = 4.0, -4.0, 1.5
    motion = motion_of(MOFT(), hidden([first, second]), ONE, CONFIG)
    assert motion.targets[0]["channels"].tolist() == [5]
    assert motion.targets[0]["feature"].flatten().tolist() == [4, -4]
    assert float(compared(MOFT(), motion, hidden([[9.0] * 8, [8.0] * 8])).total) == pytest.approx(0, abs=1e-6)
    assert float(compared(MOFT(), motion, hidden([[8.0] * 8, [9.0] * 8])).total) == pytest.approx(2)


def over_time(q, k):
    """Signals of one token with one channel, by frame."""
    q, k = (torch.tensor(values)[:, None, None, None, None] for values in (q, k))
    nothing = torch.zeros(4, len(q), 2, 2)
    return Signals(q, k, velocity=nothing, latent=nothing, sigma=0.5)


def test_motionclone_compares_attention_where_the_references_is_largest():
    motion = motion_of(MotionClone(), over_time([1.0, -1.0], [math.log(3), 0.0]), ONE, CONFIG)
    assert motion.targets[0]["frame"].flatten().tolist() == [0, 1]
    assert motion.targets[0]["value"].flatten().tolist() == pytest.approx([0.75, 0.75])
    # Even attention is a quarter off in both frames.
    assert float(compared(MotionClone(), motion, over_time([0.0, 0.0], [1.0, 2.0])).total) == pytest.approx(2000 / 16)


def predicted(latent, velocity):
    """Signals of four equal channels of one token, by frame, at noise level .5."""
    q = torch.zeros(len(latent), 1, 1, 1, 1)
    latent, velocity = (torch.tensor(v)[None, :, None, None].expand(4, -1, 2, 2) for v in (latent, velocity))
    return Signals(q, q, velocity=velocity, latent=latent, sigma=0.5)


def test_flowmotion_compares_the_predicted_frames_and_their_changes():
    motion = motion_of(FlowMotion(), predicted([0.0, 1.0], [0.0, 0.0]), ONE, CONFIG)
    loss = compared(FlowMotion(), motion, predicted([1.0, 1.0], [2.0, -2.0]))
    # x0 is 0 and 2 where the reference has 0 and 1.
    assert float(loss.terms["frames"]) == pytest.approx(0.5) and float(loss.terms["changes"]) == pytest.approx(1)
    assert float(loss.total) == pytest.approx(20 * 0.5 + 5 * 1)


def test_flowmotion_leaves_out_the_change_to_another_shot():
    motion = motion_of(FlowMotion(), predicted([0.0, 1.0], [0.0, 0.0]), ONE, CONFIG, cuts=(1,))
    assert float(compared(FlowMotion(), motion, predicted([1.0, 1.0], [2.0, -2.0])).terms["changes"]) == 0


def test_flowmotion_refuses_another_size_and_a_motion_without_its_latent():
    motion = motion_of(FlowMotion(), predicted([0.0, 1.0], [0.0, 0.0]), ONE, CONFIG)
    with pytest.raises(ValueError, match="latent: expected the reference's"):
        compared(FlowMotion(), motion, predicted([0.0, 1.0, 2.0], [0.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="motion: expected one that holds its reference's latent"):
        compared(FlowMotion(), replace(motion, reference=None), predicted([0.0, 1.0], [0.0, 0.0]))
