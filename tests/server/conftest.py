"""The demo's graph on the server, whole and short, and models of other kinds."""

import subprocess
from pathlib import Path

import pytest

from tests.server.jobs import shortened
from tools.demo.transfer import GRAPH, load_graph
from tools.host.client import Client
from tools.host.layout import Layout


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


def made_model(server, kind):
    """The name on the server of a model file that `other_models.py` wrote there."""
    layout = Layout.of()
    folder = server.base / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("other_models.py")
    command = [layout.python, script, layout.comfyui, kind, folder / f"{kind}.safetensors"]
    subprocess.run([str(part) for part in command], check=True)
    return f"{kind}.safetensors"


@pytest.fixture(scope="session")
def image_model(server):
    """An image model's file name."""
    return made_model(server, "image_model")


@pytest.fixture(scope="session")
def wider_model(server):
    """The file name of a Wan DiT of another width."""
    return made_model(server, "wider_model")
