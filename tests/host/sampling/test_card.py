"""A whole guided run on a device that is not the CPU, which the host takes for DirectML's: read, edit, guide."""

import pytest
import torch

from tests import card
from tests.host.loading import load_comfyui, load_pack
from tests.host.runs import noise, run_sampler
from tools.host.layout import REPO

WEIGHTS = REPO / "assets/models/diffusion_models/tinywan_dit_fp16.safetensors"
GRID = (3, 4, 6)
SIGMAS = [1.0, 0.95, 0.5, 0.0]


@pytest.fixture(scope="module")
def on_card():
    """Calls a function of this module where the card is."""
    with card.process() as call:
        call(prepare)
        yield call


LOADED = {}
"""The pack, as `prepare` loads it in the card's process and the fixture in this one, and the model."""


def prepare():
    load_comfyui()
    LOADED["pack"] = load_pack()


def load_model(device):
    """The demo's model in float32: the host would compute it in half precision on a card, and not on a CPU."""
    import comfy.model_management as host
    import comfy.sd

    if device == "card":
        host.directml_enabled, host.directml_device = True, torch.device("card:0")
    if "model" in LOADED:
        return LOADED["model"]
    with torch.inference_mode():
        LOADED["model"] = comfy.sd.load_diffusion_model(str(WEIGHTS), model_options={"dtype": torch.float32})
    return LOADED["model"]


def guided_run(device, centre, memory, masked):
    """The latent sampled with guidance and without, and the devices of the motion's tensors."""
    from comfy.k_diffusion.sampling import sample_euler

    pack, model = LOADED["pack"], load_model(device)
    core, wrapper = pack("fastvmt_core.config"), pack("nodes.host.sampling.wrapper")
    config = core.AMFConfig(temporal_span=2, window=3, tile=(2, 2), centre=centre)
    with torch.inference_mode():
        prompt = [[torch.randn(1, 4, 4096, generator=torch.Generator().manual_seed(7)), {}]]
        motion = pack("nodes.host.reading.inversion").invert_motion(
            model, noise(1, GRID), prompt, config, (2,), (0.3,), 5, "detect"
        )
    tensors = [motion.reference, *motion.static_bias, *motion.backward, motion.flows[0].displacement]
    motion = pack("fastvmt_core.motion.edit").mirror(motion)
    if masked:
        mask = torch.rand(GRID, generator=torch.Generator().manual_seed(3))
        motion = pack("fastvmt_core.motion.blend").masked(motion, mask)
    guidance = core.GuidanceConfig(inner_steps=3, gradient_interval=1, end_percent=0.1, memory=memory)
    guided = wrapper.apply_motion(model, motion, core.LossWeights(), guidance, None)
    sampled = run_sampler(guided, prompt, sample_euler, noise(2, GRID), SIGMAS)
    plain = run_sampler(model, prompt, sample_euler, noise(2, GRID), SIGMAS)
    return sampled.cpu(), plain.cpu(), {tensor.device.type for tensor in tensors}


@pytest.mark.parametrize(
    ("centre", "memory", "masked"),
    [("self", "fastest", False), ("expectation", "smallest", True), ("argmax", "auto", False)],
)
def test_a_guided_run_is_that_of_the_cpu(on_card, pack, monkeypatch, centre, memory, masked):
    monkeypatch.setitem(LOADED, "pack", pack)
    ours, ours_plain, devices = on_card(guided_run, "card", centre, memory, masked)
    theirs, theirs_plain, _ = guided_run("cpu", centre, memory, masked)
    assert devices == {"cpu"}
    assert not torch.allclose(ours, ours_plain, atol=1e-3)
    assert torch.allclose(ours_plain, theirs_plain, atol=1e-4)
    assert torch.allclose(ours, theirs, atol=1e-3)
