"""A video's origin on a real server: saved with a mark, shown in the page, changed, uploaded, checked."""

import json

import pytest

from tests.server.test_motion_nodes import added
from tools.host.client import JobError

pytest.importorskip("c2pa")
NUMBER = 20_260_101


def saving(reference, **given):
    """Load the shipped clip and save it."""
    graph = {"1": {"class_type": "LoadVideo", "_meta": {"title": "Load"}, "inputs": {"file": reference}}}
    widgets = {"filename_prefix": "video/own", "format": "mp4", "certificate": "test certificate", "mark": NUMBER}
    clip = ["Load", 0]
    added(graph, "Save", "FastVMTSaveVideoCredentials", video=clip, name_reference=True, **{**widgets, **given})
    return graph


def checked(client, path):
    """What Check Video writes on its node of an uploaded file."""
    graph = {}
    added(graph, "Check", "FastVMTCheckVideo", file=client.upload_input(path))
    added(graph, "Show", "PreviewAny", source=["Check", 0])
    outputs = client.run(graph).outputs
    return outputs["Check"]["text"][0], json.loads(outputs["Show"]["text"][0])


@pytest.mark.parametrize("kind", ["mp4", "webp"])
def test_a_saved_video_is_checked(client, reference, server, tmp_path, kind):
    history = client.run(saving(reference, format=kind))
    (file,) = history.files("Save")
    assert file["subfolder"] == "video" and file["type"] == "output" and file["filename"].startswith("own_0")
    assert history.outputs["Save"]["animated"] == [True]
    content = client.view(file)
    (tmp_path / f"sound.{kind}").write_bytes(content)
    text, report = checked(client, tmp_path / f"sound.{kind}")
    assert "unchanged since FastVMT test certificate signed" in text and f"Mark: {NUMBER}" in text
    assert report["credentials"]["generated"] and report["credentials"]["ingredients"] == {}

    changed = bytearray(content)
    changed[content.index(b"mdat" if kind == "mp4" else b"ANMF") + 60] ^= 1
    (tmp_path / f"changed.{kind}").write_bytes(changed)
    text, report = checked(client, tmp_path / f"changed.{kind}")
    assert "CHANGED" in text and report["credentials"]["state"] == "changed"


def test_a_video_without_either_has_neither(client, tmp_path, server):
    from tools.demo.transfer import GRAPH

    text, report = checked(client, GRAPH.parents[1] / "reference.mp4")
    assert text == "Content Credentials: none.\nMark: none found." and report["credentials"] == {"state": "none"}


@pytest.mark.parametrize(
    ("widget", "value", "message"),
    [
        ("filename_prefix", "../own", "filename_prefix: expected "),
        ("certificate", "nobody", "certificate"),
        ("mark", 2**32, "mark"),
    ],
)
def test_what_cannot_be_is_refused_and_named(client, reference, widget, value, message):
    with pytest.raises(JobError, match=message):
        client.run(saving(reference, **{widget: value}))
