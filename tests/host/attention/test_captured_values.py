"""Values of the last block that is read, captured beside its q and k."""

import torch

from tests.host.attention.test_capture import BLOCK, GRID, SIGMAS
from tests.host.runs import captured_qk, noise, run_sampler


def test_the_last_blocks_values_are_handed_over_without_gradient(pack, tiny_model, prompt):
    autograd = pack("nodes.host.gradient.scope")
    grid, values = pack("fastvmt_core.grid").TokenGrid(*GRID), []

    def sampler(wrapped, x, sigmas, extra_args=None, callback=None, disable=None):
        network = wrapped.inner_model.inner_model.diffusion_model
        made = []
        handle = network.blocks[BLOCK].self_attn.v.register_forward_hook(lambda *call: made.append(call[2]))
        with autograd.gradient_scope(network):
            point = x.clone().requires_grad_(True)
            captured_qk(pack, wrapped, point, sigmas[:1].clone(), extra_args, (1, BLOCK), grid, on_values=values.append)
        handle.remove()
        assert len(values) == 1 and values[0].shape[:4] == (1, *GRID) and not values[0].requires_grad
        assert torch.equal(values[0].flatten(4).flatten(1, 3), made[0].detach())
        return x

    run_sampler(tiny_model, prompt, sampler, noise(1, GRID), SIGMAS)
