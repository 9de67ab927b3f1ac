"""Reference frames that VACE and Animate put into the latent's own, before the video's."""

from types import SimpleNamespace

import pytest
import torch

from tests.host.models.test_other_wans import BLOCK, GRID
from tests.host.runs import loaded, noise


@pytest.fixture(scope="module")
def vace(comfyui):
    return loaded("vace")


@pytest.mark.parametrize(
    ("recomputed", "longer_motion"),
    [(0, 0), (BLOCK, 0), (0, 1), (0, 3)],
    ids=["kept", "recomputed", "a motion of the latent's length", "a longer motion"],
)
def test_vaces_reference_frame_is_left_out(pack, vace, prompt, recomputed, longer_motion):
    """A latent of a frame more than the video: q and k are the last frames', and the first is not guided."""
    import comfy.k_diffusion.sampling
    import comfy.samplers

    core = pack("fastvmt_core.config")
    frames, height, width = GRID
    flow = core.AMFConfig(temporal_span=2, window=3, tile=(2, 2))
    with torch.inference_mode():
        motion = pack("nodes.host.reading.inversion").invert_motion(
            vace, noise(1, (frames + longer_motion, height, width)), prompt, flow, (BLOCK,), (0.3,), 5, "ignore"
        )
        control = torch.randn(1, 32, frames + 1, 8, 8, generator=torch.Generator().manual_seed(3))
        # As the host's node marks a reference: nothing of it is to be changed.
        control[:, 16:, :1] = vace.get_model_object("latent_format").process_out(torch.zeros(1, 16, 1, 8, 8))
        mask = torch.ones(1, 64, frames + 1, 8, 8)
        mask[:, :, 0] = 0
        referred = [[prompt[0][0], {"vace_frames": [control], "vace_mask": [mask], "vace_strength": [1.0]}]]
    config = core.GuidanceConfig(
        inner_steps=1,
        lr_start=0.1,
        lr_end=0.1,
        end_percent=1,
        memory={0: "fastest", BLOCK: "smallest"}[recomputed],
    )
    guided = pack("nodes.host.sampling.wrapper").apply_motion(vace, motion, core.LossWeights(), config, None)
    guider = comfy.samplers.CFGGuider(guided)
    guider.set_conds(referred, referred)
    longer, seen = noise(2, (frames + 1, height, width)), []
    with torch.inference_mode():
        sampler = comfy.samplers.KSAMPLER(comfy.k_diffusion.sampling.sample_euler)
        keep = {"callback": lambda step, x0, x, total: seen.append(x.clone())}
        guider.sample(longer, torch.zeros_like(longer), sampler, torch.tensor([1.0, 0.9]), seed=0, **keep)
    moved = (seen[0] - longer).abs().amax(dim=(0, 1, 3, 4))
    # AdamW's first step moves every value that has a gradient by the learning rate.
    assert moved[0] == 0
    assert (moved[1:] > 0.09).all()


@pytest.mark.parametrize(("condition", "references"), [({"concat_latent_image": torch.zeros(1)}, 1), ({}, 0)])
def test_animates_node_puts_one_reference_before_the_video(pack, condition, references):
    network = SimpleNamespace(pose_patch_embedding=None)
    wan = pack("nodes.host.models.wan").WAN
    assert wan.leading_frames(network, [{"model_conds": {}, **condition}]) == references


def test_a_frame_of_the_video_that_vace_keeps_is_no_reference(pack, vace, prompt):
    """Its mask is empty too, but it holds grey where a reference holds nothing."""
    import comfy.samplers

    frames = 3
    control = torch.randn(1, 32, frames, 8, 8, generator=torch.Generator().manual_seed(3))
    mask = torch.ones(1, 64, frames, 8, 8)
    mask[:, :, 0] = 0
    found = []
    for nothing in (False, True):
        if nothing:
            control[:, 16:, :1] = vace.get_model_object("latent_format").process_out(torch.zeros(1, 16, 1, 8, 8))
        guider = comfy.samplers.CFGGuider(vace)
        kept = [[prompt[0][0], {"vace_frames": [control], "vace_mask": [mask], "vace_strength": [1.0]}]]
        guider.set_conds(kept, kept)

        def note(model, x, sigmas, guider=guider, **_):
            models = pack("nodes.host.models.video_model")
            conditions = models.positive_conditions(guider)
            found.append(models.VideoModel.of_run(guider).leading_frames(conditions))
            return x

        with torch.inference_mode():
            x = noise(2, (frames, 4, 4))
            sampler = comfy.samplers.KSAMPLER(note)
            guider.sample(x, torch.zeros_like(x), sampler, torch.tensor([1.0, 0.0]), seed=0)
    assert found == [0, 1]
