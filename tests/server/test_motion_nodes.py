"""Motions on a real server: edited, saved, listed, loaded, guided by, judged; and names that leave the folder."""

import json

import pytest
import torch

from tests.server.jobs import run_for_latent, shortened
from tools.demo.transfer import load_graph, node, node_id
from tools.host.client import JobError


def added(graph, title, kind, /, **inputs):
    """Add a node of that title; links are [title, output]."""
    linked = {
        key: [node_id(graph, value[0]), value[1]] if isinstance(value, list) else value for key, value in inputs.items()
    }
    graph[title] = {"class_type": kind, "_meta": {"title": title}, "inputs": linked}


def library(reference):
    """Read a motion, change it, keep it."""
    graph = shortened(load_graph(reference, "blue square plain", 0))
    frames = ["Reference frames", 0]
    added(graph, "Edit", "FastVMTEditMotion", motion=["Invert motion", 0], edit="mirror left and right", amount=1.0)
    node(graph, "Edit")["inputs"].update(freeze_from=0, freeze_to=0)
    refreshed = {"model": ["Shift", 0], "motion": ["Edit", 0], "empty_prompt": ["Empty prompt", 0]}
    added(graph, "Refresh", "FastVMTRefreshMotion", **refreshed, width=0, height=0, length=0)
    added(graph, "Save", "FastVMTSaveMotion", motion=["Refresh", 0], name="arc", note="mirrored", frames=frames)
    node(graph, "Save")["inputs"].update(keep_reference=False, replace=True)
    added(graph, "Preview", "FastVMTPreviewMotion", motion=["Save", 0], view="arrows", show="movement", frames=frames)
    for identity in ("11", "12", "18", "save", "10", "7"):
        del graph[identity]
    return graph


def test_a_motion_is_edited_saved_listed_loaded_and_guides(client, reference, server):
    history = client.run(library(reference))
    assert len(history.files("Preview")) == 4
    assert [path.name for path in (server.base / "models" / "fastvmt_motion").iterdir()] == ["arc.safetensors"]
    listed = client.object_info()["FastVMTLoadMotion"]["input"]["required"]["motion"]
    assert "arc.safetensors" in (listed[0] if isinstance(listed[0], list) else listed[1]["options"])

    graph = shortened(load_graph(reference, "blue square plain", 0))
    added(graph, "Load", "FastVMTLoadMotion", motion="arc.safetensors")
    node(graph, "Apply motion")["inputs"]["motion"] = ["Load", 0]
    for identity in ("4", "5", "6", "9"):
        del graph[identity]
    node(graph, "Empty latent")["inputs"].update(width=128, height=128, length=17)
    latent, record = run_for_latent(client, graph)
    assert torch.isfinite(latent).all()
    assert [step["gradient_evaluations"] for step in record.steps] == [2, 2]


@pytest.mark.parametrize("name", ["../../user/arc", "/tmp/arc", "nul"])
def test_a_name_that_leaves_the_folder_is_refused(client, reference, server, name):
    graph = library(reference)
    node(graph, "Save")["inputs"]["name"] = name
    with pytest.raises(JobError, match="name: expected a name") as error:
        client.run(graph)
    assert error.value.node_type == "FastVMTSaveMotion"


def test_a_file_that_is_not_listed_is_refused(client):
    graph = {
        "1": {
            "class_type": "FastVMTLoadMotion",
            "inputs": {"motion": "../../secret.safetensors"},
            "_meta": {"title": "L"},
        },
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 1]}, "_meta": {"title": "P"}},
    }
    with pytest.raises(JobError):
        client.run(graph)


def test_a_clip_is_judged_against_itself(client, reference):
    pytest.importorskip("cv2")
    graph = shortened(load_graph(reference, "blue square plain", 0))
    graph = {identity: graph[identity] for identity in ("4", "5")}
    frames = ["Reference frames", 0]
    added(graph, "Judge", "FastVMTMotionFidelity", generated=frames, reference=frames, spacing=8)
    added(graph, "Show", "PreviewImage", images=["Judge", 2])
    history = client.run(graph)
    assert len(history.files("Show")) == 17
    assert "Motion fidelity" in json.dumps(history.outputs["Judge"])
