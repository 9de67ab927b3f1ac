"""The benchmark of whole videos, on the smallest case."""

import json
import subprocess
import sys

import pytest

from benchmarks.speed.results_page import page
from benchmarks.speed.video import main
from tools.host.layout import REPO


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Run as a person runs it."""
    out = tmp_path_factory.mktemp("video") / "out.json"
    command = [sys.executable, "-m", "benchmarks.speed.video", "--preset", "tiny", "--depth", "2", "--json", str(out)]
    subprocess.run([*command, "--size", "64x64x5", "--memory", "fastest"], cwd=REPO, check=True, capture_output=True)
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_both_lengths_run_with_guidance_and_without(report):
    assert set(report["steps"]) == {"50", "4"}
    for pair in report["steps"].values():
        assert pair["plain"]["gradients"] == pair["plain"]["guided_steps"] == 0
        assert pair["guided_over_plain"] == pair["guided"]["seconds"] / pair["plain"]["seconds"]


def test_guided_steps_are_the_paper_s(report):
    """Ten of 50 steps, or the first of 4, with gradients at inner steps 0, 3, 6 and 9."""
    counts = {
        steps: (pair["guided"]["guided_steps"], pair["guided"]["gradients"]) for steps, pair in report["steps"].items()
    }
    assert counts == {"50": (10, 40), "4": (1, 4)}


def test_a_distilled_model_needs_no_negative_prompt(report):
    """Two blocks. The host runs both prompts in one batch, so blocks are entered once a step with one or two."""
    assert report["steps"]["50"]["plain"]["blocks_entered"] == 50 * 2
    assert report["steps"]["4"]["plain"]["blocks_entered"] == 4 * 2
    tflop = {steps: pair["plain"]["tflop"] / int(steps) for steps, pair in report["steps"].items()}
    assert tflop["50"] == pytest.approx(2 * tflop["4"])


def test_the_page_shows_it(report):
    shown = page({"video_tiny": report})
    assert "## Whole videos" in shown
    assert "| 50 | yes |" in shown


def test_options_are_checked_before_a_model_is_made():
    with pytest.raises(ValueError, match="--size"):
        main(["--preset", "wan1.3b", "--size", "480x832"])
