"""Which steps are guided, and how hard."""

from __future__ import annotations

import pytest
import torch

from fastvmt_core.config import GuidanceConfig, LossWeights
from fastvmt_core.guidance.schedule import at_half_size, curve_factor, guided_steps, inner_learning_rates, step_weight


def flow_sigmas(steps, shift=8.0, first=1.0):
    even = torch.linspace(first, 0, steps + 1)
    return shift * even / (1 + (shift - 1) * even)


def end_sigma(percent, shift=8.0):
    return shift * (1 - percent) / (1 + (shift - 1) * (1 - percent))


def test_ten_of_fifty_steps_at_a_fifth():
    assert guided_steps(flow_sigmas(50), end_sigma(0.2)) == tuple(range(10))


def test_four_steps_have_a_guided_one():
    assert guided_steps(flow_sigmas(4), end_sigma(0.2)) == (0,)
    assert guided_steps(flow_sigmas(4), end_sigma(0.5)) == (0, 1)


def test_halves_of_a_run_guide_the_same_noise_levels():
    sigmas, end = flow_sigmas(20), end_sigma(0.4)
    whole = [float(sigmas[index]) for index in guided_steps(sigmas, end)]
    first, second = sigmas[:6], sigmas[5:]
    split = [float(first[index]) for index in guided_steps(first, end)]
    split += [float(second[index]) for index in guided_steps(second, end)]
    assert split == whole


def test_a_start_below_the_end_guides_nothing():
    assert guided_steps(flow_sigmas(10, first=0.5), end_sigma(0.2)) == ()
    # Guidance up to 0 percent is none at all, though the first step starts from pure noise.
    assert guided_steps(flow_sigmas(10), end_sigma(0.0)) == ()


@pytest.mark.parametrize(
    ("levels", "steps"),
    [
        ([0.0, 0.5, 0.9, 1.0], ()),
        ([0.0, 1.0, 0.9, 0.5], ()),
        ([0.6, 1.0, 0.9], ()),
        ([1.0, 0.9, 0.8, 1.0, 0.9], (0, 1)),
        ([1.0, 1.0, 0.9], (0, 1)),
    ],
    ids=["unsampling", "from no noise", "noise is added first", "restart", "twice the same"],
)
def test_nothing_is_guided_from_where_the_noise_rises(levels, steps):
    assert guided_steps(levels, 0.5) == steps


def test_the_last_sigma_is_no_step():
    assert guided_steps([1.0, 0.9], 0.5) == (0,)


@pytest.mark.parametrize(
    ("schedule", "weights"), [("constant", (1, 1, 1)), ("linear", (1, 0.5, 0)), ("cosine", (1, 0.5, 0))]
)
def test_courses(schedule, weights):
    assert [step_weight(schedule, position) for position in (0, 0.5, 1)] == pytest.approx(weights)


def test_cosine_is_flat_at_the_ends():
    assert step_weight("cosine", 0.25) == pytest.approx(0.853553)


def test_inner_rates_fall_linearly_and_carry_strength_and_weight():
    rates = inner_learning_rates(GuidanceConfig(inner_steps=4, lr_start=0.004, lr_end=0.002))
    assert rates == pytest.approx([0.004, 0.0035, 0.003, 0.0025])
    halved = inner_learning_rates(GuidanceConfig(inner_steps=4, lr_start=0.004, lr_end=0.002, strength=2), 0.25)
    assert halved == pytest.approx([rate / 2 for rate in rates])


@pytest.mark.parametrize(
    "call",
    [
        lambda: guided_steps([1.0], 0.5),
        lambda: guided_steps([1.0, float("nan")], 0.5),
        lambda: guided_steps([1.0, 0.0], float("inf")),
        lambda: step_weight("linear", 1.1),
        lambda: step_weight("sine", 0.5),
        lambda: inner_learning_rates(GuidanceConfig(), -1.0),
        lambda: inner_learning_rates(GuidanceConfig(), float("nan")),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match="expected .*, got "):
        call()


CURVE = ((0.0, 1.0), (0.5, 0.2), (1.0, 2.0))


@pytest.mark.parametrize(("position", "factor"), [(0, 1), (0.25, 0.6), (0.5, 0.2), (0.75, 1.1), (1, 2)])
def test_straight_lines_join_the_points_of_a_curve(position, factor):
    assert curve_factor(CURVE, position) == pytest.approx(factor)
    assert curve_factor((), position) == 1


def test_the_curve_multiplies_the_schedule():
    assert step_weight("linear", 0.5, CURVE) == pytest.approx(0.5 * 0.2)
    assert step_weight("constant", 0.5) == 1


@pytest.mark.parametrize(
    "curve",
    [
        ((0.0, 1.0),),
        ((0.0, 1.0), (0.9, 1.0)),
        ((0.1, 1.0), (1.0, 1.0)),
        ((0.0, 1.0), (0.5, 1.0), (0.5, 0.0), (1.0, 1.0)),
        ((0.0, 1.0), (1.0, 2.1)),
        ((0.0, -0.1), (1.0, 1.0)),
        ((0.0, float("nan")), (1.0, 1.0)),
        tuple((place / 40, 1.0) for place in range(41)),
        [[0.0, 1.0], [1.0, 1.0]],
    ],
)
def test_points_that_make_no_curve_are_refused(curve):
    with pytest.raises(ValueError, match="^curve: expected"):
        LossWeights(curve=curve)


def test_half_then_full_turns_in_the_middle_of_the_guided_part():
    positions = [0.0, 0.49, 0.5, 1.0]
    assert [at_half_size("half then full", position) for position in positions] == [True, True, False, False]
    assert all(at_half_size("half", position) and not at_half_size("full", position) for position in positions)
