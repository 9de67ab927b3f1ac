"""Attention that other nodes put into guided blocks: wherever they put it, the gradient is that of the host's own."""

import functools

import pytest
import torch

from tests.host.runs import captured_qk, noise, run_sampler
from tests.host.sampling.test_gradient import hosts_own_qk

GRID = (2, 4, 4)
BLOCK = 3
SIGMA = 0.9
DIRECTIONS = 6


def kernel(q, k, v, heads, *_, **__):
    """A fused kernel: the right values, and no backward."""
    from comfy.ldm.modules.attention import attention_pytorch

    with torch.no_grad():
        return attention_pytorch(q, k, v, heads, _inside_attn_wrapper=True)


def by_kernel(function, *args, **kwargs):
    return kernel(*args, **kwargs)


def patched_blocks(model, patch):
    patched = model.clone()
    for index in range(BLOCK + 1):
        patched.set_model_patch_replace(functools.partial(patch, index), "dit", "double_block", index)
    return patched


def override_in_the_blocks_patch(model):
    def patch(index, args, extra):
        options = {**args["transformer_options"], "optimized_attention_override": by_kernel}
        return extra["original_block"]({**args, "transformer_options": options})

    return patched_blocks(model, patch)


def a_block_of_its_own(model):
    network = model.model.diffusion_model

    def patch(index, args, extra):
        options = {"optimized_attention_override": by_kernel}
        given = {"e": args["vec"], "freqs": args["pe"], "context": args["txt"], "transformer_options": options}
        return {"img": network.blocks[index](args["img"], **given)}

    return patched_blocks(model, patch)


def override_in_a_wrapper(model):
    from comfy.patcher_extension import WrappersMP

    def wrapper(executor, *args, **kwargs):
        (options,) = [
            each for each in (*args, *kwargs.values()) if isinstance(each, dict) and "patches_replace" in each
        ]
        options["optimized_attention_override"] = by_kernel
        return executor(*args, **kwargs)

    patched = model.clone()
    patched.add_wrapper(WrappersMP.DIFFUSION_MODEL, wrapper)
    return patched


def attention_of_the_hosts_module(model):
    import comfy.ldm.wan.model as module

    def wrapper(apply_model, args):
        before, module.optimized_attention = module.optimized_attention, kernel
        try:
            return apply_model(args["input"], args["timestep"], **args["c"])
        finally:
            module.optimized_attention = before

    patched = model.clone()
    patched.set_model_unet_function_wrapper(wrapper)
    return patched


def self_forward(attention, x, freqs, **_):
    from comfy.ldm.flux.math import apply_rope1

    shape = (*x.shape[:2], attention.num_heads, attention.head_dim)
    q, k = (
        apply_rope1(norm(linear(x)).view(shape), freqs).flatten(2)
        for norm, linear in ((attention.norm_q, attention.q), (attention.norm_k, attention.k))
    )
    return attention.o(kernel(q, k, attention.v(x), attention.num_heads))


def cross_forward(attention, x, context, **_):
    q, k = attention.norm_q(attention.q(x)), attention.norm_k(attention.k(context))
    return attention.o(kernel(q, k, attention.v(context), attention.num_heads))


def forward_of(name, forward):
    def patched(model):
        patched = model.clone()
        for index, block in enumerate(model.model.diffusion_model.blocks):
            own = functools.partial(forward, getattr(block, name))
            patched.add_object_patch(f"diffusion_model.blocks.{index}.{name}.forward", own)
        return patched

    return patched


def compiled_blocks(model, backend="eager"):
    """As a node that compiles each block, which counts as the block from then on."""
    patched = model.clone()
    for index, block in enumerate(model.model.diffusion_model.blocks):
        # The host leaves a patched model as it is until another of its clones runs.
        block = getattr(block, "_orig_mod", block)
        patched.add_object_patch(f"diffusion_model.blocks.{index}", torch.compile(block, backend=backend))
    return patched


NODES = {
    "none": lambda model: model,
    "override in the block's patch": override_in_the_blocks_patch,
    "a block of its own": a_block_of_its_own,
    "override in a wrapper": override_in_a_wrapper,
    "attention of the host's module": attention_of_the_hosts_module,
    "forward of the self-attention": forward_of("self_attn", self_forward),
    "forward of the cross-attention": forward_of("cross_attn", cross_forward),
    "compiled blocks": compiled_blocks,
}


@pytest.mark.parametrize("recomputed", [0, BLOCK], ids=["kept", "recomputed"])
@pytest.mark.parametrize(
    "node", [pytest.param(node, marks=pytest.mark.slow if node == "compiled blocks" else ()) for node in NODES]
)
def test_the_gradient_is_that_of_the_hosts_own_attention(pack, tiny_model, prompt, node, recomputed):
    scope = pack("nodes.host.gradient.scope")
    grid = pack("fastvmt_core.grid").TokenGrid(*GRID)
    plan = pack("fastvmt_core.budget.memory").MemoryPlan(recomputed, offloaded=False)
    generator = torch.Generator().manual_seed(3)
    found = {}

    def loss_of(q, k):
        weights = torch.Generator().manual_seed(4)
        return sum((tokens * torch.randn(tokens.shape, generator=weights)).sum() for tokens in (q, k))

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        base = model.inner_model.inner_model
        with scope.gradient_scope(base.diffusion_model):
            point = x.clone().requires_grad_(True)
            q, k = captured_qk(pack, model, point, sigmas[:1].clone(), extra_args, (BLOCK,), grid, plan)
            (gradient,) = torch.autograd.grad(loss_of(q[0], k[0]), point)
        directions = [gradient, *torch.randn(DIRECTIONS, *x.shape, generator=generator)]
        measured, predicted = [], []
        for direction in (each / each.norm() for each in directions):
            ahead, behind = (
                loss_of(*hosts_own_qk(base, x + side * 3e-2 * direction, sigmas[:1], prompt[0][0], GRID))
                for side in (1, -1)
            )
            measured.append((ahead - behind) / 6e-2)
            predicted.append((gradient * direction).sum())
        found["cosine"] = torch.nn.functional.cosine_similarity(torch.stack(measured), torch.stack(predicted), dim=0)
        found["ratio"] = measured[0] / predicted[0]
        return x

    run_sampler(NODES[node](tiny_model), prompt, sampler, noise(1, GRID), [SIGMA, 0.5])
    assert found["cosine"] >= 0.999
    assert found["ratio"] == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_a_gradient_compiles_nothing(pack, tiny_model, prompt):
    scope = pack("nodes.host.gradient.scope")
    grid = pack("fastvmt_core.grid").TokenGrid(*GRID)
    compiled = []

    def backend(graph, _):
        compiled.append(torch.is_grad_enabled())
        return graph.forward

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        ordinary = model(x, sigmas[:1], **extra_args)
        count = len(compiled)
        with scope.gradient_scope(model.inner_model.inner_model.diffusion_model):
            captured_qk(pack, model, x.clone().requires_grad_(True), sigmas[:1].clone(), extra_args, (BLOCK,), grid)
        assert count > 0 and len(compiled) == count
        assert torch.equal(model(x, sigmas[:1], **extra_args), ordinary)
        return x

    torch._dynamo.reset()
    run_sampler(compiled_blocks(tiny_model, backend), prompt, sampler, noise(1, GRID), [SIGMA, 0.5])
    assert not any(compiled)
