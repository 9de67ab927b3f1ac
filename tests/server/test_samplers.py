"""Guidance in the samplers that people use, and in runs that are cut up."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.server.jobs import run_for_latent, unguided
from tools.demo.transfer import node


def advanced(graph, start, end, add_noise, leave_noise, latent):
    """The graph's guided sampler as a KSamplerAdvanced."""
    ordinary = node(graph, "Sample guided")["inputs"]
    inputs = {
        key: ordinary[key] for key in ("model", "steps", "cfg", "sampler_name", "scheduler", "positive", "negative")
    }
    inputs.update(
        noise_seed=ordinary["seed"],
        add_noise=add_noise,
        start_at_step=start,
        end_at_step=end,
        return_with_leftover_noise=leave_noise,
        latent_image=latent,
    )
    return {"class_type": "KSamplerAdvanced", "_meta": {"title": f"Steps {start} to {end}"}, "inputs": inputs}


def cut_in_two(graph, at):
    """Sample by two KSamplerAdvanced in a row, the second from step `at`."""
    graph["first"] = advanced(graph, 0, at, "enable", "enable", ["12", 0])
    graph["second"] = advanced(graph, at, 4, "disable", "disable", ["first", 0])
    graph["save"]["inputs"]["samples"] = ["second", 0]
    del graph["18"]


def test_two_halves_are_the_whole(client, quick_graph):
    whole, _ = run_for_latent(client, quick_graph)
    # The cut is between the two guided steps: the second half must guide its first step, and not one more.
    cut_in_two(quick_graph, 1)
    halves, record = run_for_latent(client, quick_graph)
    assert [step["step"] for step in record.steps] == [0, 0]
    # The latent in between is scaled out of model space and back in float32; AdamW's first step, which goes by the
    # gradient's sign, can turn that rounding into a learning rate for single values.
    assert torch.nn.functional.cosine_similarity(whole.flatten(), halves.flatten(), dim=0) > 0.999


def test_a_second_half_below_the_end_is_not_guided(client, quick_graph):
    cut_in_two(quick_graph, 3)
    _, record = run_for_latent(client, quick_graph)
    assert [step["step"] for step in record.steps] == [0, 1]


def test_a_start_from_the_reference_below_end_percent_guides_nothing(client, quick_graph):
    """A low-noise pass refines what was made before; the node reports that it was not guided."""
    node(quick_graph, "Sample guided")["inputs"].update(denoise=0.3, latent_image=["6", 0])
    latent, record = run_for_latent(client, quick_graph)
    assert torch.isfinite(latent).all()
    assert record.steps == [] and record.guidance == {}


@pytest.mark.parametrize(
    "sampler",
    [
        "euler_ancestral",
        "dpmpp_2m",
        "uni_pc",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("res_multistep", "heun", "dpmpp_sde")),
    ],
)
def test_other_samplers_are_guided(client, quick_graph, sampler):
    inputs = node(quick_graph, "Sample guided")["inputs"]
    inputs.update(sampler_name=sampler)
    bars = []

    def on_event(kind, data):
        if kind == "progress" and data["node"] == "18":
            bars.append((data["value"], data["max"]))

    latent, record = run_for_latent(client, quick_graph, on_event=on_event)
    assert torch.isfinite(latent).all()
    # uni_pc takes its noise levels from a list of one step more, of which 3 lie above the end.
    assert [step["step"] for step in record.steps] == record.guidance["guided_steps"]
    assert len(record.steps) == (3 if sampler == "uni_pc" else 2)
    assert record.steps[0]["losses"][1] < record.steps[0]["losses"][0]
    # One bar, from start to end, that never goes back.
    assert bars == sorted(bars)
    assert bars[-1] == (4, 4)


def test_a_batch_of_two_under_an_inpaint_mask(client, quick_graph, tmp_path):
    """Half of the latent is kept, in both clips, and both clips are guided where they are free."""
    mask = tmp_path / "right_half.png"
    Image.fromarray(np.repeat([[0] * 64 + [255] * 64], 128, axis=0).astype(np.uint8)).save(mask)
    title = {"_meta": {"title": "Masked"}}
    quick_graph["twice"] = {"class_type": "RepeatLatentBatch", **title, "inputs": {"samples": ["6", 0], "amount": 2}}
    quick_graph["mask"] = {
        "class_type": "LoadImageMask",
        **title,
        "inputs": {"image": client.upload_input(mask), "channel": "red"},
    }
    quick_graph["masked"] = {
        "class_type": "SetLatentNoiseMask",
        **title,
        "inputs": {"samples": ["twice", 0], "mask": ["mask", 0]},
    }
    quick_graph["kept"] = {
        "class_type": "SaveLatent",
        **title,
        "inputs": {"samples": ["twice", 0], "filename_prefix": "kept"},
    }
    node(quick_graph, "Sample guided")["inputs"]["latent_image"] = ["masked", 0]
    kept, _ = run_for_latent(client, quick_graph, "kept")
    guided, record = run_for_latent(client, quick_graph)
    ordinary, _ = run_for_latent(client, unguided(quick_graph))
    assert guided.shape == (2, 16, 5, 16, 16)
    # Scaled into model space and back in float32.
    assert torch.allclose(guided[..., :8], kept[..., :8], atol=1e-4)
    moved = (guided - ordinary)[..., 8:].abs().mean(dim=(1, 2, 3, 4))
    assert (moved > 0.01).all()
    assert record.steps[0]["losses"][1] < record.steps[0]["losses"][0]


def test_custom_sampling_and_a_motion_for_each_step(client, quick_graph):
    """SamplerCustomAdvanced, and SIGMAS on the Invert node: one flow for each noise level."""
    ordinary = node(quick_graph, "Sample guided")["inputs"]
    title = {"_meta": {"title": "Custom"}}
    quick_graph["noise"] = {"class_type": "RandomNoise", **title, "inputs": {"noise_seed": 0}}
    quick_graph["levels"] = {
        "class_type": "BasicScheduler",
        **title,
        "inputs": {"model": ["3", 0], "scheduler": "simple", "steps": 4, "denoise": 1.0},
    }
    quick_graph["euler"] = {"class_type": "KSamplerSelect", **title, "inputs": {"sampler_name": "euler"}}
    quick_graph["guider"] = {
        "class_type": "CFGGuider",
        **title,
        "inputs": {key: ordinary[key] for key in ("model", "positive", "negative", "cfg")},
    }
    quick_graph["18"] = {
        "class_type": "SamplerCustomAdvanced",
        "_meta": {"title": "Sample guided"},
        "inputs": {
            "noise": ["noise", 0],
            "guider": ["guider", 0],
            "sampler": ["euler", 0],
            "sigmas": ["levels", 0],
            "latent_image": ["12", 0],
        },
    }
    once, record = run_for_latent(client, quick_graph)
    assert len(record.steps) == 2
    node(quick_graph, "Invert motion")["inputs"]["sigmas"] = ["levels", 0]
    each, record = run_for_latent(client, quick_graph)
    assert len(record.steps) == 2
    assert not torch.equal(once, each)
