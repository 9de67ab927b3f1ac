"""Rivals that train on the reference: each adapter starts as nothing, learns the clip, and leaves the model alone."""

import pytest
import torch

from benchmarks.runs.tuning import ADAPTERS, BenchTune, attached, tuned
from fastvmt_core.tiny_prompt import encode
from tests.host.conftest import comfyui, pack, tiny_model  # noqa: F401

LATENT = torch.randn(1, 16, 3, 1, 1, generator=torch.Generator().manual_seed(1)).repeat(1, 1, 1, 8, 8)
"""A clip that each adapter can learn: every frame of one colour."""
TEXT = encode("red circle plain")


def velocity(network, sites=()):
    with torch.no_grad(), attached(sites):
        return network(0.7 * LATENT, torch.tensor([700.0]), TEXT.float())


@pytest.fixture
def network(tiny_model):  # noqa: F811
    return tiny_model.model.diffusion_model


@pytest.mark.parametrize("method", ADAPTERS)
def test_an_untrained_adapter_changes_nothing_and_a_trained_one_does(network, method):
    before = velocity(network)
    fresh = tuned(network, LATENT, TEXT.float(), method, steps=0, rate=1e-2)
    assert torch.equal(velocity(network, fresh.sites()), before)
    trained = tuned(network, LATENT, TEXT.float(), method, steps=2, rate=1e-2)
    assert not torch.allclose(velocity(network, trained.sites()), before, atol=1e-3)
    assert torch.equal(velocity(network), before)


@pytest.mark.parametrize("method", ADAPTERS)
def test_an_adapter_learns_the_clip_it_is_trained_on(network, method):
    noise = torch.randn(LATENT.shape, generator=torch.Generator().manual_seed(2))

    def loss(adapter):
        with torch.no_grad(), attached(adapter.sites()):
            predicted = network(0.7 * noise + 0.3 * LATENT, torch.tensor([700.0]), TEXT.float())
        return float((predicted - (noise - LATENT)).square().mean())

    fresh, trained = (tuned(network, LATENT, TEXT.float(), method, steps, rate=5e-3) for steps in (0, 30))
    # Frame biases have the fewest weights: they take .07 of the loss, the others more.
    assert loss(trained) < 0.95 * loss(fresh)


def test_the_frame_biases_of_the_values_sum_to_nothing(network):
    trained = tuned(network, LATENT, TEXT.float(), "Motion Inversion", steps=2, rate=1e-2)
    tokens = torch.zeros(1, 3 * 16, network.dim)
    additions = [add(tokens, tokens) for _, add in trained.sites()]
    queries, _, values = (addition.unflatten(1, (3, 16)) for addition in additions[:3])
    assert values.abs().max() > 1e-3
    assert values.mean(1).abs().max() < 1e-6
    assert queries.mean(1).abs().max() > 1e-3
    # Every token of a frame gets the same.
    assert (values - values[:, :, :1]).abs().max() == 0


def test_a_temporal_convolution_mixes_a_token_with_itself_in_the_next_frames_alone(network):
    trained = tuned(network, LATENT, TEXT.float(), "DeT", steps=2, rate=1e-2)
    hidden = torch.zeros(1, 3 * 16, network.dim)
    hidden[:, 5] = 1.0
    _, add = trained.sites()[0]
    touched = add(hidden, hidden).abs().sum(-1)[0] > 0
    assert touched.nonzero().flatten().tolist() == [5, 5 + 16]


def test_the_node_gives_a_clone_and_leaves_the_model_as_it_was(tiny_model):  # noqa: F811
    network = tiny_model.model.diffusion_model
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    with torch.inference_mode():
        (model,) = BenchTune().tune(tiny_model, {"samples": LATENT}, [[TEXT, {}]], "MotionDirector", 1, 1e-3)
    assert model is not tiny_model
    assert "model_function_wrapper" not in tiny_model.model_options
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
