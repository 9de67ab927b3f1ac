"""The motion that comes with the pack: users' files of its kind must load in every later version, as it does."""

import json

import torch

from fastvmt_core.motion.embedding import MotionEmbedding
from tools.build.shipped_motion import GRAPH, MOTION, NOTE
from tools.host.layout import REPO

KNOWN = REPO / "assets" / "reference.json"


def test_it_loads_and_says_what_it_is():
    motion = MotionEmbedding.load(MOTION)
    about = motion.about
    assert (about.name, about.note, about.width, about.height, about.fps) == ("tiny_arc", NOTE, 128, 128, 16.0)
    assert motion.grid.as_tuple == (5, 8, 8) and motion.thumbnail.shape == (128, 128, 3)
    # Refresh Motion reads it again from this.
    assert motion.reference.shape == (1, 16, 5, 16, 16)
    assert MOTION.stat().st_size < 200_000


def test_it_was_read_as_the_demo_reads():
    # Otherwise: python -m tools.build motion
    graph = json.loads(GRAPH.read_text(encoding="utf-8"))
    asked = next(node["inputs"] for node in graph.values() if node["class_type"] == "FastVMTInvertMotion")
    motion = MotionEmbedding.load(MOTION)
    config, more = motion.config, [int(block) for block in asked.get("more_blocks", "").split(",") if block.strip()]
    assert motion.sigmas == (asked["reference_sigma"],) and motion.seed == asked["seed"]
    assert sorted(motion.fingerprint.blocks) == sorted({asked["block"], *more})
    assert config.tile == (asked["tile_height"], asked["tile_width"])
    names = ("window", "temporal_span", "sharpness", "centre")
    assert [getattr(config, name) for name in names] == [asked[name] for name in names]


def test_its_thumbnail_is_the_references_middle():
    # A red circle, where the reference's path says.
    middle = MotionEmbedding.load(MOTION).thumbnail.float()
    red = middle[..., 0] - middle[..., 1:].amax(-1) > 60
    y, x = (where.float().mean() for where in torch.nonzero(red, as_tuple=True))
    path = json.loads(KNOWN.read_text(encoding="utf-8"))["path"]
    assert abs(float(x) - path[8][0]) < 1 and abs(float(y) - path[8][1]) < 1


def test_saved_again_it_is_the_same(tmp_path):
    motion = MotionEmbedding.load(MOTION)
    motion.save(tmp_path / MOTION.name)
    assert (tmp_path / MOTION.name).read_bytes() == MOTION.read_bytes()
