"""Hunyuan Video's references and start images: they stand among the video's tokens, or change the time of some."""

import pytest
import torch

from tests.host.models.test_other_families import agreement, inside_a_step, loaded
from tests.host.runs import run_sampler, small_motion
from tools.host import made_families

EXTRAS = {
    "a reference": lambda: {"ref_latent": made_families.latent("hunyuan", (1, 4, 4), seed=6)},
    "a first frame without noise": lambda: {"guiding_frame_index": 0},
}


@pytest.fixture(scope="module")
def model(comfyui):
    return loaded("hunyuan")


def with_extra(extra):
    ((tokens, plain),) = made_families.prompt("hunyuan")
    return [[tokens, {**plain, **extra}]]


def test_a_reference_stands_before_the_video(pack, model):
    """Its tokens move the video's, whose place is found all the same."""
    seen = []

    def note(point, qk):
        with torch.no_grad():
            seen.append(qk((0,), 0, point)[0])

    for extra in ({}, EXTRAS["a reference"]()):
        inside_a_step(pack, "hunyuan", model, note, prompt=with_extra(extra))
    # The first block's q of a token depends on that token alone.
    torch.testing.assert_close(*seen, atol=1e-5, rtol=0)


@pytest.mark.parametrize("recomputed", [0, 3])
@pytest.mark.parametrize("extra", EXTRAS)
def test_the_gradient_is_that_of_finite_differences(pack, model, extra, recomputed):
    found = []

    def compare(point, qk):
        found.extend(agreement(point, qk, (1, 3), recomputed))

    inside_a_step(pack, "hunyuan", model, compare, prompt=with_extra(EXTRAS[extra]()))
    cosine, ratio = found
    assert cosine >= 0.999
    assert ratio == pytest.approx(1, abs=0.01)


def test_kept_frames_are_refused_at_half_size(pack, model):
    """They hold no noise, and nothing tells the network which they are."""
    import comfy.k_diffusion.sampling

    core, prompt, grid = pack("fastvmt_core.config"), made_families.prompt("hunyuan"), (3, 8, 8)
    motion = small_motion(pack, model, prompt, made_families.latent("hunyuan", grid), 1)
    x, mask = made_families.latent("hunyuan", grid, seed=2), torch.ones(1, 1, 3, 16, 16)
    mask[:, :, 0] = 0

    def run(resolution):
        config = core.GuidanceConfig(inner_steps=1, end_percent=0.1, resolution=resolution)
        following = pack("nodes.host.sampling.wrapper").apply_motion(model, motion, core.LossWeights(), config, None)
        sample = comfy.k_diffusion.sampling.sample_euler
        return run_sampler(following, prompt, sample, x, [1.0, 0.5], latent=torch.zeros_like(x), mask=mask)

    assert bool(torch.isfinite(run("full")).all())
    with pytest.raises(ValueError, match="resolution: expected full with a start image or a noise mask"):
        run("half")
