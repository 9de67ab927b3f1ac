"""Tensors that other nodes' patches hold: made under inference mode, autograd could not keep them."""

import functools
import inspect

import pytest
import torch

from tests.host.models.test_other_wans import inside_a_step
from tests.host.runs import noise, run_sampler, small_motion


class Masked:
    """A patch that multiplies by what it holds, as InfiniteTalk's of two speakers does."""

    def __init__(self):
        self.calls, self.kinds = 0, []
        with torch.inference_mode():
            self.mask = torch.full((1,), 2.0)

    def __call__(self, kwargs, extra=None):
        self.calls += 1
        self.kinds.append((torch.is_grad_enabled(), self.mask.is_inference()))
        if extra is None:
            return kwargs["x"] * self.mask
        return {"img": extra["original_block"](kwargs)["img"] * self.mask}

    def __deepcopy__(self, memo):
        # Or each clone of the model would have another, and what was noted would be lost with it.
        return self

    def method(self, kwargs, extra=None):
        """The same, as a node gives it that has no class for its patch."""
        return self(kwargs, extra)


def has_place(place):
    """Whether this host's Wan runs patches of that place."""
    import comfy.ldm.wan.model as wan

    return place == "patches_replace" or place in inspect.getsource(wan)


@pytest.mark.parametrize("given", ["object", "method"])
@pytest.mark.parametrize("place", ["patches_replace", "attn1_patch", "attn2_patch"])
def test_a_patch_that_holds_inference_tensors_has_a_gradient(pack, tiny_model, prompt, place, given):
    if not has_place(place):
        pytest.skip(f"this host has no {place}")
    patched, patch, gradients = tiny_model.clone(), Masked(), []
    mask, hung = patch.mask, patch if given == "object" else patch.method
    if place == "patches_replace":
        # One object for two blocks, as nodes give it.
        for block in range(2):
            patched.set_model_patch_replace(hung, "dit", "double_block", block)
    else:
        patched.set_model_patch(hung, place)

    def evaluate(network, point, qk):
        for recomputed in (0, 3):
            q, _ = qk(recomputed, point)
            gradients.append(torch.autograd.grad(q.square().sum(), point)[0])

    inside_a_step(pack, patched, prompt, evaluate)
    assert patch.calls > 0 and patch.mask is mask
    kept, recomputed = gradients
    # The same float32 operations.
    assert torch.allclose(kept, recomputed, rtol=1e-4, atol=1e-5 * float(kept.abs().max()))


@pytest.mark.parametrize("given", ["object", "method"])
def test_a_run_with_such_a_patch_is_guided_and_leaves_it_as_it_was(pack, tiny_model, prompt, given):
    import comfy.k_diffusion.sampling

    core, grid, patched, patch = pack("fastvmt_core.config"), (2, 4, 4), tiny_model.clone(), Masked()
    mask = patch.mask
    patched.set_model_patch_replace(patch if given == "object" else patch.method, "dit", "double_block", 0)
    motion = small_motion(pack, patched, prompt, noise(1, grid), 1)
    config = core.GuidanceConfig(inner_steps=2, gradient_interval=1, end_percent=0.1)
    following = pack("nodes.host.sampling.wrapper").apply_motion(patched, motion, core.LossWeights(), config, None)
    latent = run_sampler(following, prompt, comfy.k_diffusion.sampling.sample_euler, noise(2, grid), [1.0, 0.5])
    assert bool(torch.isfinite(latent).all()) and patch.mask is mask
    # (a gradient is recorded, the tensor is an inference one)
    assert {(True, False), (False, True)} <= set(patch.kinds) and (True, True) not in patch.kinds


def test_what_a_class_holds_is_left_alone(pack, comfyui):
    class Holder:
        with torch.inference_mode():
            mask = torch.ones(1)

        @classmethod
        def patch(cls, args, extra):
            return extra["original_block"](args)

    scope = pack("nodes.host.gradient.scope")
    options = {"transformer_options": {"patches": {"attn2_patch": [Holder.patch, functools.partial(Masked().method)]}}}
    found = list(scope.patches_of(options))
    assert found[0] is Holder and type(found[1]) is Masked
    with scope.gradient_scope(torch.nn.Linear(1, 1), patches=found):
        assert Holder.mask.is_inference() and not found[1].mask.is_inference()
    assert found[1].mask.is_inference()


def test_a_node_that_puts_frames_of_the_whole_size_into_the_latent_is_refused_at_half_size(pack, tiny_model, prompt):
    """InfiniteTalk's: it overwrites the first frame before each evaluation, by a wrapper of this name."""
    import comfy.k_diffusion.sampling
    from comfy.patcher_extension import WrappersMP

    core, grid = pack("fastvmt_core.config"), (3, 8, 8)
    motion = small_motion(pack, tiny_model, prompt, noise(1, grid), 1)
    talking = tiny_model.clone()
    wrapper = "infinite_talk_outer_sample"
    talking.add_wrapper_with_key(
        WrappersMP.OUTER_SAMPLE, wrapper, lambda executor, *args, **kwargs: executor(*args, **kwargs)
    )

    def run(resolution):
        config = core.GuidanceConfig(inner_steps=1, end_percent=0.1, resolution=resolution)
        following = pack("nodes.host.sampling.wrapper").apply_motion(talking, motion, core.LossWeights(), config, None)
        return run_sampler(following, prompt, comfy.k_diffusion.sampling.sample_euler, noise(2, grid), [1.0, 0.5])

    assert bool(torch.isfinite(run("full")).all())
    with pytest.raises(ValueError, match="resolution: expected full beside InfiniteTalk"):
        run("half")
