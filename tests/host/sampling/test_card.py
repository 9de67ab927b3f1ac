"""Whole guided runs on a device that is not the CPU, which the host takes for DirectML's: read, edit, guide."""

import dataclasses
from collections.abc import Mapping

import pytest
import torch

from fastvmt_core.objectives.registry import FASTVMT, METHODS
from tests import card
from tests.host.loading import load_comfyui, load_pack
from tests.host.runs import noise, run_sampler
from tools.host import made_families
from tools.host.layout import REPO

WEIGHTS = REPO / "assets/models/diffusion_models/tinywan_dit_fp16.safetensors"
GRID, LARGE = (3, 4, 4), (3, 8, 8)
"""The large one still shows motion at half its size."""
SIGMAS = [1.0, 0.95, 0.5, 0.0]
CASES = {
    "centre self": {"grid": (3, 4, 6), "guidance": {"memory": "fastest"}},
    "centre expectation, a mask": {
        "grid": (3, 4, 6),
        "centre": "expectation",
        "guidance": {"memory": "smallest"},
        "masked": True,
    },
    "centre argmax, an edit": {"grid": (3, 4, 6), "centre": "argmax", "edited": True},
    "polyak": {"guidance": {"optimizer": "polyak"}},
    "gradients spread": {"guidance": {"gradient_interval": 2, "every": 2, "end_percent": 0.9}},
    "half size": {"grid": LARGE, "guidance": {"resolution": "half", "memory": "smallest"}},
    "half size, then full": {"grid": LARGE, "guidance": {"resolution": "half then full", "end_percent": 0.9}},
    "context windows": {"grid": (5, 4, 4), "windows": True},
    "half size in windows": {"grid": (5, 8, 8), "windows": True, "guidance": {"resolution": "half"}},
    "a cut": {"grid": (4, 4, 4), "cuts": (2,)},
    "a clip read in chunks": {"grid": (5, 4, 4), "chunk_length": 13},
    "a later part": {"motion_grid": (5, 4, 4), "first_frame": 2},
    "kept frames": {"kept": 1},
    **{name: {"objective": name} for name in METHODS if name != FASTVMT},
    **{kind: {"kind": kind, "block": 3} for kind in made_families.KINDS},
}
"""What a run has that differs from Wan's, euler's and the defaults."""
QUICK = ("centre self", "half size", "context windows", "a cut", "ltxv")
"""Those that scripts/test.sh runs too."""


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


def load_model(device, kind):
    """A model in float32: the host would compute it in half precision on a card, and not on a CPU."""
    import comfy.model_management as host
    import comfy.sd

    if device == "card":
        host.directml_enabled, host.directml_device = True, torch.device("card:0")
    if kind not in LOADED:
        with torch.inference_mode():
            if kind == "wan":
                LOADED[kind] = comfy.sd.load_diffusion_model(str(WEIGHTS), model_options={"dtype": torch.float32})
            else:
                LOADED[kind] = made_families.loaded(kind, model_options={"dtype": torch.float32})
    return LOADED[kind]


def latent_of(kind, grid, seed):
    return noise(seed, grid) if kind == "wan" else made_families.latent(kind, grid, seed)


def prompt_of(kind):
    if kind != "wan":
        return made_families.prompt(kind)
    return [[torch.randn(1, 4, 4096, generator=torch.Generator().manual_seed(7)), {}]]


def in_windows(model):
    import comfy.context_windows as host

    model = model.clone()
    model.model_options["context_handler"] = host.IndexListContextHandler(
        host.get_matching_context_schedule("standard_static"), host.get_matching_fuse_method("pyramid"), 3, 1, dim=2
    )
    return model


def tensors_of(value):
    """All tensors of a motion, in fields, tuples and mappings."""
    if isinstance(value, torch.Tensor):
        return [value]
    if dataclasses.is_dataclass(value):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        value = [*value.values()]
    return [tensor for part in value for tensor in tensors_of(part)] if isinstance(value, (list, tuple)) else []


def guided_run(device, name):
    """The latent sampled with guidance and without, the devices of the motion's tensors, and the kinds of messages."""
    from comfy.k_diffusion.sampling import sample_euler

    pack, case, messages = LOADED["pack"], CASES[name], set()
    kind, grid = case.get("kind", "wan"), case.get("grid", GRID)
    core, registry = pack("fastvmt_core.config"), pack("fastvmt_core.objectives.registry")
    model = load_model(device, kind)
    if case.get("windows"):
        model = in_windows(model)
    config = core.AMFConfig(temporal_span=2, window=3, tile=(2, 2), centre=case.get("centre", "self"))
    with torch.inference_mode():
        prompt = prompt_of(kind)
        motion = pack("nodes.host.reading.inversion").invert_motion(
            model,
            latent_of(kind, case.get("motion_grid", grid), 1),
            prompt,
            config,
            (case.get("block", 2),),
            (0.3,),
            5,
            case.get("cuts", "detect"),
            objective=registry.METHODS[case["objective"]] if "objective" in case else registry.DEFAULT,
            chunk_length=case.get("chunk_length", 81),
        )
    tensors = tensors_of(motion)
    if case.get("edited"):
        motion = pack("fastvmt_core.motion.edit").mirror(motion)
    if case.get("masked"):
        mask = torch.rand(grid, generator=torch.Generator().manual_seed(3))
        motion = pack("fastvmt_core.motion.blend").masked(motion, mask)
    guidance = core.GuidanceConfig(
        **{"inner_steps": 3, "gradient_interval": 1, "end_percent": 0.1, **case.get("guidance", {})}
    )
    guided = pack("nodes.host.sampling.wrapper").apply_motion(
        model,
        motion,
        core.LossWeights(),
        guidance,
        "1",
        lambda kind, _: messages.add(kind),
        first_frame=case.get("first_frame", 0),
    )
    latent = {}
    if case.get("kept"):
        latent = {"latent": latent_of(kind, grid, 4)}
        latent["mask"] = torch.ones_like(latent["latent"][:, :1])
        latent["mask"][:, :, : case["kept"]] = 0
    x, sigmas = latent_of(kind, grid, 2), SIGMAS if kind == "wan" else made_families.sigmas(kind, SIGMAS)
    sampled, plain = (run_sampler(each, prompt, sample_euler, x, sigmas, **latent) for each in (guided, model))
    return sampled.cpu(), plain.cpu(), {tensor.device.type for tensor in tensors}, messages


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CASES],
)
def test_a_guided_run_is_that_of_the_cpu(on_card, pack, monkeypatch, name):
    kind = CASES[name].get("kind", "wan")
    if kind != "wan" and not made_families.has_kind(kind):
        pytest.skip(f"this host has no {kind}")
    monkeypatch.setitem(LOADED, "pack", pack)
    ours, ours_plain, devices, messages = on_card(guided_run, "card", name)
    theirs, theirs_plain, _, expected = guided_run("cpu", name)
    assert devices == {"cpu"}
    assert messages == expected >= {"inner_steps", "picture"}
    assert not torch.allclose(ours, ours_plain, atol=1e-3)
    assert torch.allclose(ours_plain, theirs_plain, atol=1e-4)
    assert torch.allclose(ours, theirs, atol=1e-3)
