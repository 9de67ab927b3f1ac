"""Motion files that strangers upload: names that lead elsewhere, in every script, and as long as a disk allows."""

from pathlib import Path

import pytest
import requests

from tests.core.motion.made_files import everything
from tools.host.client import JobError

NAMES = [
    "walk.safetensors",
    "..",
    "../walk.safetensors",
    "../../models/walk.safetensors",
    "/tmp/fastvmt_stranger.safetensors",
    "C:\\walk.safetensors",
    "..\\..\\walk.safetensors",
    "<img src=x onerror=alert(1)>.safetensors",
    "歩く.safetensors",
    "مشي.safetensors",
    "wa\u202elk.safetensors",
    "e\u0301t\u00e9.safetensors",
    "\U0001f6b6.safetensors",
    "WALK.safetensors",
    "w" * 243 + ".safetensors",
    "w" * 400 + ".safetensors",
    "歩" * 80 + ".safetensors",
    "con.safetensors",
    "walk.safetensors.exe",
    "walk.ckpt",
    ".safetensors",
    "",
]


def upload(server, name, subfolder, content):
    """The name under which the server keeps it, or None where it refuses."""
    session = requests.Session()
    session.trust_env = False
    answer = session.post(
        f"{server.url}/upload/image",
        files={"image": (name, content)},
        data={"subfolder": subfolder, "type": "input"},
        timeout=None,
    )
    return answer.json()["name"] if answer.status_code == 200 else None


def tree(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def content(tmp_path):
    everything().save(tmp_path / "motion.safetensors")
    return (tmp_path / "motion.safetensors").read_bytes()


def load(client, name):
    """Load the motion and draw it."""
    inputs = {
        "load": ("FastVMTLoadMotion", {"motion": name}),
        "draw": ("FastVMTPreviewMotion", {"motion": ["load", 0], "view": "arrows", "show": "movement"}),
        "show": ("PreviewImage", {"images": ["draw", 0]}),
    }
    client.run({key: {"class_type": kind, "inputs": given, "_meta": {}} for key, (kind, given) in inputs.items()})


def test_a_motion_of_any_name_is_loaded_or_refused_and_none_leaves_the_folder(client, server, content):
    before, loaded = tree(server.base), []
    for name in NAMES:
        kept = upload(server, name, "fastvmt_motion", content)
        if kept is None:
            continue
        try:
            load(client, kept)
            loaded.append(kept)
        except JobError as error:
            assert error.node_type == "FastVMTLoadMotion" and "motion: expected" in error.message, (name, error)
    added = {path for path in tree(server.base) - before if path.suffix != ".png"}
    # The host's own limit is the folder `input`.
    assert [path for path in added if not path.is_relative_to(server.base / "input")] == []
    assert not Path("/tmp/fastvmt_stranger.safetensors").exists()
    assert {"walk.safetensors", "歩く.safetensors", "مشي.safetensors", "\U0001f6b6.safetensors"} <= set(loaded)
    assert [name for name in loaded if name.endswith((".exe", ".ckpt")) or "\u202e" in name] == []


@pytest.mark.parametrize("subfolder", ["..", "../..", "fastvmt_motion/../..", "/tmp"])
def test_a_folder_outside_is_refused(client, server, content, subfolder):
    assert upload(server, "stranger.safetensors", subfolder, content) is None
    folders = (server.base / "input" / subfolder, server.base / "input" / "fastvmt_motion" / subfolder)
    assert not any((folder / "stranger.safetensors").exists() for folder in folders)
    assert client.system_stats()
