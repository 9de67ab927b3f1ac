"""The page of the benchmarks at real sizes shows its JSONs."""

import json

import pytest

from benchmarks.speed.results_page import GPU, OURS, RELEASED, SMALLEST, errors, page, promises, reports
from tools.host.layout import REPO


def row(seconds, mib, foreseen_seconds=None, foreseen_mib=None):
    return {
        "median_seconds": seconds,
        "foreseen_seconds": seconds if foreseen_seconds is None else foreseen_seconds,
        "peak_mib": mib,
        "foreseen_mib": foreseen_mib,
        "gradients": 4,
        "blocks_entered": 36,
        "tflop": 2.0,
        "tflop_per_second": 2.0 / seconds,
        "share_of_ceiling": 0.5,
    }


@pytest.fixture
def report():
    return {
        "machine": "a card",
        "clock": "wall",
        "preset": "wan1.3b",
        "size": "480x832x81",
        "weights": "bf16",
        "computed_in": "bfloat16",
        "shape": {"dim": 1536, "depth": 30, "tokens": 32760},
        "block": 14,
        "released_blocks": 20,
        "model_mib": 2706.0,
        "rounds": 3,
        "rates": {"products": 4e14, "attention": 3e14, "attention_backward": 2e14, "moved": 2e12},
        "rows": {OURS: row(5.0, 900.0, 6.0, 990.0), RELEASED: row(10.0, 300.0), SMALLEST: row(7.0, 225.0)},
        "not_run": {"DiTFlow's manner": "out of memory"},
    }


def test_promises_are_ratios_of_the_rows(report):
    assert promises(report) == (0.5, 0.25, pytest.approx(0.2))
    assert errors(report["rows"][OURS]) == [pytest.approx(0.2), pytest.approx(0.1)]


def test_a_ratio_needs_both_its_rows(report):
    del report["rows"][RELEASED]
    assert promises(report)[0] is None
    assert "| – |" in page({"guidance_wan1.3b": report})


def test_rows_that_were_not_run_have_a_reason(report):
    shown = page({"guidance_wan1.3b": report})
    assert "Not run: DiTFlow's manner (out of memory)." in shown
    assert f"| `guidance_wan1.3b` | {GPU['guidance_wan1.3b']} | a card |" in shown
    assert shown.count("**not run**") == len(GPU) - 1


def test_reports_come_step_before_video_and_small_before_large(tmp_path, report):
    for name, tokens in (("video_a", 1), ("guidance_b", 9), ("guidance_c", 5)):
        (tmp_path / f"{name}.json").write_text(json.dumps({**report, "shape": {"tokens": tokens}}), encoding="utf-8")
    (tmp_path / "amf.json").write_text("{}", encoding="utf-8")
    assert list(reports(tmp_path)) == ["guidance_c", "guidance_b", "video_a"]


def test_the_gpu_script_makes_the_listed_cases():
    script = (REPO / "scripts" / "bench_gpu.sh").read_text(encoding="utf-8")
    for name in GPU:
        kind, preset = name.split("_")
        assert preset in script
        assert f"benchmarks/results/{kind}_$preset.json" in script
