"""A gradient that half precision cannot hold is taken in float32, and the model is then as it was."""

import logging

import pytest
import torch

from tests.host.runs import noise, run_sampler, small_motion
from tools.host.made_models import in_dtype, wan_weights

GRID = (2, 4, 4)
BLOCK = 2


@pytest.fixture
def half(comfyui):
    """A Wan that is computed in float16, whose block 1 makes numbers that float16 cannot hold but float32 can."""
    import comfy.sd

    with torch.inference_mode():
        weights = in_dtype(wan_weights(), torch.float16)
        model = comfy.sd.load_diffusion_model_state_dict(weights, model_options={"dtype": torch.float16})

    def large(args, extra):
        # Normed by the next block, so that only their size is at fault; guided passes only.
        out = extra["original_block"](args)["img"]
        return {"img": out * 1e6 if torch.is_grad_enabled() else out}

    model.set_model_compute_dtype(torch.float16)
    model.set_model_patch_replace(large, "dit", "double_block", 1)
    return model


@pytest.mark.parametrize("level", ["fastest", "smallest"])
def test_float32_takes_over(pack, half, prompt, caplog, level):
    import comfy.k_diffusion.sampling

    core, motion = pack("fastvmt_core.config"), small_motion(pack, half, prompt, noise(1, GRID), BLOCK)
    config = core.GuidanceConfig(
        inner_steps=3, gradient_interval=1, lr_start=0.05, lr_end=0.03, end_percent=1, memory=level
    )
    messages, seen = [], []

    def send(event, data):
        messages.append((event, data))

    def sample_with(model):
        return run_sampler(model, prompt, comfy.k_diffusion.sampling.sample_euler, noise(2, GRID), [1.0, 0.9, 0.8])

    before = sample_with(half)
    weights = core.LossWeights(consistency=0.0)
    guided = pack("nodes.host.sampling.wrapper").apply_motion(half, motion, weights, config, None, send)
    network = half.model.diffusion_model
    settings = [vars(module).get("comfy_cast_weights") for module in network.modules()]
    handle = network.blocks[0].register_forward_pre_hook(
        lambda _, args: seen.append((torch.is_grad_enabled(), args[0].dtype))
    )
    with caplog.at_level(logging.WARNING):
        sample_with(guided)
    handle.remove()
    steps = [data for event, data in messages if event == "guided_step"]
    assert [step["gradient_evaluations"] for step in steps] == [3, 3]
    assert all(step["stopped"] is None and step["losses"][-1] < step["losses"][0] for step in steps)
    # One try in half precision a step, then float32 to the step's end; the ordinary evaluations stay as they were.
    assert caplog.text.count("float32 from here") == 2
    assert (True, torch.float16) in seen and (True, torch.float32) in seen
    assert {dtype for grad, dtype in seen if not grad} == {torch.float16}
    assert [vars(module).get("comfy_cast_weights") for module in network.modules()] == settings
    assert torch.equal(sample_with(half), before)
