"""The guided step's memory benchmark: its measuring, and what it last recorded."""

import json

import torch

from benchmarks.speed.guided_memory import LEVELS, Peak
from tools.host.layout import REPO

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
RECORDED = json.loads((REPO / "benchmarks" / "results" / "guided_memory.json").read_text(encoding="utf-8"))


def test_the_peak_is_that_since_the_last_reset():
    peak, size = Peak(), 64 * 2**20
    filled = torch.ones(size // 4, device=DEVICE)
    del filled
    before = peak.reset()
    assert peak.read() - before < size / 2
    filled = torch.ones(size // 4, device=DEVICE)
    held = filled.numel() * 4
    del filled
    # The allocator may find a part of what it needs in pages that it holds already.
    assert 0.9 * held < peak.read() - before < 1.5 * held


def test_the_record_keeps_the_promises():
    assert RECORDED["time"]["ratio"] <= 0.6
    assert len(RECORDED["time"]["seconds"]["guided"]) == 5
    for case in RECORDED["memory"].values():
        assert set(case["levels"]) == set(LEVELS)
        assert case["smallest_over_fastest"] <= 1 / 3


def test_the_plan_foresaw_the_memory():
    """What the plan says it needs is no less than what was measured, and at most half more."""
    for case in RECORDED["memory"].values():
        for level in ("fastest", "auto"):
            found = case["levels"][level]
            needed = found["plan"]["needed_gb"] * 1e9 / 2**20
            assert found["above_load_mib"] <= needed <= 1.5 * found["above_load_mib"]
