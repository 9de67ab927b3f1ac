"""The guided gradient against finite differences of the host's own forward pass."""

import pytest
import torch
from einops import rearrange

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.config import AMFConfig, LossWeights
from fastvmt_core.objectives.fastvmt import motion_loss
from tests.host.runs import captured_qk, noise, run_sampler

GRID = (3, 6, 6)
BLOCK = 3
SIGMA = 0.97
DIRECTIONS = 12
CONFIG = AMFConfig(temporal_span=3, window=3, tile=(2, 2))
WEIGHTS = LossWeights()


def hosts_own_qk(base, x, sigma, context, grid=GRID, transformer_options=None, blocks=(BLOCK,)):
    """q and k of the blocks from an ordinary forward pass, taken by module hooks: no code of ours.

    The heads of several blocks stand one after the other.
    """
    seen = []
    attentions = [base.diffusion_model.blocks[block].self_attn for block in blocks]
    handles = [attention.register_forward_pre_hook(lambda _, args: seen.append(args[:2])) for attention in attentions]
    try:
        base.apply_model(x, sigma, c_crossattn=context, transformer_options=transformer_options or {})
    finally:
        for handle in handles:
            handle.remove()
    from comfy.ldm.flux.math import apply_rope1

    def on_grid(attention, norm, linear, x, freqs):
        tokens = norm(linear(x)).view(1, -1, attention.num_heads, attention.head_dim)
        frames, height, width = grid
        return rearrange(apply_rope1(tokens, freqs), "1 (f h w) n d -> f h w n d", f=frames, h=height, w=width)

    pairs = list(zip(attentions, seen, strict=True))
    q = [on_grid(attention, attention.norm_q, attention.q, *given) for attention, given in pairs]
    k = [on_grid(attention, attention.norm_k, attention.k, *given) for attention, given in pairs]
    return torch.cat(q, dim=-2), torch.cat(k, dim=-2)


def memory_plan(planning, level):
    """The plan of a level, where auto has room for one kept block of the three before the last."""
    sizes = planning.GuidedPass(1, 108, 256, 1024, blocks=BLOCK, bytes_per_value=4)
    free = sizes.needed(planning.MemoryPlan(BLOCK - 1)) / (1 - planning.RESERVE)
    plan = planning.plan_memory(sizes, level, free)
    assert plan == planning.MemoryPlan(*{"fastest": (0, False), "auto": (2, False), "smallest": (3, True)}[level])
    return plan


@pytest.mark.parametrize("blocks", [(BLOCK,), (1, BLOCK)], ids=["one block", "two blocks"])
@pytest.mark.parametrize("level", ["fastest", "auto", "smallest"])
def test_gradient_is_that_of_the_hosts_own_forward(pack, tiny_model, prompt, level, blocks):
    autograd = pack("nodes.host.gradient.scope")
    grid = pack("fastvmt_core.grid").TokenGrid(*GRID)
    plan = memory_plan(pack("fastvmt_core.budget.memory"), level)
    found = {}

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        base = model.inner_model.inner_model
        sigma = sigmas[:1]
        context = prompt[0][0]
        with torch.inference_mode(False), torch.no_grad():
            q, k = hosts_own_qk(base, noise(1, GRID), torch.tensor([0.3]), context, blocks=blocks)
            reference = attention_motion_flow(q, k, CONFIG)

        def loss_of(q, k):
            return motion_loss(reference, attention_motion_flow(q, k, CONFIG, reference.centres), WEIGHTS).total

        with autograd.gradient_scope(base.diffusion_model):
            point = x.clone().requires_grad_(True)
            q, k = captured_qk(pack, model, point, sigma.clone(), extra_args, blocks, grid, plan)
            (gradient,) = torch.autograd.grad(loss_of(q[0], k[0]), point)
        generator = torch.Generator().manual_seed(3)
        # Along the gradient itself and across random directions. The step balances the truncation of a central
        # difference (its square) against float32's rounding of the loss (its inverse).
        directions = [gradient / gradient.norm()]
        directions += [d / d.norm() for d in torch.randn(DIRECTIONS, *x.shape, generator=generator)]
        step = 3e-2
        measured, predicted = [], []
        for direction in directions:
            ahead, behind = (
                loss_of(*hosts_own_qk(base, x + s * step * direction, sigma, context, blocks=blocks)) for s in (1, -1)
            )
            measured.append((ahead - behind) / (2 * step))
            predicted.append((gradient * direction).sum())
        found["cosine"] = torch.nn.functional.cosine_similarity(torch.stack(measured), torch.stack(predicted), dim=0)
        found["random"] = torch.nn.functional.cosine_similarity(
            torch.stack(measured[1:]), torch.stack(predicted[1:]), dim=0
        )
        found["ratio"] = measured[0] / predicted[0]
        return x

    run_sampler(tiny_model, prompt, sampler, noise(2, GRID), [SIGMA, 0.9])
    assert found["cosine"] >= 0.999
    assert found["random"] >= 0.999
    assert found["ratio"] == pytest.approx(1, abs=0.01)
