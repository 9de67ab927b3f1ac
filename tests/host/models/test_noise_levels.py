"""Noise as a model counts it: shares of a flow model, the standard deviation of Cosmos, at the same place of a path."""

import pytest
import torch

from tests.host.runs import run_sampler, small_motion
from tools.host import made_families

LEVELS = torch.tensor([0.02, 0.3, 0.8])
GRID = (3, 4, 4)


@pytest.fixture(scope="module")
def samplings(comfyui):
    import comfy.model_sampling as host

    class Flow(host.ModelSamplingDiscreteFlow, host.CONST):
        pass

    class RectifiedFlow(host.ModelSamplingCosmosRFlow, host.COSMOS_RFLOW):
        pass

    class Diffusion(host.ModelSamplingContinuousEDM, host.EDM):
        pass

    diffusion = Diffusion()
    diffusion.set_parameters(0.002, 80.0, 0.5)
    return {"flow": Flow(), "rectified flow": RectifiedFlow(), "diffusion": diffusion}


@pytest.mark.parametrize("name", ["flow", "rectified flow", "diffusion"])
def test_a_level_is_the_noises_share(pack, samplings, name):
    levels, sampling = pack("nodes.host.models.noise_levels"), samplings[name]
    sigmas = levels.sigma_of(sampling, LEVELS)
    torch.testing.assert_close(levels.level_of(sampling, sigmas), LEVELS)
    for level, sigma in zip(LEVELS, sigmas, strict=True):
        clip, noise = torch.full((1, 1, 1, 1, 1), 0.7), torch.full((1, 1, 1, 1, 1), -0.4)
        noised = sampling.noise_scaling(sigma[None], noise, clip) / levels.size_of(sampling, sigma[None])
        expected = (1 - level) * clip / (sampling.sigma_data if name == "diffusion" else 1) + level * -0.4
        torch.testing.assert_close(noised, expected)


def test_pure_noise_is_the_largest_that_the_model_knows(pack, samplings):
    levels = pack("nodes.host.models.noise_levels")
    assert float(levels.sigma_of(samplings["flow"], torch.tensor(1.0))) == 1
    assert float(levels.sigma_of(samplings["diffusion"], torch.tensor(1.0))) == pytest.approx(80)


@pytest.mark.parametrize("name", ["rectified flow", "diffusion"])
def test_a_share_of_the_schedule_is_a_flows_whatever_counts_the_noise(pack, samplings, name):
    """A flow of shift 5: at .6 of its schedule .77 of a latent is noise. The host's own .6 of a diffusion is .2."""
    levels, sampling = pack("nodes.host.models.noise_levels"), samplings[name]
    shares = [
        float(levels.level_of(sampling, torch.tensor(levels.sigma_at(sampling, at)))) for at in (0.0, 0.2, 0.6, 1.0)
    ]
    # Pure noise is the largest sigma that the model knows.
    assert shares == pytest.approx([1.0, 0.9524, 0.7692, 0.0], abs=0.02)
    assert float(levels.level_of(sampling, torch.tensor(float(sampling.percent_to_sigma(0.6))))) < 0.3
    flow = samplings["flow"]
    assert levels.sigma_at(flow, 0.6) == float(flow.percent_to_sigma(0.6))
    # In whatever precision a pack counts, a flow model's latent keeps its own.
    assert levels.size_of(flow, torch.ones(1, dtype=torch.float64)) == 1.0


def test_an_objective_that_follows_a_flow_is_refused(pack):
    import comfy.k_diffusion.sampling

    core, method = pack("fastvmt_core.config"), pack("fastvmt_core.objectives.registry").METHODS["FlowMotion"]
    model, prompt = made_families.loaded("predict2"), made_families.prompt("predict2")
    with torch.inference_mode():
        motion = pack("nodes.host.reading.inversion").invert_motion(
            model,
            made_families.latent("predict2", GRID),
            prompt,
            core.AMFConfig(),
            (2,),
            (0.3,),
            5,
            "ignore",
            objective=method,
        )
    how = core.GuidanceConfig(inner_steps=1, end_percent=0.1)
    guided = pack("nodes.host.sampling.wrapper").apply_motion(model, motion, core.LossWeights(), how, None)
    with pytest.raises(ValueError, match="objective: expected one that reads the model's attention"):
        euler = comfy.k_diffusion.sampling.sample_euler
        run_sampler(guided, prompt, euler, made_families.latent("predict2", GRID, seed=2), [80.0, 1.0])


def test_a_size_whose_half_is_no_whole_number_of_tokens_is_refused(pack):
    """Mochi, read at another size, fills nothing up."""
    import comfy.k_diffusion.sampling

    core, prompt = pack("fastvmt_core.config"), made_families.prompt("mochi")
    model = made_families.loaded("mochi")
    motion = small_motion(pack, model, prompt, made_families.latent("mochi", (2, 8, 8)), 1)
    how = core.GuidanceConfig(inner_steps=1, end_percent=0.1, resolution="half")
    guided = pack("nodes.host.sampling.wrapper").apply_motion(model, motion, core.LossWeights(), how, None)
    with pytest.raises(ValueError, match="resolution: expected full for this size"):
        euler = comfy.k_diffusion.sampling.sample_euler
        run_sampler(guided, prompt, euler, made_families.latent("mochi", (2, 9, 9), seed=2), [1.0, 0.5])


def test_a_schedule_is_read_at_its_levels(pack):
    model = made_families.loaded("predict2")
    read = pack("nodes.host.models.noise_levels").levels_of
    assert read(model, None) is None
    assert read(model, torch.tensor([80.0, 1.0, 0.0])) == pytest.approx([80 / 81, 0.5, 0.0])


def test_the_latent_moves_as_far_as_a_flow_models(pack, monkeypatch):
    """By the learning rate, in the network's eyes: at sigma 80 the latent itself is 81 times as large."""
    import comfy.k_diffusion.sampling

    core, rms = pack("fastvmt_core.config"), []
    model, prompt = made_families.loaded("predict2"), made_families.prompt("predict2")
    motion = small_motion(pack, model, prompt, made_families.latent("predict2", GRID), 2)
    how = core.GuidanceConfig(inner_steps=1, gradient_interval=1, lr_start=0.02, lr_end=0.02, end_percent=0.1)
    guided = pack("nodes.host.sampling.wrapper").apply_motion(model, motion, core.LossWeights(), how, None)

    def sampler(wrapped, x, sigmas, extra_args=None, callback=None, disable=None):
        before = x.clone()
        wrapped(x, sigmas[:1], **extra_args)
        rms.append(float((x - before).square().mean().sqrt()))
        return x

    sampler.__name__ = "sample_euler"
    monkeypatch.setattr(comfy.k_diffusion.sampling, "sample_euler", sampler)
    run_sampler(guided, prompt, sampler, made_families.latent("predict2", GRID, seed=2), [80.0, 1.0])
    assert rms[0] == pytest.approx(81 * 0.02, rel=0.05)


def test_a_network_that_refuses_odd_sides_is_read_at_its_own_size(pack):
    """Half of 18 latent pixels is 9, which Mochi's patches of 2 do not divide."""
    model, latent = made_families.loaded("mochi"), made_families.latent("mochi", (2, 9, 9))
    motion = small_motion(pack, model, made_families.prompt("mochi"), latent, 1)
    assert motion.grid.as_tuple == (2, 9, 9) and not motion.half_displacement
