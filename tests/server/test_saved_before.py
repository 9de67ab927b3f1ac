"""Jobs and motion files that earlier versions saved run, and guide as this version's do; two servers agree."""

import json
import shutil

import pytest
import torch

from tests.server.jobs import run_for_latent, shortened
from tools.demo.transfer import load_graph, node
from tools.host.client import Client
from tools.host.layout import REPO
from tools.host.server import Server

SAVED = REPO / "tests" / "saved"
OTHER_MACHINE = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "2"}
"""An older processor, as far as PyTorch's kernels are concerned: no vectors above 128 bits, and another division of
sums."""
TITLES = ("Reference video", "Prompt", "Sample unguided", "Sample guided")


def quick(graph):
    """The same job, small and in two steps."""
    for each in graph.values():
        few = {"steps": 2, "inner_steps": 1}
        if each["class_type"] in ("FastVMTEncodeReference", "EmptyHunyuanLatentVideo"):
            few |= {"width": 64, "height": 64, "length": 9}
        each["inputs"].update({name: value for name, value in few.items() if name in each["inputs"]})
    return graph


def saved_transfer(reference):
    """The first version's transfer, for today's reference clip, prompt and seed."""
    graph = json.loads((SAVED / "transfer.json").read_text(encoding="utf-8"))
    today = load_graph(reference, "blue square plain", 0)
    for title in TITLES:
        node(graph, title)["inputs"] = node(today, title)["inputs"]
    return shortened(graph)


def test_a_job_saved_before_gives_the_same_latent(client, reference, quick_graph):
    before, record = run_for_latent(client, saved_transfer(reference))
    today, _ = run_for_latent(client, quick_graph)
    assert torch.equal(before, today)
    assert [step["gradient_evaluations"] for step in record.steps] == [2, 2]


@pytest.mark.slow
def test_another_server_gives_the_same_latent(client, quick_graph):
    ours, _ = run_for_latent(client, quick_graph)
    with Server(extra=["--cache-none"]) as other, Client(other.url) as connected:
        connected.upload_input(REPO / "assets" / "reference.mp4")
        theirs, _ = run_for_latent(connected, quick_graph)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ["edit_and_blend", "motion_library"])
def test_a_saved_job_runs_to_its_end(client, name):
    graph = quick(json.loads((SAVED / f"{name}.json").read_text(encoding="utf-8")))
    assert client.run(graph).outputs


def loading(graph, server, name):
    """The graph with a motion of SAVED in place of the one that it reads."""
    folder = server.base / "models" / "fastvmt_motion"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(SAVED / f"{name}.safetensors", folder / f"before_{name}.safetensors")
    load = {"class_type": "FastVMTLoadMotion", "_meta": {"title": "Load"}}
    graph["load"] = {**load, "inputs": {"motion": f"before_{name}.safetensors"}}
    node(graph, "Apply motion")["inputs"]["motion"] = ["load", 0]
    return graph


@pytest.mark.parametrize("name", ["arc", "arc_with_frame_flow"])
def test_a_motion_saved_before_guides(client, server, quick_graph, name):
    latent, record = run_for_latent(client, loading(quick_graph, server, name))
    assert torch.isfinite(latent).all()
    assert [step["gradient_evaluations"] for step in record.steps] == [2, 2]


@pytest.mark.slow
def test_a_motion_guides_on_another_machine_as_it_does_here(client, server, quick_graph, monkeypatch):
    ours, _ = run_for_latent(client, loading(quick_graph, server, "arc"))
    for name, value in OTHER_MACHINE.items():
        monkeypatch.setenv(name, value)
    with Server() as other, Client(other.url) as connected:
        connected.upload_input(REPO / "assets" / "reference.mp4")
        theirs, _ = run_for_latent(connected, loading(quick_graph, other, "arc"))
    difference = float(torch.linalg.vector_norm(theirs - ours) / torch.linalg.vector_norm(ours))
    # Not 0, or the other machine would have been this one.
    assert 0 < difference < 1e-5
