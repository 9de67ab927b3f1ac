"""Reading a motion through the node, and guiding by it."""

import pytest
import torch

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.config import AMFConfig
from tests.host.runs import noise, run_sampler
from tests.host.sampling.test_gradient import hosts_own_qk

GRID = (3, 4, 4)
BLOCKS = (1, 3)
WIDGETS = {
    "seed": 5,
    "reference_sigma": 0.3,
    "block": -1,
    "window": 3,
    "temporal_span": 2,
    "tile_height": 2,
    "tile_width": 2,
    "sharpness": 1.0,
    "centre": "self",
}


@pytest.fixture
def invert(pack, tiny_model, prompt):
    """Invert Motion's execute with everything but what a test changes."""
    node = pack("nodes.inversion").FastVMTInvertMotion

    def execute(**changes):
        with torch.inference_mode():
            latent = {"samples": noise(1, GRID)}
            return node.execute(tiny_model, latent, prompt, **{**WIDGETS, **changes}).args[0]

    return execute


def test_several_blocks_are_averaged(tiny_model, prompt, invert):
    import comfy.sample

    motion = invert(more_blocks="1")
    assert motion.fingerprint.blocks == BLOCKS
    with torch.inference_mode():
        x = 0.3 * comfy.sample.prepare_noise(noise(1, GRID), WIDGETS["seed"]) + 0.7 * motion.reference
        q, k = hosts_own_qk(tiny_model.model, x, torch.tensor([0.3]), prompt[0][0], GRID, blocks=BLOCKS)
        own = attention_motion_flow(q, k, AMFConfig(2, 3, (2, 2)), window_keys=False)
    # Float32 of order 1, through the same operations.
    assert torch.allclose(motion.flows[0].displacement, own.displacement, atol=1e-4)
    assert invert().fingerprint.blocks == (3,)


@pytest.mark.parametrize(
    ("typed", "says"), [("x", "whole numbers"), ("6", "blocks from 0 to 5"), ("3", "each block once"), ("1 1", "once")]
)
def test_blocks_that_cannot_be_averaged_are_refused_by_the_widgets_name(invert, typed, says):
    with pytest.raises(ValueError, match=f"^more_blocks: expected .*{says}"):
        invert(more_blocks=typed)


def test_averaged_blocks_guide(pack, tiny_model, prompt, invert):
    import comfy.k_diffusion.sampling

    core = pack("fastvmt_core.config")
    motion = invert(more_blocks="1")
    config = core.GuidanceConfig(inner_steps=1, lr_start=0.1, lr_end=0.1)
    guided = pack("nodes.host.sampling.wrapper").apply_motion(tiny_model, motion, core.LossWeights(), config, None)
    sampled = [
        run_sampler(model, prompt, comfy.k_diffusion.sampling.sample_euler, noise(2, GRID), [1.0, 0.9])
        for model in (tiny_model, guided)
    ]
    # AdamW's first step moves every value whose gradient is not 0 by the learning rate, times one Euler step of .1.
    assert float((sampled[1] - sampled[0]).abs().median()) > 0.01


def test_a_single_frame_is_refused(pack, tiny_model, prompt):
    with (
        torch.inference_mode(),
        pytest.raises(ValueError, match="^reference: expected at least 2 frames of the latent"),
    ):
        node = pack("nodes.inversion").FastVMTInvertMotion
        node.execute(tiny_model, {"samples": noise(1, (1, 4, 4))}, prompt, **WIDGETS)


@pytest.mark.parametrize("shape", [(0, 16, 3, 8, 8), (1, 16, 0, 8, 8), (1, 16, 8, 8)])
def test_an_empty_latent_or_one_of_an_image_is_refused(pack, tiny_model, prompt, shape):
    with (
        torch.inference_mode(),
        pytest.raises(ValueError, match="^reference: expected a video latent .* not empty, got"),
    ):
        pack("nodes.inversion").FastVMTInvertMotion.execute(
            tiny_model, {"samples": torch.ones(shape)}, prompt, **WIDGETS
        )


def test_a_prompt_that_reads_nothing_is_refused_by_the_inputs_name(pack, tiny_model, prompt):
    node, latent = pack("nodes.inversion").FastVMTInvertMotion, {"samples": noise(1, GRID)}
    with torch.inference_mode():
        with pytest.raises(ValueError, match="^empty_prompt: expected a prompt, got an empty list; connect CLIP Text"):
            node.execute(tiny_model, latent, [], **WIDGETS)
        # As ConditioningSetTimestepRange does it: the first tenth of the schedule alone.
        early = [[prompt[0][0], {"start_percent": 0.0, "end_percent": 0.1}]]
        with pytest.raises(
            ValueError, match="^empty_prompt: expected a prompt for every noise level, .* sigma 0.3; con"
        ):
            node.execute(tiny_model, latent, early, **WIDGETS)


def test_the_frame_flow_of_the_clip_is_kept_and_stops_at_cuts(pack, tiny_model, prompt):
    node, fingerprint = pack("nodes.inversion").FastVMTInvertMotion, pack("fastvmt_core.motion.fingerprint")
    latent = noise(1, GRID)
    flow = torch.full((2, GRID[0] - 1, *latent.shape[-2:], 2), 0.5)
    identity = fingerprint.hash_of_reference(latent)

    def read(made_for):
        entries = {"fastvmt_frame_flow": (made_for, flow), "fastvmt_cuts": (made_for, (2,))}
        with torch.inference_mode():
            return node.execute(tiny_model, {"samples": latent, **entries}, prompt, **WIDGETS).args[0]

    motion = read(identity)
    assert motion.cuts == (2,) and motion.frame_flow.shape == (2, GRID[0] - 1, *GRID[1:], 2)
    # A token is two latent pixels; nothing moves across the cut.
    assert bool((motion.frame_flow[:, 0] == 0.25).all()) and not motion.frame_flow[:, 1].any()
    assert not motion.frame_flow.is_inference()
    # Entries of another latent are no news of this one.
    assert read("another").frame_flow is None
    refreshed = pack("nodes.host.reading.inversion").read_again(tiny_model, motion, prompt)
    assert torch.equal(refreshed.frame_flow, motion.frame_flow)
