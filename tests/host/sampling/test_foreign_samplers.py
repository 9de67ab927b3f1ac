"""Samplers of other packs and unusual runs: what is no step of a run is not guided, and changes nothing."""

import pytest
import torch

from tests.host.models.test_other_wans import loaded, with_control
from tests.host.runs import noise, run_sampler, small_motion

GRID = (2, 4, 4)
SIGMAS = [1.0, 0.9, 0.8, 0.0]
GUIDED = 2


def motion_of(pack, model, prompt):
    return small_motion(pack, model, prompt, noise(1, GRID), block=2)


def followed(pack, model, motion, messages, weights=None, **config):
    """The model under guidance, whose messages are noted."""
    core = pack("fastvmt_core.config")
    chosen = {"inner_steps": 2, "gradient_interval": 1, "lr_start": 0.1, "lr_end": 0.1, "end_percent": 0.6, **config}
    return pack("nodes.host.sampling.wrapper").apply_motion(
        model,
        motion,
        weights or core.LossWeights(),
        core.GuidanceConfig(**chosen),
        "7",
        lambda event, data: messages.append((event, data)),
    )


def steps_of(messages):
    return [data["step"] for event, data in messages if event == "guided_step"]


@pytest.fixture(scope="module")
def motion(pack, tiny_model, prompt_of_module):
    return motion_of(pack, tiny_model, prompt_of_module)


@pytest.fixture(scope="module")
def prompt_of_module():
    with torch.inference_mode():
        return [[torch.randn(1, 4, 4096, generator=torch.Generator().manual_seed(7)), {}]]


@pytest.mark.parametrize("kind", ["t2v", "vace"])
def test_a_dummy_run_of_three_times_the_width_goes_through(pack, tiny_model, prompt, kind):
    """RES4LYF starts its samplers with a run that returns at once, at a size of its own."""
    model = tiny_model if kind == "t2v" else loaded(kind)
    conditions, messages = prompt if kind == "t2v" else with_control(prompt), []
    guided = followed(pack, model, motion_of(pack, model, conditions if kind == "t2v" else prompt), messages)

    def dummy(model, x, sigmas, extra_args=None, callback=None, disable=None):
        return x

    wide = noise(2, (GRID[0], GRID[1], 3 * GRID[2]))
    out = run_sampler(guided, conditions, dummy, wide, SIGMAS)
    assert out.shape == wide.shape and messages == []


def warms_up(function):
    """The same sampler after an evaluation of another batch and size."""

    def sample(model, x, sigmas, extra_args=None, callback=None, disable=None):
        wide = torch.cat([x, x], dim=-1).repeat(2, 1, 1, 1, 1)
        model(wide, sigmas[0] * wide.new_ones(2), **extra_args)
        return function(model, x, sigmas, extra_args=extra_args, callback=callback, disable=disable)

    sample.__name__ = function.__name__
    return sample


@pytest.mark.parametrize("in_the_hosts_place", [True, False], ids=["in the host's place", "of its own"])
def test_an_evaluation_of_another_size_is_no_step(pack, tiny_model, prompt, motion, monkeypatch, in_the_hosts_place):
    import comfy.k_diffusion.sampling as sampling

    messages, expected = [], []
    plain = run_sampler(
        followed(pack, tiny_model, motion, expected), prompt, sampling.sample_euler, noise(2, GRID), SIGMAS
    )
    sampler = warms_up(sampling.sample_euler)
    if in_the_hosts_place:
        monkeypatch.setattr(sampling, "sample_euler", sampler)
    warmed = run_sampler(followed(pack, tiny_model, motion, messages), prompt, sampler, noise(2, GRID), SIGMAS)
    assert steps_of(messages) == steps_of(expected) == [0, 1]
    assert torch.equal(plain, warmed)


def test_a_second_evaluation_at_a_level_is_no_step(pack, tiny_model, prompt, motion, monkeypatch):
    import comfy.k_diffusion.sampling as sampling

    def sample_euler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        for now, then in zip(sigmas[:-1], sigmas[1:], strict=True):
            model(x, now * x.new_ones(1), **extra_args)
            x = x + sampling.to_d(x, now, model(x, now * x.new_ones(1), **extra_args)) * (then - now)
        return x

    guided = followed(pack, tiny_model, motion, [])
    plain = run_sampler(guided, prompt, sampling.sample_euler, noise(2, GRID), SIGMAS)
    monkeypatch.setattr(sampling, "sample_euler", sample_euler)
    twice = run_sampler(guided, prompt, sample_euler, noise(2, GRID), SIGMAS)
    assert torch.equal(plain, twice)


def test_a_sampler_that_draws_part_after_part_is_refused(pack, tiny_model, prompt, motion):
    def sample_ar_video(model, x, sigmas, extra_args=None, callback=None, disable=None, num_frame_per_block=1):
        raise AssertionError("the sampler was run")

    guided = followed(pack, tiny_model, motion, [])
    with pytest.raises(ValueError, match="sampler: expected one that denoises all frames together, got ar_video"):
        run_sampler(guided, prompt, sample_ar_video, noise(2, GRID), SIGMAS)


@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m"])
@pytest.mark.parametrize(
    "sigmas",
    [[0.0, 0.9, 0.95, 1.0], [0.86, 0.9, 1.0], [0.0, 0.0]],
    ids=["from no noise", "unsampling", "nothing to denoise"],
)
def test_rising_noise_is_sampled_as_without_the_node(pack, tiny_model, prompt, motion, name, sigmas):
    import comfy.samplers

    function = comfy.samplers.sampler_object(name).sampler_function
    messages = []
    guided = followed(pack, tiny_model, motion, messages)
    found, plain = (run_sampler(model, prompt, function, noise(2, GRID), sigmas) for model in (guided, tiny_model))
    # The host's own division by a noise level of 0 stays its own.
    assert torch.equal(found.nan_to_num(), plain.nan_to_num())
    ((event, data),) = messages
    assert event == "settings" and "No step of this run is guided: it" in data["text"]


def test_a_run_without_steps_goes_through(pack, tiny_model, prompt, motion):
    from comfy.k_diffusion.sampling import sample_euler

    messages = []
    run_sampler(followed(pack, tiny_model, motion, messages), prompt, sample_euler, noise(2, GRID), [0.5])
    assert messages == []


def test_a_restart_is_guided_until_the_noise_rises(pack, tiny_model, prompt, motion, caplog):
    from comfy.k_diffusion.sampling import sample_euler

    messages = []
    guided = followed(pack, tiny_model, motion, messages)
    run_sampler(guided, prompt, sample_euler, noise(2, GRID), [1.0, 0.9, 0.95, 0.9, 0.0])
    assert steps_of(messages) == [0]
    assert "rises again later" in caplog.text


NOTHING = {
    "weights of 0": ({"amf": 0.0, "consistency": 0.0}, None, "the weights, or an empty mask"),
    "an empty mask": ({}, torch.zeros(GRID), "the weights, or an empty mask"),
    "a curve of 0": ({"curve": ((0.0, 0.0), (1.0, 0.0))}, None, "the curve of Loss Weights"),
}


@pytest.mark.parametrize("case", NOTHING)
def test_what_guides_nothing_evaluates_no_gradient_and_reports_it(pack, tiny_model, prompt, motion, case):
    import dataclasses

    from comfy.k_diffusion.sampling import sample_euler

    numbers, mask, reason = NOTHING[case]
    messages, weights = [], pack("fastvmt_core.config").LossWeights(**numbers)
    guided = followed(pack, tiny_model, dataclasses.replace(motion, mask=mask), messages, weights)
    found, plain = (run_sampler(model, prompt, sample_euler, noise(2, GRID), SIGMAS) for model in (guided, tiny_model))
    assert torch.equal(found, plain)
    ((event, data),) = messages
    assert event == "settings" and f"No step of this run is guided: {reason}" in data["text"]


def test_a_step_where_the_curve_is_0_evaluates_no_gradient(pack, tiny_model, prompt, motion):
    from comfy.k_diffusion.sampling import sample_euler

    messages = []
    weights = pack("fastvmt_core.config").LossWeights(curve=((0.0, 0.0), (0.05, 0.0), (1.0, 1.0)))
    guided = followed(pack, tiny_model, motion, messages, weights)
    run_sampler(guided, prompt, sample_euler, noise(2, GRID), SIGMAS)
    assert steps_of(messages) == [1]
