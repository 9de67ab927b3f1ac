"""``python -m tools.build motion``: read the motion that comes with the pack from the demo's clip.

Writes assets/motions/tiny_arc.safetensors with the settings of the demo's graph, for the template that loads it.
"""

from __future__ import annotations

import shutil

from tools.demo.transfer import GRAPH, load_graph, node_id
from tools.host.client import Client
from tools.host.layout import REPO
from tools.host.server import Server

MOTION = REPO / "assets" / "motions" / "tiny_arc.safetensors"
NOTE = "A red circle on an arc: the demo's reference. Comes with FastVMT."
LEAVES_OUT = ("KSampler", "VAEDecode", "CreateVideo", "SaveVideo", "SaveImage", "FastVMTApplyMotion")
"""What follows the reading in the demo's graph."""


def make() -> None:
    """Write the file."""
    with Server() as server, Client(server.url) as client:
        graph = load_graph(client.upload_input(GRAPH.parents[1] / "reference.mp4"), "", 0)
        graph = {identity: node for identity, node in graph.items() if node["class_type"] not in LEAVES_OUT}
        frames = node_id(graph, "Reference frames")
        kept = {"name": MOTION.stem, "note": NOTE, "keep_reference": True, "replace": True}
        links = {"motion": [node_id(graph, "Invert motion"), 0], "frames": [frames, 0], "fps": [frames, 2]}
        graph["save"] = {
            "class_type": "FastVMTSaveMotion",
            "_meta": {"title": "Save motion"},
            "inputs": {**kept, **links},
        }
        client.run(graph)
        MOTION.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(server.base / "models" / "fastvmt_motion" / MOTION.name, MOTION)
    print(f"fastvmt: {MOTION.relative_to(REPO)}")
