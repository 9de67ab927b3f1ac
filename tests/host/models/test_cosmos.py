"""Cosmos's start images: frames of the latent that are kept, which a mask names to the network."""

import pytest
import torch

from tests.host.models.test_other_families import GRID, SIGMAS, agreement, inside_a_step, loaded
from tests.host.runs import run_sampler
from tools.host import made_families


@pytest.fixture(scope="module")
def model(comfyui):
    return loaded("predict2")


def kept_start(grid=GRID):
    """A latent whose first frame is kept."""
    latent = made_families.latent("predict2", grid, seed=4)
    mask = torch.ones_like(latent[:, :1])
    mask[:, :, 0] = 0
    return {"latent": latent, "mask": mask}


@pytest.mark.parametrize("recomputed", [0, 3])
def test_the_gradient_is_that_of_finite_differences(pack, model, recomputed):
    found = []

    def compare(point, qk):
        found.extend(agreement(point, qk, (1, 3), recomputed))

    inside_a_step(pack, "predict2", model, compare, **kept_start())
    cosine, ratio = found
    assert cosine >= 0.999
    assert ratio == pytest.approx(1, abs=0.01)


def test_a_start_image_is_halved_without_noise(pack, model):
    """At half size the network is shown the mean of the image, and a mask that says its frame has no noise."""
    grid, seen = (2, 8, 8), []
    whole = kept_start(grid)
    half = pack("nodes.host.models.half_size")

    def sampler(wrapped, x, sigmas, extra_args=None, callback=None, disable=None):
        guider = wrapped.inner_model
        family = pack("nodes.host.models.video_model").VideoModel.of_run(guider).family
        condition, sampling = guider.conds["positive"][0], guider.inner_model.model_sampling
        mask = extra_args["denoise_mask"]
        kept = guider.inner_model.scale_latent_inpaint(sigmas[:1], x, wrapped.latent_image)
        smaller, sigma = half.halved_latent(condition, x * mask + kept * (1 - mask), sigmas[:1], sampling)
        named = half.halved_condition(family, condition)["model_conds"]["denoise_mask"].cond
        seen.append((sampling.calculate_input(sigma, smaller)[:, :, 0], named[:, :, 0], wrapped.latent_image))
        return x

    x = made_families.latent("predict2", grid)
    run_sampler(model, made_families.prompt("predict2"), sampler, x, made_families.sigmas("predict2", SIGMAS), **whole)
    shown, mask, image = seen[0]
    torch.testing.assert_close(shown, torch.nn.functional.avg_pool2d(image[:, :, 0], 2))
    assert not bool(mask.any())
