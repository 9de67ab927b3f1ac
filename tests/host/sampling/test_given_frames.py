"""Guidance of a clip that begins with given frames: an image, an earlier run's end, and the motion's later part."""

import pytest
import torch

from tests.host.runs import loaded, noise, run_sampler, small_motion
from tests.host.sampling.test_windows import (
    BLOCK,
    GRID,
    SIGMA,
    WINDOW,
    euler,
    gradient_of,
    guided,
    handler,
    losses,
    windowed,
    without_a_frame_before,
)

LATENT = (5, 8, 8)
"""Of the grid's latent: two places a token."""


def of_a_start_image(prompt):
    """As the host's image to video nodes make it: only the first frame is given."""
    with torch.inference_mode():
        image = torch.zeros(1, 16, *LATENT)
        image[:, :, 0] = noise(3, GRID)[:, :, 0]
        mask = torch.ones(1, 1, *LATENT)
        mask[:, :, 0] = 0
        return [[prompt[0][0], {"concat_latent_image": image, "concat_mask": mask}]]


@pytest.mark.parametrize("kind", ["i2v", "wan22_i2v"])
def test_a_start_image_is_guided_in_windows_and_leaves_the_model_as_it_was(pack, prompt, kind):
    import comfy.model_base

    if not hasattr(comfy.model_base.BaseModel, "resize_cond_for_context_window"):
        pytest.skip("this host gives each window the image's whole latent, so that none of its own runs ends either")
    model, given, gradients = windowed(loaded(kind), handler(**without_a_frame_before())), of_a_start_image(prompt), {}
    motion = small_motion(pack, model, prompt, noise(1, GRID), BLOCK)
    windows = pack("nodes.host.sampling.windows").ContextWindows(model.model_options["context_handler"], GRID[0], 3, 2)

    def gradient_for(name):
        def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
            with pack("nodes.host.gradient.scope").gradient_scope(model.inner_model.inner_model.diffusion_model):
                loss = losses(pack, model, motion, x, sigmas[:1].clone(), extra_args, windows)
                gradients[name], _ = gradient_of(loss, x.clone())
            return x

        return sampler

    for name, conditions in (("image", given), ("none", of_a_start_image([[prompt[0][0], {}]]))):
        if name == "none":
            conditions[0][1]["concat_latent_image"] = torch.zeros(1, 16, *LATENT)
        run_sampler(model, conditions, gradient_for(name), noise(2, GRID), [SIGMA, 0.9])
    change = (gradients["image"] - gradients["none"]).abs().amax((0, 1, 3, 4))
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    # Frames 3 and 4 belong to the second window alone, which does not see the image.
    assert (change[:2] > 0).all() and not change[3:].any()

    before = euler(model, given, noise(2, GRID))
    moved = euler(guided(pack, model, motion), given, noise(2, GRID))
    assert torch.isfinite(moved).all()
    assert ((moved - before).abs().amax((0, 1, 3, 4)) > 0).all()
    assert torch.equal(euler(model, given, noise(2, GRID)), before)


def test_a_second_run_that_begins_with_kept_frames_is_guided_in_windows(pack, tiny_model, prompt):
    motion, model = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK), windowed(tiny_model, handler())
    kept, mask = noise(4, GRID), torch.ones(1, 1, *LATENT)
    mask[:, :, :2] = 0
    before = euler(model, prompt, noise(2, GRID), sigmas=(1.0, 0.5, 0.0), latent=kept, mask=mask)
    moved = euler(guided(pack, model, motion), prompt, noise(2, GRID), sigmas=(1.0, 0.5, 0.0), latent=kept, mask=mask)
    assert torch.allclose(moved[:, :, :2], kept[:, :, :2], atol=1e-4)
    assert ((moved - before)[:, :, 2:].abs().amax((0, 1, 3, 4)) > 0).all()
    assert torch.equal(euler(model, prompt, noise(2, GRID), sigmas=(1.0, 0.5, 0.0), latent=kept, mask=mask), before)


def test_a_second_run_follows_the_part_that_comes_after(pack, tiny_model, prompt):
    """As if that part alone had been read."""
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), BLOCK)
    apply, core = pack("nodes.host.sampling.wrapper").apply_motion, pack("fastvmt_core.config")
    config = core.GuidanceConfig(inner_steps=1, lr_start=0.1, lr_end=0.1, end_percent=1)

    def sampled(motion, x, **start):
        model = apply(tiny_model, motion, core.LossWeights(), config, None, **start)
        return euler(model, prompt, x, sigmas=(1.0, 0.9))

    part = pack("fastvmt_core.motion.trim").part_of(motion, 2, 3)
    assert torch.equal(sampled(motion, noise(2, WINDOW), first_frame=2), sampled(part, noise(2, WINDOW)))
    with pytest.raises(ValueError, match="start_frame: expected a motion of at least 9 frames .* got 5; lower"):
        sampled(motion, noise(2, WINDOW), first_frame=3)
    with pytest.raises(ValueError, match="start_frame: expected a frame of the motion, up to 16, got"):
        sampled(motion, noise(2, WINDOW), first_frame=5)
