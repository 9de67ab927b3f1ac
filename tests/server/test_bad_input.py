"""Bad input gets an error that names what to change, and the server then still runs a good job."""

import pytest
import torch
from safetensors.torch import save_file

from tests.server.jobs import run_for_latent, shortened
from tools.demo.transfer import load_graph, node
from tools.host.client import Client, JobError


@pytest.fixture(scope="module", autouse=True)
def good_job_afterwards(server, reference):
    """Whatever these tests did, the same server then runs a guided job."""
    yield
    with Client(server.url) as client:
        latent, record = run_for_latent(client, shortened(load_graph(reference, "blue square plain", 0)))
    assert torch.isfinite(latent).all()
    assert [step["gradient_evaluations"] for step in record.steps] == [2, 2]


def upload_latent(client, tmp_path, name, latent):
    path = tmp_path / name
    save_file({"latent_tensor": latent, "latent_format_version_0": torch.tensor([])}, path)
    return {"class_type": "LoadLatent", "_meta": {"title": name}, "inputs": {"latent": client.upload_input(path)}}


def test_a_model_that_is_no_wan(client, quick_graph, image_model):
    node(quick_graph, "Model")["inputs"]["unet_name"] = image_model
    with pytest.raises(JobError, match=r"model: expected a native video model of a known.*connect a model of") as error:
        client.run(quick_graph)
    assert error.value.node_type == "FastVMTInvertMotion"


@pytest.mark.parametrize(("side", "value", "shape"), [("length", 33, (9, 16, 16)), ("width", 96, (5, 16, 12))])
def test_a_motion_made_for_another_grid_is_fitted(client, quick_graph, side, value, shape):
    node(quick_graph, "Empty latent")["inputs"][side] = value
    latent, record = run_for_latent(client, quick_graph)
    assert tuple(latent.shape[2:]) == shape and torch.isfinite(latent).all()
    assert [step["gradient_evaluations"] for step in record.steps] == [2, 2]


def test_nan_in_the_references_latent(client, quick_graph, tmp_path):
    latent = torch.zeros(1, 16, 5, 16, 16)
    latent[0, 3, 2] = torch.nan
    quick_graph["nan"] = upload_latent(client, tmp_path, "nan.latent", latent)
    node(quick_graph, "Invert motion")["inputs"]["reference"] = ["nan", 0]
    with pytest.raises(JobError, match="reference: expected finite numbers, got NaN") as error:
        client.run(quick_graph)
    assert error.value.node_type == "FastVMTInvertMotion"


def test_nan_in_the_latent_to_sample(client, quick_graph, tmp_path):
    latent = torch.full((1, 16, 5, 16, 16), torch.nan)
    quick_graph["nan"] = upload_latent(client, tmp_path, "nan_start.latent", latent)
    node(quick_graph, "Sample guided")["inputs"].update(latent_image=["nan", 0], denoise=0.8)
    with pytest.raises(JobError, match="latent_image: expected finite numbers, got NaN"):
        client.run(quick_graph)


def test_an_image_as_reference(client, quick_graph, tmp_path):
    quick_graph["image"] = upload_latent(client, tmp_path, "image.latent", torch.zeros(1, 4, 16, 16))
    node(quick_graph, "Invert motion")["inputs"]["reference"] = ["image", 0]
    with pytest.raises(JobError, match="reference: expected a video latent"):
        client.run(quick_graph)


def test_a_block_that_the_model_has_not(client, quick_graph):
    node(quick_graph, "Invert motion")["inputs"]["block"] = 6
    with pytest.raises(JobError, match=r"block: expected -1 \(auto\) to 5, as the model has 6, got 6"):
        client.run(quick_graph)


def test_a_motion_read_from_another_kind_of_model(client, quick_graph, wider_model):
    quick_graph["other"] = {
        "class_type": "UNETLoader",
        "_meta": {"title": "Other model"},
        "inputs": {"unet_name": wider_model, "weight_dtype": "default"},
    }
    node(quick_graph, "Apply motion")["inputs"]["model"] = ["other", 0]
    with pytest.raises(JobError, match="dim") as error:
        client.run(quick_graph)
    assert error.value.node_type == "FastVMTApplyMotion"


def test_an_unreadable_video(client, quick_graph, tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video at all" * 100)
    node(quick_graph, "Reference video")["inputs"]["file"] = client.upload_input(path)
    with pytest.raises(JobError) as error:
        client.run(quick_graph)
    assert error.value.node_type in ("LoadVideo", "GetVideoComponents")
