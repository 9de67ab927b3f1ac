"""The named sets of hyper-parameters: their order, and that the paper's are the paper's."""

from __future__ import annotations

from fastvmt_core.presets import PRESETS


def test_presets_are_named_in_the_order_of_their_cost_and_the_papers_is_the_papers():
    assert list(PRESETS) == ["draft", "fast", "balanced", "best", "paper"]
    paper = PRESETS["paper"]
    assert (paper.inner_steps, paper.lr_start, paper.lr_end) == (10, 0.003, 0.002)
    assert (paper.gradient_interval, paper.end_percent) == (3, 0.2)
