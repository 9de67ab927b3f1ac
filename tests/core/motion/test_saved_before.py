"""Motion files that earlier versions saved load as the same motion, and are saved again bit for bit."""

import pytest
import torch
from safetensors.torch import load_file

from fastvmt_core.motion.embedding import MotionEmbedding
from tools.host.layout import REPO

FILES = sorted((REPO / "tests" / "saved").glob("*.safetensors"))


def test_there_are_files():
    assert len(FILES) >= 3


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_motion_saved_before_is_the_same_motion(path, tmp_path):
    held, motion = load_file(path), MotionEmbedding.load(path)
    tensors = motion.as_file().tensors
    assert tensors.keys() == held.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in held.items())
    motion.save(tmp_path / "again.safetensors")
    assert motion.as_file().checksum == MotionEmbedding.load(tmp_path / "again.safetensors").as_file().checksum
