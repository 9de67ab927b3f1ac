"""Which samplers support an edit of their latent in place: each of the host's is tried, on a denoiser of one line."""

import functools
from types import SimpleNamespace

import pytest
import torch

from fastvmt_core.budget.memory import GuidedPass, MemoryPlan
from fastvmt_core.config import GuidanceConfig
from fastvmt_core.grid import TokenGrid

SIGMAS = [1.0, 0.9, 0.75, 0.5, 0.25, 0.0]
PUSH = 0.5
PASS = GuidedPass(batch=1, tokens=1, dim=1, ffn_dim=1, blocks=1, bytes_per_value=4)


class Denoiser:
    """What a sampler function needs of the model it is given; records the noise levels it was asked about."""

    def __init__(self, model_sampling, push_at, blind):
        self.inner_model = self
        self.model_patcher = self
        self.model_sampling = model_sampling
        self.latent_format = SimpleNamespace(latent_rgb_factors=None)
        self.asked = []
        self._push_at = push_at
        self._blind = blind

    def get_model_object(self, name):
        return getattr(self, name)

    def __call__(self, x, sigma, model_options=None, seed=None):
        if len(self.asked) == self._push_at:
            x += PUSH
        self.asked.append(float(sigma[0]))
        denoised, uncond = (torch.zeros_like(x) if self._blind else scale * torch.tanh(x) for scale in (0.3, 0.2))
        for function in (model_options or {}).get("sampler_post_cfg_function", []):
            denoised = function({"denoised": denoised, "uncond_denoised": uncond})
        return denoised


def run(function, x, sigmas=SIGMAS, push_at=None, blind=False):
    import comfy.model_sampling

    class Flow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    model = Denoiser(Flow(), push_at, blind)
    torch.manual_seed(0)
    out = function(
        model, x.clone(), torch.tensor(sigmas), extra_args={"seed": 1, "model_options": {}}, callback=None, disable=True
    )
    return out, model.asked


def test_the_table_lists_the_samplers_that_support_an_edit_in_place(pack):
    """Every sampler of this host is tried, so one that a newer host brings is as well."""
    import comfy.samplers

    table, wrong = pack("nodes.host.sampling.samplers").SUPPORT_IN_PLACE_EDITS, []
    x = torch.linspace(-1, 1, 64).reshape(1, 16, 1, 2, 2)
    for name in comfy.samplers.SAMPLER_NAMES:
        function = comfy.samplers.sampler_object(name).sampler_function
        if (function.__name__ in table) != supports_an_edit(function, x):
            wrong.append(name)
    assert wrong == []


def supports_an_edit(function, x):
    """Whether an edit is as if the run had begun with it, with one evaluation a step, at the step's own noise level.

    The first level may differ: those that cannot begin at 1 begin just below it.
    """
    edited, asked = run(function, x, push_at=0)
    expected, _ = run(function, x + PUSH)
    # Float32 of order 1.
    as_if_begun = torch.allclose(edited, expected, atol=1e-5)
    return as_if_begun and asked[1:] == pytest.approx(SIGMAS[1:-1], abs=1e-5) and not loses_later_edits(function, x)


def loses_later_edits(function, x):
    """Whether an edit at the second step goes missing (correctors start again from the step before).

    Looked for with a denoiser that ignores its input, before the last step: what is left of an edit is then what the
    sampler itself carried on.
    """
    plain, first, second = (run(function, x, SIGMAS[:-2], push_at, blind=True)[0] for push_at in (None, 0, 1))
    return torch.equal(second, plain) and not torch.equal(first, plain)


@pytest.fixture
def guided_sampling(pack, monkeypatch):
    """Samples with a guided run whose guidance notes its step and changes nothing: latent, levels asked, steps."""

    def sample(name, guided_steps, **options):
        import comfy.samplers

        guided = []
        motion = SimpleNamespace(grid=TokenGrid(1, 1, 1), reference=None, frame_flow=torch.zeros(2, 0, 1, 1, 2))
        guidance = SimpleNamespace(config=GuidanceConfig(), node_id=None, motion=motion, send=lambda *_: None)
        estimate = pack("nodes.host.gradient.memory").estimate_of(PASS, MemoryPlan(), 1e9)
        memory = SimpleNamespace(run_estimate=lambda gradients, steps, half: estimate, release=lambda: None)
        runs = pack("nodes.host.sampling.run")
        steps = dict.fromkeys(range(guided_steps), runs.GuidedStep(weight=1.0, half=False))
        run_guided = runs.GuidedRun(guidance, steps, torch.tensor(SIGMAS), memory, ())
        monkeypatch.setattr(run_guided, "guide", lambda step, *_: guided.append(step))
        function = comfy.samplers.sampler_object(name).sampler_function
        begun = functools.partial(run_guided.sample, function, **options)
        out, asked = run(begun, torch.linspace(-1, 1, 64).reshape(1, 16, 1, 2, 2), blind=True)
        return out, asked, guided

    return sample


@pytest.mark.parametrize("left", [0, 1, 2])
@pytest.mark.parametrize("name", ["heun", "dpm_2", "dpmpp_sde", "seeds_2", "sa_solver", "uni_pc", "uni_pc_bh2"])
def test_samplers_that_begin_as_euler_end_denoised(guided_sampling, name, left):
    steps = len(SIGMAS) - 1
    out, _, guided = guided_sampling(name, steps - left)
    # A denoiser that always answers 0 must be believed at sigma 0 (uni_pc stops at .001 of it).
    assert float(out.abs().max()) < 0.01
    assert guided == list(range(steps - left))


CHURN = 0.9
"""Of a whole run; each step of it then raises its noise level by 18 %, past the level of the step before."""


@pytest.mark.parametrize("name", ["euler", "heun", "dpm_2"])
def test_churn_begins_after_the_guided_steps_as_strong_as_in_an_unguided_run(guided_sampling, name):
    """Churn evaluates above a step's noise level: counted by levels, steps would be missed or guided twice."""
    import comfy.samplers

    function = comfy.samplers.sampler_object(name).sampler_function
    x = torch.linspace(-1, 1, 64).reshape(1, 16, 1, 2, 2)
    _, unguided = run(functools.partial(function, s_churn=CHURN), x)
    out, asked, guided = guided_sampling(name, 3, s_churn=CHURN)
    assert guided == [0, 1, 2]
    assert asked[:3] == pytest.approx(SIGMAS[:3])
    left = len(asked) - 3
    assert left > 0 and asked[3:] == pytest.approx(unguided[-left:])
    assert float(out.abs().max()) < 0.01


def test_a_function_that_only_shares_a_name_is_not_trusted(pack):
    def sample_euler(model, x, sigmas, **_):
        return x

    assert not pack("nodes.host.sampling.samplers").supports_in_place_edits(sample_euler, {})
    assert not pack("nodes.host.sampling.samplers").supports_in_place_edits(functools.partial(sample_euler), {})


def test_each_sampler_of_the_host_is_seen_to_evaluate(pack):
    """Tried up to its first evaluation, and nothing of its arguments is changed by that."""
    import comfy.model_sampling
    import comfy.samplers

    class Flow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    x = torch.linspace(-1, 1, 64).reshape(1, 16, 1, 2, 2)
    for name in comfy.samplers.SAMPLER_NAMES:
        model, before, extra_args = Denoiser(Flow(), None, False), x.clone(), {"seed": 1, "model_options": {}}
        function = comfy.samplers.sampler_object(name).sampler_function
        assert pack("nodes.host.sampling.samplers").evaluates(function, model, x, torch.tensor(SIGMAS), extra_args), (
            name
        )
        assert model.asked == [] and torch.equal(x, before) and extra_args == {"seed": 1, "model_options": {}}, name


def test_a_sampler_that_returns_at_once_is_not_seen_to_evaluate(pack):
    evaluates = pack("nodes.host.sampling.samplers").evaluates
    assert not evaluates(lambda model, x, sigmas, **_: x, None, torch.zeros(1), torch.ones(2), {"model_options": {}})


def test_every_sampler_of_the_table_exists_in_the_host(pack):
    import comfy.k_diffusion.sampling as sampling

    assert all(hasattr(sampling, name) for name in pack("nodes.host.sampling.samplers").SUPPORT_IN_PLACE_EDITS)
