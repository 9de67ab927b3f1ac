"""What an installation from the registry holds is enough for ComfyUI to load the pack and for its demo to run."""

import shutil
import subprocess
import sys

import pytest

from tools.host.layout import REPO, Layout

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
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = done.stdout.splitlines()[-1].split()
    assert "FastVMTInvertMotion" in found, done.stdout
    return found


def test_the_pack_without_what_is_left_out_loads_with_its_demo(tmp_path):
    tracked = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    pack, patterns = tmp_path / "custom_nodes" / "fastvmt", left_out()
    folders = tuple(pattern for pattern in patterns if pattern.endswith("/"))
    for name in tracked.stdout.splitlines():
        if not name.startswith(folders) and name not in patterns and (REPO / name).is_file():
            (pack / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, pack / name)
    assert not (pack / "tests").exists()
    assert nodes_of(pack, tmp_path) == nodes_of(REPO, tmp_path)
