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


@pytest.mark.parametrize("name", ["arc", "arc_with_frame_flow"])
def test_a_motion_saved_before_guides(client, server, quick_graph, name):
    folder = server.base / "models" / "fastvmt_motion"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(SAVED / f"{name}.safetensors", folder / f"before_{name}.safetensors")
    load = {"class_type": "FastVMTLoadMotion", "_meta": {"title": "Load"}}
    quick_graph["load"] = {**load, "inputs": {"motion": f"before_{name}.safetensors"}}
    node(quick_graph, "Apply motion")["inputs"]["motion"] = ["load", 0]
    latent, record = run_for_latent(client, quick_graph)
    assert torch.isfinite(latent).all()
    assert [step["gradient_evaluations"] for step in record.steps] == [2, 2]
