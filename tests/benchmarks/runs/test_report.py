"""The report: means, intervals, paired differences, failures."""

import pytest

from benchmarks.runs.report import GUIDED, UNGUIDED, summarise, table
from benchmarks.runs.variants import BASE, Variant

VARIANTS = [Variant(BASE), Variant("better", {"block": 2}), Variant("best", against="better"), Variant("broken")]


def run(variant, reference, correlation, **figures):
    guided = {**dict.fromkeys(GUIDED, 1.0), "colour_kept": None, "lost": False, "correlation": correlation, **figures}
    unguided = {**dict.fromkeys(UNGUIDED, 0.5), "lost": True}
    key = {"variant": variant, "reference": reference, "seed": 0, "prompt": "red ring plain"}
    return {**key, "guided": guided, "unguided": unguided}


@pytest.fixture
def runs():
    complete = [run(BASE, index, 0.5 + 0.1 * index) for index in range(4)]
    complete += [run("better", index, 0.6 + 0.1 * index, lost=index == 0) for index in range(4)]
    complete += [run("best", index, 0.8 + 0.1 * index) for index in range(2)]
    return [*complete, {"variant": "broken", "reference": 0, "seed": 0, "error": "ValueError: no"}]


@pytest.fixture
def summary(runs):
    return summarise(VARIANTS, runs, 200)


def test_the_base_has_figures_of_its_own(summary):
    assert summary["clips"] == 4
    assert summary["guided"]["correlation"] == pytest.approx(0.65)
    low, high = summary["guided"]["correlation_interval"]
    assert 0.5 <= low < 0.65 < high <= 0.8
    assert summary["guided"]["colour_kept"] is None
    assert summary["unguided"]["correlation"] == 0.5
    assert summary["unguided"]["lost"] == 4
    assert set(summary["variants"]) == {"better", "best", "broken"}


def test_differences_are_paired_with_the_named_variant(summary):
    better, best = summary["variants"]["better"], summary["variants"]["best"]
    assert better["difference"]["correlation"] == pytest.approx([0.1, 0.1, 0.1])
    assert best["difference"]["correlation"] == pytest.approx([0.2, 0.2, 0.2])
    assert (better["against"], best["against"]) == (BASE, "better")
    assert better["lost"] == 1
    assert better["change"] == {"inputs": {"block": 2}}


def test_a_run_that_failed_is_counted_and_has_no_figures(summary):
    broken = summary["variants"]["broken"]
    assert (broken["failed"], broken["clips"], broken["correlation"]) == (1, 0, None)
    assert "| broken | no clip, 1 failed |" in table(summary, ["broken"])


def test_the_table_has_a_line_each(summary):
    lines = table(summary, summary["variants"]).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["not guided", BASE, "better", "best", "broken"]
    assert "0.650 [" in lines[3]
    assert "+0.100 [+0.100, +0.100]" in lines[4] and "(than better)" in lines[5]
