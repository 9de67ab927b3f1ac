"""Memory that ends at any allocation of a guided run, and errors and cancels in any block: nothing of them is left."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.host.runs import noise, run_sampler, small_motion
from tests.host.sampling.test_kills import Killed, cancel, raise_error, state_of

GRID = (2, 4, 4)
SIGMAS = [1.0, 0.9, 0.8]
BLOCK = 2
FIRST = 200
"""Allocations of a run that fail one by one; most of them come before its first gradient. Later ones are sampled."""


class Memory(TorchDispatchMode):
    """Counts the tensors that a run makes, forward and backward; there is no memory for one of them."""

    def __init__(self, fails_at=None):
        super().__init__()
        self.count, self._fails_at = 0, fails_at

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = {storage_of(each) for each in tree_leaves((args, kwargs)) if torch.is_tensor(each)}
        if any(torch.is_tensor(each) and storage_of(each) not in given for each in tree_leaves(result)):
            self.count += 1
            if self.count - 1 == self._fails_at:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return result


def storage_of(tensor):
    return tensor.untyped_storage()._cdata


@pytest.fixture
def runs(pack, tiny_model, prompt):
    """An ordinary run and a guided one of a model by a memory level, each giving its latent."""
    import comfy.k_diffusion.sampling

    core, motion = pack("fastvmt_core.config"), small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)

    def sample(patched):
        return run_sampler(patched, prompt, comfy.k_diffusion.sampling.sample_euler, noise(2, GRID), SIGMAS)

    def guided(level, model=tiny_model):
        config = core.GuidanceConfig(
            inner_steps=2, gradient_interval=1, lr_start=0.1, lr_end=0.1, end_percent=1, memory=level
        )
        return sample(pack("nodes.host.sampling.wrapper").apply_motion(model, motion, core.LossWeights(), config, None))

    return lambda: sample(tiny_model), guided


@pytest.mark.parametrize(
    ("each", "then"), [(8, 400), pytest.param(3, 160, marks=pytest.mark.slow)], ids=["every eighth", "every third"]
)
@pytest.mark.parametrize("level", ["fastest", "smallest"])
def test_memory_that_ends_at_any_allocation(tiny_model, runs, level, each, then):
    import comfy.model_management as host

    plain, guided = runs
    ordinary, before = plain(), state_of(tiny_model, host)
    whole = {plan: guided(plan) for plan in ("fastest", "smallest")}
    with Memory() as memory:
        guided(level)
    assert memory.count > 10 * FIRST
    ended, later = {"repeated": 0, "lower": 0, "the host's": 0}, range(FIRST, memory.count, then)
    for at in (*range(0, FIRST, each), *later):
        try:
            with Memory(at):
                found = guided(level)
        except torch.OutOfMemoryError as error:
            ended["lower" if "Lower width, height, length" in str(error) else "the host's"] += 1
        else:
            # Once more by a smaller plan, from the same latent.
            assert any(torch.equal(found, expected) for expected in whole.values()), at
            ended["repeated"] += 1
        assert state_of(tiny_model, host) == before, at
    assert torch.equal(plain(), ordinary)
    # Where it can do with less it does, and else it asks for less; around the guided steps the host's error stands.
    assert ended["repeated" if level == "fastest" else "lower"] > len(later) // 3, ended


@pytest.mark.parametrize("kill", [raise_error, cancel])
def test_an_error_or_a_cancel_in_any_block(tiny_model, runs, kill):
    import comfy.model_management as host

    plain, guided = runs
    ordinary, before = plain(), state_of(tiny_model, host)
    ended = []
    for block in range(len(tiny_model.model.diffusion_model.blocks)):
        for in_a_gradient in (True, False):

            def patch(args, extra, in_a_gradient=in_a_gradient):
                if torch.is_grad_enabled() == in_a_gradient:
                    kill()
                return extra["original_block"](args)

            patched = tiny_model.clone()
            patched.set_model_patch_replace(patch, "dit", "double_block", block)
            try:
                guided("smallest", patched)
                ended.append((block, in_a_gradient))
            except (Killed, host.InterruptProcessingException):
                pass
            finally:
                host.interrupt_current_processing(False)
            assert state_of(tiny_model, host) == before, (block, in_a_gradient)
    assert torch.equal(plain(), ordinary)
    # The gradient ends with the block that is read: no later one is in it.
    assert all(block > BLOCK and in_a_gradient for block, in_a_gradient in ended), ended
