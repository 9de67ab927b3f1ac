"""Weights that the host lends for one call: guidance computes with them as with weights that stay in place."""

import sys
from types import ModuleType

import pytest
import torch

from tests.host.lending import LendingHost, streamed, streams_weights
from tests.host.runs import captured_qk, noise, run_sampler, small_motion
from tools.host.made_models import lora, quantised_fp8, wan_weights

GRID = (2, 4, 4)
BLOCK = 3
SIGMAS = [1.0, 0.9, 0.8]
LEVELS = ("fastest", "smallest")


@pytest.fixture(scope="module", params=["tiny", "t2v", "vace", "fp8 quantised", "with a LoRA"])
def load(request, pack):
    """Loads a model, a new one at each call."""
    import comfy.sd

    def made():
        if request.param == "tiny":
            return pack("nodes.host.files.tiny_model").load_model()
        weights, metadata = wan_weights("vace" if request.param == "vace" else "t2v"), None
        if request.param == "fp8 quantised":
            weights, metadata = quantised_fp8(weights)
        loaded = comfy.sd.load_diffusion_model_state_dict(weights, metadata=metadata)
        if request.param == "with a LoRA":
            loaded, _ = comfy.sd.load_lora_for_models(loaded, None, lora(wan_weights()), 1.0, 0.0)
        return loaded

    def load():
        with torch.inference_mode():
            return made()

    return load


@pytest.fixture(scope="module")
def model(load):
    return load()


@pytest.fixture(scope="module")
def motion(pack, model, prompt_of_module):
    return small_motion(pack, model, prompt_of_module, noise(1, GRID), BLOCK)


@pytest.fixture(scope="module")
def prompt_of_module():
    with torch.inference_mode():
        return [[torch.randn(1, 4, 4096, generator=torch.Generator().manual_seed(7)), {}]]


@pytest.fixture
def guided(pack, model, motion, prompt):
    """Sample under guidance; gives the latent, and the losses of each gradient."""
    import comfy.k_diffusion.sampling

    core = pack("fastvmt_core.config")

    def sample(level, model=model):
        config = core.GuidanceConfig(
            inner_steps=2, gradient_interval=1, lr_start=0.1, lr_end=0.1, end_percent=1, memory=level
        )
        messages = []
        following = pack("nodes.host.sampling.wrapper").apply_motion(
            model, motion, core.LossWeights(), config, None, lambda event, data: messages.append((event, data))
        )
        latent = run_sampler(following, prompt, comfy.k_diffusion.sampling.sample_euler, noise(2, GRID), SIGMAS)
        return latent, [data["losses"] for event, data in messages if event == "guided_step"]

    return sample


@pytest.fixture
def gradient(pack, model, motion, prompt):
    """The gradient of a sum over q and k at one latent."""
    scope = pack("nodes.host.gradient.scope")
    planning = pack("fastvmt_core.budget.memory")

    def evaluate(level):
        plan = planning.KEEP_ALL if level == "fastest" else planning.MemoryPlan(BLOCK, offloaded=True)
        found = []

        def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
            with scope.gradient_scope(model.inner_model.inner_model.diffusion_model):
                point = x.clone().requires_grad_(True)
                grid = pack("fastvmt_core.grid").TokenGrid(*GRID)
                q, k = captured_qk(pack, model, point, sigmas[:1].clone(), extra_args, (BLOCK,), grid, plan)
                found.extend(torch.autograd.grad((q * k).sum(), point))
            return x

        run_sampler(model, prompt, sampler, noise(2, GRID), SIGMAS[:2])
        return found[0]

    return evaluate


@pytest.mark.parametrize("level", LEVELS)
def test_the_gradient_is_that_of_weights_in_place(model, gradient, monkeypatch, level):
    expected = gradient(level)
    host = LendingHost(monkeypatch, model.model.diffusion_model)
    assert torch.equal(gradient(level), expected)
    assert bool(expected.abs().max() > 0) and bool(torch.isfinite(expected).all())
    assert host.calls > 10 and host.lent == 0


@pytest.mark.parametrize("level", LEVELS)
def test_a_guided_run_is_that_of_weights_in_place(model, guided, monkeypatch, level):
    latent, losses = guided(level)
    host = LendingHost(monkeypatch, model.model.diffusion_model)
    again, same_losses = guided(level)
    assert torch.equal(again, latent) and same_losses == losses
    assert host.lent == 0


@pytest.mark.parametrize("level", LEVELS)
def test_a_guided_run_under_the_hosts_own_streaming(load, guided, monkeypatch, level):
    """Dynamic VRAM by the host's own patcher; only the VRAM is a stand-in, whose pages are lost after each call."""
    if not streams_weights():
        pytest.skip("this host streams no weights")
    latent, losses = guided(level)
    patcher, vram = streamed(load(), monkeypatch)
    again, same_losses = guided(level, patcher)
    assert torch.equal(again, latent) and same_losses == losses
    assert vram.faults > 10 and vram.pinned == 0


class OtherPacksLinear(torch.nn.Linear):
    """A layer that takes its weights in the host's older manner, and gives nothing back."""

    weight_function, bias_function = (), ()

    def forward(self, x):
        import comfy.ops

        return torch.nn.functional.linear(x, *comfy.ops.cast_bias_weight(self, x))


def test_a_layer_that_gives_nothing_back_has_its_gradient_too(pack, monkeypatch):
    layers = torch.nn.Sequential(OtherPacksLinear(4, 4), torch.nn.GELU(), OtherPacksLinear(4, 4)).requires_grad_(False)
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))

    def gradient():
        with pack("nodes.host.gradient.scope").gradient_scope(layers):
            point = x.clone().requires_grad_(True)
            return torch.autograd.grad(layers(point).sum(), point)[0]

    expected = gradient()
    host = LendingHost(monkeypatch)
    assert torch.equal(gradient(), expected)
    assert (host.calls, host.lent) == (2, 0)


def test_a_pack_that_imported_the_hosts_cast_has_its_gradient_too(pack, monkeypatch):
    """`from comfy.ops import cast_bias_weight`, under that name or another, before anything is guided."""
    host = LendingHost(monkeypatch)
    import comfy.ops

    other = ModuleType("custom_nodes_other_pack")
    monkeypatch.setitem(sys.modules, other.__name__, other)
    other._cast = imported = comfy.ops.cast_bias_weight

    class Layer(OtherPacksLinear):
        def forward(self, x):
            return torch.nn.functional.linear(x, *other._cast(self, x))

    layer = Layer(4, 4).requires_grad_(False)
    with pack("nodes.host.gradient.scope").gradient_scope(layer):
        point = torch.ones(1, 4, requires_grad=True)
        (gradient,) = torch.autograd.grad(layer(point).sum(), point)
    assert torch.allclose(gradient, layer.weight.sum(0))
    assert other._cast is imported and (host.calls, host.lent) == (1, 0)


def test_a_cast_without_a_lease_is_handed_on_uncopied(pack, comfyui):
    """What the host makes for one call needs no copy; a lease may be about memory that it takes back."""
    import comfy.ops

    given, layer = [], OtherPacksLinear(4, 4, dtype=torch.float16).requires_grad_(False)

    def noted(*args, **more):
        given.extend(comfy.ops.cast_bias_weight(*args, **more))
        return tuple(given)

    keeping = pack("nodes.host.gradient.lent_weights").keeping_cast(noted, comfy.ops.uncast_bias_weight)
    kept = keeping(layer, torch.ones(1, 4))
    for ours, theirs in zip(kept, given, strict=False):
        assert torch.equal(ours, theirs) and ours.dtype == torch.float32 and not ours.is_inference()
        assert (ours.data_ptr() == theirs.data_ptr()) == (given[2] is None)


def test_a_lease_ends_where_its_copy_finds_no_memory(pack, monkeypatch):
    layer = OtherPacksLinear(4, 4).requires_grad_(False)
    host = LendingHost(monkeypatch)

    def no_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(pack("nodes.host.gradient.lent_weights"), "_kept", no_memory)
    with pack("nodes.host.gradient.scope").gradient_scope(layer), pytest.raises(torch.OutOfMemoryError):
        layer(torch.ones(1, 4))
    assert (host.calls, host.lent) == (1, 0)


def quantised_layers():
    """(format, a linear layer of the host's own class whose weight is quantised in it) of every format it knows."""
    import comfy.ops
    from comfy.quant_ops import QUANT_ALGOS, QuantizedTensor

    weight = torch.randn(256, 256, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16) / 16
    for name, algorithm in QUANT_ALGOS.items():
        layer = comfy.ops.mixed_precision_ops({}, torch.bfloat16).Linear(256, 256, bias=False)
        layer.quant_format, layer.layout_type = name, algorithm["comfy_tensor_layout"]
        with torch.inference_mode():
            held = QuantizedTensor.from_float(weight, layer.layout_type)
            layer.weight = torch.nn.Parameter(held, requires_grad=False)
        yield name, layer.requires_grad_(False)


def test_every_quantised_weight_has_its_gradient(pack, comfyui):
    """Their own products have none (W4A4, W4A8), or that of other numbers (fp8, where the card multiplies in it)."""
    scope, found = pack("nodes.host.gradient.scope"), []
    for name, layer in quantised_layers():
        x = torch.randn(3, 256, generator=torch.Generator().manual_seed(2)).to(torch.bfloat16)
        with scope.gradient_scope(layer):
            point = x.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(layer(point).sum(), point)
        expected = layer.weight.dequantize().float().sum(0).expand_as(gradient)
        # bfloat16's rounding of a sum of 256.
        assert torch.allclose(gradient.float(), expected, rtol=2e-2, atol=2e-2), name
        found.append(name)
    assert "float8_e4m3fn" in found
