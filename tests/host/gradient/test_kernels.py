"""Kernels without a backward: attention and layers that the host or an option of its command line chose."""

import sys
import types

import pytest
import torch

BLOCK_INPUT = (1, 12, 64)


@pytest.fixture
def scope(pack):
    return pack("nodes.host.gradient.scope").gradient_scope


@pytest.fixture
def chosen(comfyui, monkeypatch):
    """The host as if started with --use-sage-attention: what it chose is bound in all modules, and has no backward."""
    import comfy.ldm.modules.attention as host
    import comfy.ldm.wan.model
    import comfy.ldm.wan.model_animate

    def no_backward(q, k, v, heads, mask=None, **options):
        # As SageAttention's kernels: a right result that autograd knows nothing of.
        return host.attention_pytorch(q.detach(), k.detach(), v.detach(), heads, mask, **options)

    fused = host.wrap_attn(no_backward)
    original = host.optimized_attention
    for module in list(sys.modules.values()):
        for name in ("optimized_attention", "optimized_attention_masked"):
            if getattr(module, "__dict__", {}).get(name) is original:
                monkeypatch.setattr(module, name, fused)
    assert comfy.ldm.wan.model_animate.optimized_attention is fused
    return fused


def face_block():
    """Wan Animate's face block, which gives its attention no options."""
    import comfy.ops
    from comfy.ldm.wan.model_animate import FaceBlock

    block = FaceBlock(64, 2, operations=comfy.ops.disable_weight_init)
    # The block normalises each row: rows that differ by a constant would all be the same key.
    return block, lambda x: block(x, torch.arange(3 * 5 * 64, dtype=torch.float64).sin().reshape(1, 3, 5, 64))


def audio_block():
    """The audio cross-attention of S2V and HuMo, as the host calls it without an override."""
    import comfy.ops
    from comfy.ldm.wan.model import WanT2VCrossAttentionGather

    block = WanT2VCrossAttentionGather(
        64, 2, kv_dim=64, operation_settings={"operations": comfy.ops.disable_weight_init}
    )
    return block, lambda x: block(x, torch.linspace(-1, 1, 3 * 16 * 64, dtype=torch.float64).reshape(1, 48, 64))


@pytest.mark.parametrize("made", [face_block, audio_block])
def test_side_attention_has_the_gradient_of_finite_differences(scope, chosen, made):
    block, forward = made()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in block.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / max(weight.shape[-1], 1) ** 0.5)
    block = block.double().requires_grad_(False)
    x = torch.randn(*BLOCK_INPUT, generator=generator, dtype=torch.float64)
    direction = torch.randn(*BLOCK_INPUT, generator=generator, dtype=torch.float64)

    def value(x):
        out = forward(x)
        return (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)).sum()

    with scope(block):
        point = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(value(point), point)
    step = 1e-5
    measured = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    # Far above what rounding alone gives, about 1e-10.
    assert abs(float(measured)) > 1e-3
    assert float((gradient * direction).sum()) == pytest.approx(float(measured), rel=1e-6)


def test_attention_by_the_name_is_put_back_whatever_happens(scope, chosen):
    import comfy.ldm.modules.attention as host
    import comfy.ldm.wan.model_animate as animate

    with pytest.raises(KeyError), scope(torch.nn.Linear(1, 1)):
        assert animate.optimized_attention is host.optimized_attention is not chosen
        raise KeyError("in the middle")
    assert animate.optimized_attention is host.optimized_attention is chosen


def test_an_override_counts_in_side_attention_too(scope, chosen):
    import comfy.ldm.wan.model as wan

    seen = []
    q = torch.ones(1, 4, 8)
    options = {"optimized_attention_override": lambda function, *args, **kwargs: seen.append(len(args)) or args[2]}
    with scope(torch.nn.Linear(1, 1)):
        wan.optimized_attention(q, q, q, heads=2, transformer_options=options)
    assert seen == [3]


@pytest.fixture
def cublas(comfyui, monkeypatch):
    """`comfy.ops.cublas_ops` as the host defines it where the optional package is installed."""
    import comfy.ops

    class CublasLinear(torch.nn.Linear):
        """The package's layer: a right product that autograd knows nothing of."""

        def forward(self, x):
            return torch.nn.functional.linear(x.detach(), self.weight.detach(), self.bias.detach())

    class Linear(CublasLinear, comfy.ops.disable_weight_init.Linear):
        def reset_parameters(self):
            return None

        def forward_comfy_cast_weights(self, input):
            return super().forward(input)

        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs)

    monkeypatch.setattr(comfy.ops, "cublas_ops", types.SimpleNamespace(Linear=Linear), raising=False)
    layer = Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(6.0).reshape(2, 3))
        layer.bias.copy_(torch.tensor([1.0, -1.0]))
    return layer.requires_grad_(False)


@pytest.mark.parametrize("lora", ["none", "weight function", "bypass"])
def test_a_cublas_layer_has_its_gradient(scope, cublas, lora):
    factor = 1.0
    if lora == "weight function":
        # The host's patches of weights that are cast at use.
        cublas.comfy_cast_weights, cublas.weight_function = True, [lambda weight: weight * 2]
        factor = 2.0
    if lora == "bypass":
        hook = types.SimpleNamespace(original_forward=cublas.forward)
        cublas.forward = types.MethodType(lambda hook, x: hook.original_forward(x) + x[..., :2], hook)
    point = torch.ones(1, 3, requires_grad=True)
    before = dict(vars(cublas))
    assert not cublas(point * 2).grad_fn or lora == "bypass"
    with scope(cublas):
        (gradient,) = torch.autograd.grad(cublas(point).sum(), point)
    expected = factor * cublas.weight.sum(0) + (torch.tensor([1.0, 1.0, 0.0]) if lora == "bypass" else 0)
    assert torch.equal(gradient[0], expected)
    assert vars(cublas).keys() == before.keys()


def test_an_attention_that_replaced_torchs_own_is_refused(scope, pack, monkeypatch):
    attend, original = pack("nodes.host.gradient.kernels").attention_with_backward, torch.nn.functional
    kept = original.scaled_dot_product_attention

    def no_backward(q, k, v, *args, **options):
        return kept(q.detach(), k.detach(), v.detach(), *args, **options)

    monkeypatch.setattr(original, "scaled_dot_product_attention", no_backward)
    tokens = torch.randn(BLOCK_INPUT, generator=torch.Generator().manual_seed(3))
    with scope(torch.nn.Identity()):
        attend(tokens, tokens, tokens, 2)
        tokens = tokens.clone().requires_grad_()
        with pytest.raises(ValueError, match="attention: expected PyTorch's .* switch that off"):
            attend(tokens, tokens, tokens, 2)
