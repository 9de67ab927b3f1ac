"""What an objective of another kind follows, in a motion and its file: kept, checked, refused where it was changed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.blend import blend
from fastvmt_core.motion.edit import amplify, mirror, reverse
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.header import VERSION
from fastvmt_core.motion.resize import fit_to
from tests.core.motion.made_files import a_motion, edit_header, header_of


def for_another_objective():
    """A motion of the file's version 2."""
    generator = torch.Generator().manual_seed(4)
    targets = tuple({"mean": torch.randn(3, 6, generator=generator)} for _ in range(2))
    return replace(a_motion(), objective="SMM", targets=targets)


def test_what_another_objective_follows_is_kept(tmp_path):
    motion, path = for_another_objective(), tmp_path / "smm.safetensors"
    motion.save(path)
    loaded = MotionEmbedding.load(path)
    assert header_of(path)["version"] == VERSION == 2 and loaded.objective == "SMM"
    for kept, read in zip(motion.targets, loaded.targets, strict=True):
        assert kept.keys() == read.keys() and torch.equal(kept["mean"], read["mean"])


def test_an_objective_in_a_file_of_version_1_is_refused(tmp_path):
    path = tmp_path / "smm.safetensors"
    for_another_objective().save(path)
    edit_header(path, lambda header: header.update(version=1))
    with pytest.raises(ValueError, match="expected the header fields"):
        MotionEmbedding.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.update(objective=""), "objective: expected the name of one"),
        (lambda header: header.update(objective=3), "objective: expected the name of one"),
        (lambda header: header.update(targets=[["mean", [3, 7]]]), r"flow.0.target.mean: expected float32 of shape"),
        (lambda header: header.update(targets=[["mean", [2**20] * 6]]), "at most 268435456 values"),
        (lambda header: header.update(targets=[["a b", [3, 6]]]), "targets: expected a name"),
        (lambda header: header.update(targets=[["mean", [-3, 6]]]), "targets: expected a shape"),
        (lambda header: header.update(targets=[]), "unknown .*flow.0.target.mean"),
        (lambda header: header.update(targets=7), "the header was changed or damaged"),
    ],
)
def test_hand_edited_targets(tmp_path, change, message):
    path = tmp_path / "smm.safetensors"
    for_another_objective().save(path)
    edit_header(path, change)
    with pytest.raises(ValueError, match=message):
        MotionEmbedding.load(path)


def test_targets_that_no_level_has_are_refused():
    motion = for_another_objective()
    with pytest.raises(ValueError, match="targets: expected one a flow or none, got 1"):
        replace(motion, targets=motion.targets[:1])
    with pytest.raises(ValueError, match="targets: expected finite numbers for mean"):
        replace(motion, targets=({"mean": torch.full((3, 6), math.nan)},) * 2)


@pytest.mark.parametrize(
    "change",
    [
        mirror,
        reverse,
        lambda motion: amplify(motion, 2.0),
        lambda motion: fit_to(motion, TokenGrid(3, 8, 10)),
        lambda motion: fit_to(motion, TokenGrid(5, 4, 5)),
        lambda motion: blend(motion, motion, 0.5),
    ],
)
def test_edits_of_what_is_no_flow_are_refused_in_words(change):
    with pytest.raises(ValueError, match=r"read for SMM, which follows other features \(mean\); edit, cut or resize"):
        change(for_another_objective())


def test_motions_read_for_two_objectives_are_not_blended():
    motion = a_motion()
    with pytest.raises(ValueError, match="motion_b: expected objective FastVMT, as in motion_a, got DiTFlow"):
        blend(motion, replace(motion, objective="DiTFlow"), 0.5)
