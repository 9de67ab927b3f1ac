"""A real ComfyUI with this checkout as a node pack."""

import json

import pytest

from demo.transfer import GRAPH, load_graph, node
from tools.host.client import Client
from tools.host.server import Server


@pytest.fixture(scope="session")
def server():
    """A server that forgets every result, so that each job really runs."""
    with Server(extra=["--cache-none"]) as running:
        yield running


@pytest.fixture
def client(server):
    with Client(server.url) as connected:
        yield connected


@pytest.fixture(scope="session")
def reference(server):
    """The name on the server of the shipped reference clip."""
    with Client(server.url) as connected:
        return connected.upload_input(GRAPH.parents[1] / "reference.mp4")


@pytest.fixture
def graph(reference):
    """The demo's graph, ready to be changed: the shipped clip, a blue square, seed 0."""
    return load_graph(reference, "blue square plain", 0)


@pytest.fixture
def quick_graph(graph):
    """Its guided half alone and short: 2 guided steps of 4, 2 inner steps each; saves its latent, decodes nothing."""
    return shortened(graph)


def shortened(graph):
    keep = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "18")
    short = {identity: graph[identity] for identity in keep}
    node(short, "Sample guided")["inputs"]["steps"] = 4
    node(short, "Apply motion")["inputs"].update(inner_steps=2, gradient_interval=1, end_percent=0.5)
    short["save"] = {
        "class_type": "SaveLatent",
        "_meta": {"title": "Latent guided"},
        "inputs": {"samples": ["18", 0], "filename_prefix": "latent"},
    }
    return json.loads(json.dumps(short))
