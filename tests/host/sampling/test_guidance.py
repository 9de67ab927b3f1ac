"""What Apply Motion makes of its widgets."""

from types import SimpleNamespace

import pytest
import torch

from tests.host.runs import noise, run_sampler, small_motion

WIDGETS = {"preset": "custom", "inner_steps": 4, "lr_start": 0.05, "lr_end": 0.03, "end_percent": 0.2, "strength": 1.0}


@pytest.mark.parametrize("interval", [0, 1, 3])
def test_an_interval_of_zero_is_the_adaptive_one(pack, monkeypatch, interval):
    node, core = pack("nodes.guidance"), pack("fastvmt_core.config")
    patched = {}
    monkeypatch.setattr(node, "apply_motion", lambda **given: patched.update(given))
    monkeypatch.setattr(node.FastVMTApplyMotion, "hidden", SimpleNamespace(unique_id="1"), raising=False)
    motion = SimpleNamespace(objective="FastVMT", fingerprint=SimpleNamespace(temporal_stride=4))
    node.FastVMTApplyMotion.execute(model=None, motion=motion, gradient_interval=interval, **WIDGETS)
    config = patched["config"]
    assert config.adaptive == (core.AdaptiveInterval() if interval == 0 else None)
    assert interval == 0 or config.gradient_interval == interval


@pytest.fixture
def motion(pack, tiny_model, prompt):
    return small_motion(pack, tiny_model, prompt, noise(1, (2, 4, 4)), block=2)


def test_a_model_follows_one_motion(pack, tiny_model, motion):
    core, sampling = pack("fastvmt_core.config"), pack("nodes.host.sampling.wrapper")
    once = sampling.apply_motion(tiny_model, motion, core.LossWeights(), core.GuidanceConfig(), None)
    with pytest.raises(ValueError, match="model: expected one that follows no motion yet.*Blend Motion"):
        sampling.apply_motion(once, motion, core.LossWeights(), core.GuidanceConfig(), None)
    # No strength asks for nothing, and the model keeps what it has.
    sampling.apply_motion(once, motion, core.LossWeights(), core.GuidanceConfig(strength=0), None)


def test_a_run_without_a_guided_step_reports_it_on_the_node(pack, tiny_model, prompt, motion, monkeypatch):
    from comfy.k_diffusion.sampling import sample_euler

    core, sampling = pack("fastvmt_core.config"), pack("nodes.host.sampling.wrapper")
    shown = []
    monkeypatch.setattr(sampling, "show_text", lambda *message: shown.append(message))
    guided = sampling.apply_motion(tiny_model, motion, core.LossWeights(), core.GuidanceConfig(end_percent=0.2), "7")
    # What is left to the second of two samplers: low noise.
    sampled = run_sampler(guided, prompt, sample_euler, torch.zeros_like(noise(1, (2, 4, 4))), [0.5, 0.2, 0.0])
    assert torch.isfinite(sampled).all()
    assert [node for node, _ in shown] == ["7"] and "No step of this run is guided" in shown[0][1]


def test_a_streamed_model_is_guided_as_it_is(pack, tiny_model, motion):
    """No second load: object patches, compiled modules and LoRAs in bypass mode stay bound to the one network.

    A stand-in: on a CPU hosts stream no weights. tests/host/gradient/test_lent_weights.py computes with lent ones.
    """
    core, sampling = pack("fastvmt_core.config"), pack("nodes.host.sampling.wrapper")
    streamed, compiled = tiny_model.clone(), torch.nn.Identity()
    streamed.is_dynamic, streamed.get_non_dynamic_delegate = (lambda: True), None
    streamed.add_object_patch("diffusion_model.head.head", compiled)
    streamed.injections = {"bypass_lora": []}
    guided = sampling.apply_motion(streamed, motion, core.LossWeights(), core.GuidanceConfig(), None)
    assert guided.is_clone(streamed) and guided.wrappers and not streamed.wrappers
    assert guided.object_patches["diffusion_model.head.head"] is compiled
    assert "bypass_lora" in guided.injections
