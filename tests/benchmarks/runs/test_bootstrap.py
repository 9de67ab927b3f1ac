"""Intervals are over references, differences over pairs."""

import numpy as np
import pytest

from benchmarks.runs.bootstrap import mean_interval, paired_difference


def test_the_mean_is_that_of_all_values_and_lies_in_its_interval():
    values = np.random.default_rng(0).normal(size=24).tolist()
    mean, low, high = mean_interval(values, [index // 3 for index in range(24)])
    assert mean == pytest.approx(np.mean(values))
    assert low < mean < high


def test_the_interval_of_many_references_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(size=400)
    mean, low, high = mean_interval(values.tolist(), range(400))
    half = 1.96 * values.std() / np.sqrt(400)
    # The quantiles of 4000 resamples scatter by a few hundredths of the half width.
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.12 * half)


def test_more_seeds_of_the_same_references_narrow_nothing():
    values = [0.1, 0.5, 0.9, 0.3]
    once = mean_interval(values, range(4))
    thrice = mean_interval(values * 3, [*range(4)] * 3)
    assert thrice == pytest.approx(once)


def test_two_references_bound_the_interval_and_one_says_nothing_of_others():
    assert mean_interval([0.0, 1.0], ["a", "b"]) == (0.5, 0.0, 1.0)
    assert mean_interval([0.2, 0.4], ["a", "a"]) == pytest.approx((0.3, 0.3, 0.3))


def test_unknown_values_are_left_out():
    assert mean_interval([1.0, None, float("nan"), True], range(4)) == (1.0, 1.0, 1.0)
    assert mean_interval([None], [0]) is None


def test_the_same_seed_gives_the_same_interval():
    values = [0.1, 0.7, 0.4]
    assert mean_interval(values, range(3), seed=5) == mean_interval(values, range(3), seed=5)
    assert mean_interval(values, range(3), 50, seed=5) != mean_interval(values, range(3), 50, seed=6)


def test_values_and_clusters_must_agree():
    with pytest.raises(ValueError, match="clusters: expected one for each of 2"):
        mean_interval([1.0, 2.0], [0])


def test_a_paired_difference_does_not_see_how_references_differ():
    base = {(reference, 0): 10.0 * reference for reference in range(6)}
    changed = {clip: value + 0.25 for clip, value in base.items()}
    assert paired_difference(changed, base) == pytest.approx((0.25, 0.25, 0.25))


def test_only_clips_that_both_have_are_paired():
    base = {(0, 0): 1.0, (1, 0): 1.0, (2, 0): None}
    changed = {(0, 0): 3.0, (2, 0): 9.0, (3, 0): 9.0}
    assert paired_difference(changed, base) == (2.0, 2.0, 2.0)
    assert paired_difference({(7, 0): 1.0}, base) is None
