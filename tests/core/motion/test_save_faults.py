"""Saving a motion where it cannot be saved, and where the program is killed in the middle: the old file stays whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastvmt_core.motion.embedding import MotionEmbedding
from tests.core.motion.made_files import everything
from tools.host.layout import REPO

KILLS = 50
SAVER = """
import os, random, signal, sys
from dataclasses import replace
from fastvmt_core.motion.embedding import MotionEmbedding
from tests.core.motion.made_files import everything

path, kills = sys.argv[1], int(sys.argv[2])
motion, choice, seen = everything(), random.Random(1), set()
for kill in range(kills):
    begun, begins = os.pipe()
    child = os.fork()
    if not child:
        for seed in range(1000 * kill, 1000 * kill + 1000):
            os.write(begins, b".")
            replace(motion, seed=seed).save(path)
    for _ in range(choice.randrange(1, 4)):
        os.read(begun, 1)
    for _ in range(choice.randrange(20000)):
        pass
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    seen.add(MotionEmbedding.load(path).seed)
print(len(seen))
"""
"""Children of one program, which share what it has imported, are killed in the middle of saving; each time it loads."""

ROOT = hasattr(os, "getuid") and os.getuid() == 0


@pytest.fixture
def kept(tmp_path):
    """A saved motion: its path and its bytes."""
    path = tmp_path / "kept.safetensors"
    everything().save(path)
    return path, path.read_bytes()


def require_unchanged(path, before):
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="limits of a process")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(kept):
    """A limit to the size of files stands for it: the system refuses the write in the middle of the file."""
    import resource

    path, before = kept
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match=r"kept.safetensors: expected a folder with room that can be written, got"):
            everything().save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    require_unchanged(path, before)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OSError, match="gone"):
        everything().save(tmp_path / "gone" / "motion.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_file_stays(tmp_path):
    (tmp_path / "taken.safetensors").mkdir()
    with pytest.raises(OSError, match="taken"):
        everything().save(tmp_path / "taken.safetensors")
    assert [each.name for each in tmp_path.iterdir()] == ["taken.safetensors"]


@pytest.mark.skipif(ROOT and not os.path.isdir("/proc/self/fd"), reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    folder = Path("/proc/self/fd") if ROOT else tmp_path / "read only"
    folder.mkdir(mode=0o500, exist_ok=True)
    with pytest.raises(OSError, match=r"motion.safetensors: expected a folder with room that can be written, got"):
        everything().save(folder / "motion.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_program_killed_while_it_saves_leaves_a_whole_file(kept):
    path, _ = kept
    command = [sys.executable, "-c", SAVER, str(path), str(KILLS)]
    ended = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    # Files were replaced in between, and the last one is whole.
    assert int(ended.stdout) > 1
    kept_motion = everything()
    assert torch.equal(MotionEmbedding.load(path).flows[0].displacement, kept_motion.flows[0].displacement)
