"""The gradient scope: ordinary tensors stand in for inference tensors, over the same memory."""

from types import SimpleNamespace

import pytest
import torch

from tools.host.made_models import quantised_fp8, scaled_fp8, wan_weights


@pytest.fixture(scope="module", params=["float32", "fp8 scaled", "fp8 quantised"])
def network(request, comfyui):
    """The small Wan of a loader node."""
    import comfy.sd

    made = {"float32": lambda weights: weights, "fp8 scaled": scaled_fp8, "fp8 quantised": quantised_fp8}
    with torch.inference_mode():
        weights = made[request.param](wan_weights())
        weights, metadata = weights if isinstance(weights, tuple) else (weights, None)
        model = comfy.sd.load_diffusion_model_state_dict(weights, metadata=metadata).model.diffusion_model
    is_wrapped = hasattr(model.blocks[0].self_attn.q.weight, "__tensor_flatten__")
    # Hosts of 2026 load the older fp8 format as quantised tensors too.
    assert is_wrapped or request.param != "fp8 quantised"
    return model


def parts(tensor):
    """The tensors that a weight is made of."""
    if hasattr(tensor, "__tensor_flatten__"):
        return [part for name in tensor.__tensor_flatten__()[0] for part in parts(getattr(tensor, name))]
    return [tensor]


def large(tensors):
    """The weights themselves; scalars such as scales may be copied by the host's own classes."""
    return [part for part in tensors if part.numel() > 1]


def test_stand_ins_share_the_memory_and_carry_no_inference(pack, network):
    held = dict([*network.named_parameters(), *network.named_buffers()])
    assert all(part.is_inference() for tensor in held.values() for part in parts(tensor))
    with pack("nodes.host.gradient.scope").gradient_scope(network):
        inside = dict([*network.named_parameters(), *network.named_buffers()])
        assert inside.keys() == held.keys()
        for name, tensor in inside.items():
            assert not tensor.is_inference() and not tensor.requires_grad
            assert not any(part.is_inference() for part in parts(tensor))
            assert [part.data_ptr() for part in large(parts(tensor))] == [
                part.data_ptr() for part in large(parts(held[name]))
            ]
    after = dict([*network.named_parameters(), *network.named_buffers()])
    assert all(after[name] is tensor for name, tensor in held.items())


def test_a_layer_has_the_right_gradient_inside(pack, network):
    layer = network.blocks[0].self_attn.q
    x = torch.randn(1, 5, 256, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        # A linear layer: its answers to unit vectors are its weight.
        basis = layer(torch.eye(256)[None])[0] - layer(torch.zeros(1, 1, 256))[0]
    with pack("nodes.host.gradient.scope").gradient_scope(network):
        point = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(layer(point).sum(), point)
    # Both go through the same weight; float32, or the bfloat16 that a host may compute quantised layers in.
    assert torch.allclose(gradient, basis.sum(dim=-1).expand_as(gradient), rtol=1e-2, atol=1e-2)


def test_a_weight_that_was_replaced_inside_stays(pack, network):
    layer = network.blocks[0].ffn[0]
    original = layer.bias
    with pack("nodes.host.gradient.scope").gradient_scope(network):
        layer.bias = torch.nn.Parameter(torch.zeros(512), requires_grad=False)
        replaced = layer.bias
    assert layer.bias is replaced
    layer.bias = original


def test_weights_come_over_in_order_and_products_are_exact_inside(pack, network, monkeypatch):
    import comfy.model_management as host

    monkeypatch.setattr(host, "NUM_STREAMS", 2)
    layers = [layer for layer in network.modules() if hasattr(layer, "_full_precision_mm")]
    before = [layer._full_precision_mm for layer in layers]
    with pytest.raises(KeyError), pack("nodes.host.gradient.scope").gradient_scope(network):
        assert host.NUM_STREAMS == 0
        assert all(layer._full_precision_mm for layer in layers)
        raise KeyError("in the middle")
    assert host.NUM_STREAMS == 2
    assert [layer._full_precision_mm for layer in layers] == before


def test_products_in_fp8_are_left_to_the_layers_other_way(pack):
    import comfy.ops

    before = comfy.ops.fp8_linear
    layer = comfy.ops.fp8_ops.Linear(16, 16)
    layer.weight = torch.nn.Parameter(torch.randn(16, 16).to(torch.float8_e4m3fn), requires_grad=False)
    layer.bias, layer.scale_weight, layer.scale_input = None, None, None
    point = torch.randn(2, 3, 16, requires_grad=True)
    with pack("nodes.host.gradient.scope").gradient_scope(layer.eval()):
        out = layer(point)
        (gradient,) = torch.autograd.grad(out.sum(), point)
    assert torch.allclose(gradient, layer.weight.float().sum(0).expand_as(point))
    assert comfy.ops.fp8_linear is before


def test_what_patches_run_beside_the_network_has_a_gradient_too(pack):
    with torch.inference_mode():
        beside = torch.nn.Conv3d(2, 2, 1).requires_grad_(False)
    point = torch.ones(1, 2, 1, 1, 1, requires_grad=True)
    with pack("nodes.host.gradient.scope").gradient_scope(torch.nn.Linear(1, 1), beside):
        (gradient,) = torch.autograd.grad(beside(point).sum(), point)
    assert torch.allclose(gradient.flatten(), beside.weight.sum(0).flatten())


class BypassHook:
    """A LoRA around a layer's forward, as hosts of 2026 put it there; the pinned one has none."""

    def __init__(self, layer, *weights):
        self.adapter = SimpleNamespace(weights=weights)
        self.original_forward, layer.forward = layer.forward, self.forward

    def forward(self, x):
        up, down, _ = self.adapter.weights
        return self.original_forward(x) + torch.nn.functional.linear(torch.nn.functional.linear(x, down), up)


def test_loras_in_bypass_mode_have_a_gradient_too(pack):
    with torch.inference_mode():
        layer = torch.nn.Linear(3, 3, bias=False).requires_grad_(False)
        hooks = [BypassHook(layer, torch.rand(3, 2), torch.rand(2, 3), 1.0) for _ in range(2)]
    held = [hook.adapter.weights for hook in hooks]
    point = torch.ones(1, 3, requires_grad=True)
    with pack("nodes.host.gradient.scope").gradient_scope(torch.nn.Sequential(layer)):
        (gradient,) = torch.autograd.grad(layer(point).sum(), point)
    whole = layer.weight + sum(up @ down for up, down, _ in held)
    assert torch.allclose(gradient[0], whole.sum(0))
    assert all(hook.adapter.weights is weights for hook, weights in zip(hooks, held, strict=True))


class Packed(torch.Tensor):
    """Bytes that only another pack can read, as GGUF's weights are: moved, they must know still what they are."""

    def __new__(cls, data, kind):
        return torch.Tensor._make_subclass(cls, data)

    def __init__(self, data, kind):
        self.kind = kind

    def to(self, *args, **kwargs):
        moved = super().to(*args, **kwargs)
        moved.kind = getattr(self, "kind", None)
        return moved

    def detach(self):
        return self


@pytest.mark.parametrize("parameter", [False, True])
def test_a_weight_of_another_packs_class_keeps_it(pack, parameter):
    with torch.inference_mode():
        weight = Packed(torch.arange(8, dtype=torch.uint8).reshape(2, 4), "Q8_0")
        layer = torch.nn.Module()
        if parameter:
            layer.weight = torch.nn.Parameter(weight, requires_grad=False)
        else:
            layer.register_buffer("weight", weight)
    held = layer.weight
    assert held.is_inference() and type(held) is Packed
    with pack("nodes.host.gradient.scope").gradient_scope(layer):
        inside = layer.weight
        assert not inside.is_inference() and isinstance(inside, Packed)
        assert isinstance(inside, torch.nn.Parameter) == parameter
        assert inside.data_ptr() == held.data_ptr() and inside.kind == "Q8_0"
        assert inside.to("meta").kind == "Q8_0"
    assert layer.weight is held
