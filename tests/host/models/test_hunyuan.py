"""Hunyuan Video's references and start images: they stand among the video's tokens, or change the time of some."""

import pytest
import torch

from tests.host.models.test_other_families import agreement, inside_a_step, loaded
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
