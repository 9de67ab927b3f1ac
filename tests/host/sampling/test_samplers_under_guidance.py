"""What samplers report and draw while they are guided: steps, noise levels, previews and fresh noise."""

import pytest
import torch

from tests.host.runs import noise

GRID = (2, 4, 4)
STEPS = 5
GUIDED = 2


@pytest.fixture
def guided_model(pack, tiny_model, prompt):
    core = pack("fastvmt_core.config")
    flow = core.AMFConfig(temporal_span=2, window=3, tile=(2, 2))
    with torch.inference_mode():
        motion = pack("nodes.host.reading.inversion").invert_motion(
            tiny_model, noise(1, GRID), prompt, flow, (2,), (0.3,), 5, "ignore"
        )
    config = core.GuidanceConfig(inner_steps=2, gradient_interval=1, lr_start=0.01, lr_end=0.01, end_percent=0.4)
    return pack("nodes.host.sampling.wrapper").apply_motion(
        tiny_model, motion, core.LossWeights(), config, None, lambda *_: None
    )


def sample(model, prompt, name, seed=0):
    """Latent, and each callback's step, noise level count and preview, of a run of the sampler `name`."""
    import comfy.samplers

    steps_seen = []
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(prompt, prompt)
    guider.set_cfg(4.0)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
    with torch.inference_mode():
        x = noise(2, GRID)
        sampler = comfy.samplers.sampler_object(name)
        out = guider.sample(
            x,
            torch.zeros_like(x),
            sampler,
            sigmas,
            callback=lambda step, x0, x, total: steps_seen.append((step, total, tuple(x0.shape))),
            seed=seed,
        )
    return out, steps_seen


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "res_multistep", "heun", "uni_pc", "dpmpp_sde"])
def test_the_callback_counts_on_over_the_hand_over(guided_model, prompt, name):
    _, steps_seen = sample(guided_model, prompt, name)
    assert [step for step, _, _ in steps_seen] == list(range(STEPS))
    assert {total for _, total, _ in steps_seen} == {STEPS}
    # What a preview is made from: the whole clip, at every step.
    assert {shape for _, _, shape in steps_seen} == {(1, 16, 2, 8, 8)}


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_patches_see_the_runs_own_noise_levels(guided_model, prompt, name):
    seen = []

    def note(apply_model, args):
        seen.append(args["c"]["transformer_options"]["sample_sigmas"].tolist())
        return apply_model(args["input"], args["timestep"], **args["c"])

    noting = guided_model.clone()
    noting.set_model_unet_function_wrapper(note)
    sample(noting, prompt, name)
    assert len(seen) > STEPS and all(levels == seen[0] for levels in seen)
    assert len(seen[0]) == STEPS + 1


@pytest.mark.parametrize("name", ["euler_ancestral", "dpmpp_sde", "lcm"])
def test_a_sampler_with_noise_of_its_own_draws_it_anew_at_each_step(guided_model, prompt, monkeypatch, name):
    """The inner steps draw nothing: a guided run draws as often as an unguided one, and never the same twice."""
    drawn = []
    original = torch.randn_like

    def noted(*arguments, **options):
        drawn.append(original(*arguments, **options))
        return drawn[-1]

    monkeypatch.setattr(torch, "randn_like", noted)
    once, _ = sample(guided_model, prompt, name)
    assert len({tuple(each.flatten()[:8].tolist()) for each in drawn}) == len(drawn)
    again, _ = sample(guided_model, prompt, name)
    other, _ = sample(guided_model, prompt, name, seed=1)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
