"""An installation from the registry is small, and is enough for ComfyUI to load the pack with its demo."""

import os
import shutil
import subprocess
import sys

import pytest

from tools.host.layout import REPO, Layout

MOST_BYTES = 25 * 1000**2
"""A pack that is larger makes everybody who installs it wait; the tiny model has 15 MB."""
TOP = {
    *(
        "__init__.py",
        "fastvmt_core",
        "nodes",
        "subgraphs",
        "web",
        "locales",
        "workflows",
        "subgraphs",
        "assets",
        "docs",
    ),
    *("pyproject.toml", "requirements.txt", "README.md", "README.zh.md", "CHANGELOG.md", "LICENSE"),
    *("SECURITY.md", "sbom.json"),
}
"""Files and folders of an installed pack."""

LOADS = """
import asyncio, importlib, sys
sys.path.insert(0, {comfyui!r})
import comfy.cli_args
comfy.cli_args.args.cpu = True
importlib.import_module("utils.install_util")
import nodes
assert asyncio.run(nodes.load_custom_node({pack!r}, module_parent="custom_nodes"))
import torch
with torch.inference_mode():
    model, vae, reference = nodes.NODE_CLASS_MAPPINGS["TinyWanLoader"].execute().args
    assert reference.get_components().images.shape == (17, 128, 128, 3)
assert nodes.NODE_CLASS_MAPPINGS["FastVMTLoadMotion"].define_schema().inputs[0].options
print(*sorted(name for name in nodes.NODE_CLASS_MAPPINGS if name.startswith("FastVMT")))
"""


def left_out():
    lines = (REPO / ".comfyignore").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def nodes_of(pack, folder):
    """The ids of the nodes that ComfyUI finds in the pack."""
    code = LOADS.format(comfyui=str(Layout.of().comfyui), pack=str(pack))
    # Nothing of this checkout may be imported by its name: workers of pytest-xdist have it on their path.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    identities = done.stdout.splitlines()[-1].split()
    assert "FastVMTInvertMotion" in identities, done.stdout
    return identities


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """A copy of this checkout without what `.comfyignore` leaves out."""
    tracked = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    pack, patterns = tmp_path_factory.mktemp("installed") / "custom_nodes" / "fastvmt", left_out()
    folders = tuple(pattern for pattern in patterns if pattern.endswith("/"))
    for name in tracked.stdout.splitlines():
        if not name.startswith(folders) and name not in patterns and (REPO / name).is_file():
            (pack / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, pack / name)
    return pack


def test_the_pack_holds_what_its_user_needs_and_no_more(pack):
    assert {path.name for path in pack.iterdir()} <= TOP
    assert not (pack / "assets" / "models" / "classifier").exists() and not (pack / "docs" / "images").exists()
    assert sum(path.stat().st_size for path in pack.rglob("*") if path.is_file()) < MOST_BYTES


def test_what_is_left_out_exists():
    for pattern in left_out():
        # Only a project on GitHub has workflows there.
        assert (REPO / pattern).exists() or pattern == ".github/", pattern


@pytest.mark.slow
def test_the_pack_without_what_is_left_out_loads_with_its_demo(pack):
    folder = pack.parents[1]
    assert nodes_of(pack, folder) == nodes_of(REPO, folder)
