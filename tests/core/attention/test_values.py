"""The flow of values: worked out by hand, and a pattern that moves."""

from __future__ import annotations

import math

import pytest
import torch

from fastvmt_core.attention.values import value_features, value_steps


def test_features_are_the_values_less_their_mean_at_unit_length():
    v = torch.tensor([[4.0, 0.0], [0.0, 2.0]]).view(2, 1, 1, 2, 1)
    # Less the mean (2, 1): (2, -1) and (-2, 1), both of length sqrt(5).
    expected = torch.tensor([[2.0, -1.0], [-2.0, 1.0]]) / math.sqrt(5)
    features = torch.stack([value_features(frame, v.mean((0, 1, 2))) for frame in v])
    torch.testing.assert_close(features.view(2, 2), expected)


def test_a_displacement_by_hand():
    # Frames of two tokens with opposite values: the cosines with the next frame's are 1 and -1.
    v = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).view(2, 1, 2, 1, 1)
    steps = value_steps(v, temperature=0.5, stillness=0.3)
    # Token 0 matches the next frame's token 1: logits are -1 / .5 there and 1 / .5 - .3 a token away.
    share = 1 / (1 + math.exp(-2 - (2 - 0.3)))
    torch.testing.assert_close(steps, torch.tensor([[[[share, 0.0], [-share, 0.0]]]]))


@pytest.mark.parametrize("shift", [(1, 0), (0, -2), (0, 0)])
def test_a_pattern_that_moves_is_followed(shift):
    pattern = torch.randn(8, 9, 2, 16, generator=torch.Generator().manual_seed(0))
    v = torch.stack([pattern.roll((time * shift[1], time * shift[0]), (0, 1)) for time in range(3)])
    steps = value_steps(v, stillness=0.01)
    assert steps.shape == (2, 8, 9, 2)
    # What leaves the frame comes in again at the other side, as in no clip.
    inner = steps[:, 2:-2, 2:-2]
    torch.testing.assert_close(inner, torch.tensor(shift).float().expand_as(inner), atol=0.05, rtol=0)


def test_values_that_are_all_alike_stand_still():
    steps = value_steps(torch.ones(3, 5, 5, 1, 8))
    # Nothing is known but that small movements are likelier, and the frame's border, which the middle is far from.
    assert float(steps[:, 2, 2].abs().max()) < 1e-5


def test_a_single_frame_has_no_step():
    assert value_steps(torch.rand(1, 4, 5, 1, 8)).shape == (0, 4, 5, 2)
