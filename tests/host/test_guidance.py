"""What Apply Motion makes of its widgets."""

from types import SimpleNamespace

import pytest

WIDGETS = {"inner_steps": 4, "lr_start": 0.05, "lr_end": 0.03, "end_percent": 0.2, "strength": 1.0}


@pytest.mark.parametrize("interval", [0, 1, 3])
def test_an_interval_of_zero_is_the_adaptive_one(pack, monkeypatch, interval):
    node, core = pack("nodes.guidance"), pack("fastvmt_core.config")
    patched = {}
    monkeypatch.setattr(node, "apply_motion", lambda **given: patched.update(given))
    monkeypatch.setattr(node.FastVMTApplyMotion, "hidden", SimpleNamespace(unique_id="1"), raising=False)
    node.FastVMTApplyMotion.execute(model=None, motion=None, gradient_interval=interval, **WIDGETS)
    config = patched["config"]
    assert config.adaptive == (core.AdaptiveInterval() if interval == 0 else None)
    assert interval == 0 or config.gradient_interval == interval
