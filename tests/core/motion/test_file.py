"""The motion file: bit for bit there and back, and one clear error for each manner in which a file can be wrong."""

from __future__ import annotations

import os
import struct
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from fastvmt_core.motion import file as motion_file
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.header import MOST_SIGMAS, VERSION
from tests.core.motion.made_files import (
    FINGERPRINT,
    a_motion,
    edit_header,
    edit_tensors,
    everything,
    header_of,
    parts,
    rewrite,
    sign_again,
)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "motion.safetensors"
    a_motion().save(path)
    return path


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_saves_and_loads_bit_for_bit(tmp_path, reference, dtype):
    motion = a_motion(reference, dtype)
    motion.save(tmp_path / "m.safetensors")
    loaded = MotionEmbedding.load(tmp_path / "m.safetensors")
    for name in ("sigmas", "grid", "config", "seed", "fingerprint", "reference_hash"):
        assert getattr(loaded, name) == getattr(motion, name)
    for before, after in zip(motion.flows, loaded.flows, strict=True):
        assert before.pairs == after.pairs and before.span == after.span and before.grid == after.grid
        assert torch.equal(before.displacement, after.displacement) and torch.equal(before.centres, after.centres)
    assert (loaded.reference is None) == (not reference)
    if reference:
        assert loaded.reference.dtype == dtype and torch.equal(loaded.reference, motion.reference)


AVERAGED = replace(FINGERPRINT, more_blocks=(0, 2))


def test_averaged_blocks_are_kept(tmp_path):
    replace(a_motion(), fingerprint=AVERAGED).save(tmp_path / "m.safetensors")
    assert header_of(tmp_path / "m.safetensors")["fingerprint"]["more_blocks"] == [0, 2]
    loaded = MotionEmbedding.load(tmp_path / "m.safetensors")
    assert loaded.fingerprint == AVERAGED and loaded.fingerprint.blocks == (0, 2, 3)


def test_what_is_optional_is_not_written_if_it_is_empty(saved):
    header = header_of(saved)
    assert header["version"] == 1
    assert set(header) == {
        "format",
        "version",
        "grid",
        "sigmas",
        "config",
        "seed",
        "fingerprint",
        "reference_hash",
        "checksum",
    }
    assert set(header["fingerprint"]) == {"model_class", "dim", "heads", "depth", "block", "latent_channels"}
    assert MotionEmbedding.load(saved).fingerprint.blocks == (3,)


def test_writes_are_whole_or_not_at_all(saved, monkeypatch):
    before = saved.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        a_motion(reference=False).save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_saving_replaces_an_older_file(saved):
    a_motion(reference=False).save(saved)
    assert MotionEmbedding.load(saved).reference is None
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, -1])
def test_a_truncated_file(saved, kept):
    raw = saved.read_bytes()
    saved.write_bytes(raw[: int(len(raw) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match="motion.safetensors: expected a motion file, got one that cannot be read"):
        MotionEmbedding.load(saved)


def test_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match="gone.safetensors: expected a motion file, got no file"):
        MotionEmbedding.load(tmp_path / "gone.safetensors")


def test_another_kind_of_file_under_the_name(tmp_path):
    path = tmp_path / "renamed.safetensors"
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="cannot be read"):
        MotionEmbedding.load(path)
    save_file({"lora_up": torch.zeros(3)}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="safetensors file of another kind"):
        MotionEmbedding.load(path)


def test_renamed_tensors(saved):
    edit_tensors(saved, lambda tensors: tensors.update({"flow.0.shift": tensors.pop("flow.0.displacement")}))
    with pytest.raises(ValueError, match="missing .*flow.0.displacement.* unknown .*flow.0.shift"):
        MotionEmbedding.load(saved)


def test_a_motion_too_large_to_be_loaded_again_is_not_saved(saved, monkeypatch):
    motion = MotionEmbedding.load(saved)
    monkeypatch.setattr(motion_file, "MAX_FILE_BYTES", motion_file.MAX_HEADER_BYTES + 100)
    with pytest.raises(ValueError, match="motion: expected one of at most 100 bytes to save, got .* temporal_span"):
        motion.save(saved.with_name("again.safetensors"))
    assert not saved.with_name("again.safetensors").exists()


def test_an_oversized_file_is_refused_unread(saved):
    with open(saved, "r+b") as file:
        file.truncate(10 * 2**30)
    start = time.perf_counter()
    with pytest.raises(ValueError, match="expected a motion file of at most"):
        MotionEmbedding.load(saved)
    assert time.perf_counter() - start < 1


def test_claims_of_ten_gigabytes_are_refused_quickly(saved):
    index, data = parts(saved)
    index["flow.0.displacement"]["shape"] = [5, 20000, 25000, 2]
    index["flow.0.displacement"]["data_offsets"][1] = 10 * 2**30
    rewrite(saved, index, data)
    start = time.perf_counter()
    with pytest.raises(ValueError, match="cannot be read"):
        MotionEmbedding.load(saved)
    saved.write_bytes(struct.pack("<Q", 10 * 2**30) + b"{}")
    with pytest.raises(ValueError, match="cannot be read"):
        MotionEmbedding.load(saved)
    a_motion().save(saved)
    edit_header(saved, lambda header: header["grid"].update(frames=10**12, height=10**9))
    with pytest.raises(ValueError, match="flow.0.centres: expected shape"):
        MotionEmbedding.load(saved)
    assert time.perf_counter() - start < 1


def test_a_long_index_is_refused_unparsed(saved):
    index, data = parts(saved)
    index["__metadata__"]["padding"] = "x" * 2**20
    rewrite(saved, index, data)
    with pytest.raises(ValueError, match="cannot be read .an index of 10.* bytes, at most 1048576 are taken"):
        MotionEmbedding.load(saved)


def test_what_stands_beside_the_flows_is_kept(tmp_path):
    motion = everything()
    motion.save(tmp_path / "m.safetensors")
    loaded = MotionEmbedding.load(tmp_path / "m.safetensors")
    assert (loaded.about, loaded.cuts) == (motion.about, motion.cuts)
    for name in ("static_bias", "backward"):
        for before, after in zip(getattr(motion, name), getattr(loaded, name), strict=True):
            assert torch.equal(before, after)
    for name in ("frame_flow", "mask", "thumbnail"):
        assert torch.equal(getattr(motion, name), getattr(loaded, name))


@pytest.mark.parametrize(
    "part", ["static_bias", "backward", "reference", "frame_flow", "mask", "thumbnail", "cuts", "about"]
)
def test_each_optional_part_is_kept_without_the_others(tmp_path, part):
    bare, whole = a_motion(reference=False), everything()
    motion = replace(bare, **{part: getattr(whole, part)})
    motion.save(tmp_path / "m.safetensors")
    loaded = MotionEmbedding.load(tmp_path / "m.safetensors")
    assert loaded.header == motion.header
    before, after = motion.as_file().tensors, loaded.as_file().tensors
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_fields_of_another_precision_are_saved_in_the_files_own(tmp_path):
    motion = replace(a_motion(), mask=torch.full((3, 4, 5), 0.25, dtype=torch.float64))
    motion.save(tmp_path / "m.safetensors")
    loaded = MotionEmbedding.load(tmp_path / "m.safetensors")
    assert loaded.mask.dtype == torch.float32 and bool((loaded.mask == 0.25).all())


def test_a_static_bias_of_one_flow_alone_is_refused(saved):
    bias = torch.zeros(5, 4, 5, 2)
    sign_again(saved, lambda tensors: tensors.update({"flow.0.static_bias": bias}))
    with pytest.raises(ValueError, match="^motion.safetensors: static_bias: expected one a flow or none, got 1 for 2"):
        MotionEmbedding.load(saved)


def test_values_that_no_motion_has_are_refused_under_a_right_checksum(saved):
    sign_again(saved, lambda tensors: tensors["flow.1.displacement"].fill_(9.0))
    with pytest.raises(ValueError, match="^motion.safetensors: flow 1 displacement: expected values inside the frame"):
        MotionEmbedding.load(saved)


def test_a_reference_that_is_no_latent_is_refused_under_a_right_checksum(saved):
    sign_again(saved, lambda tensors: tensors["reference"].mul_(0).add_(2e4))
    with pytest.raises(
        ValueError, match="reference: expected values of a latent, at most 10000, of .* got 20000 to 20000"
    ):
        MotionEmbedding.load(saved)


def test_a_header_of_countless_noise_levels_is_refused_before_they_are_counted_by(saved):
    edit_header(saved, lambda header: header.update(sigmas=[0] * (MOST_SIGMAS + 1)))
    with pytest.raises(ValueError, match="sigmas: expected at most 1000 noise levels, got 1001"):
        MotionEmbedding.load(saved)


@pytest.mark.parametrize("version", [0, VERSION + 1, "1", 1.5, True, None])
def test_a_wrong_version(saved, version):
    edit_header(saved, lambda header: header.update(version=version))
    with pytest.raises(ValueError, match=f"expected a version of the motion format up to {VERSION}, got {version!r}"):
        MotionEmbedding.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.pop("seed"), "expected the header fields"),
        (lambda header: header.update(extra=1), "expected the header fields"),
        (lambda header: header.update(format="other"), "expected the format"),
        (lambda header: header.update(seed=7), "changed file"),
        (lambda header: header["config"].update(sharpness=1.0), "changed file"),
        (lambda header: header["config"].update(tile=[0, 3]), "tile: expected"),
        (lambda header: header["config"].update(window="21"), "window: expected"),
        (lambda header: header["config"].update(tile=[10**30, 10**30]), "tile: expected"),
        (lambda header: header["config"].update(sharpness=10**400), "header was changed"),
        (lambda header: header["config"].update(code="x"), "header was changed"),
        (lambda header: header["config"].pop("tile"), "header was changed"),
        (lambda header: header.update(config=None), "header was changed"),
        (lambda header: header["grid"].update(width=6), "expected shape"),
        (lambda header: header["grid"].update(width=-1), "width: expected"),
        (lambda header: header["fingerprint"].update(latent_channels=4), "expected a latent"),
        (lambda header: header["fingerprint"].update(heads="2"), "heads: expected"),
        (lambda header: header["fingerprint"].update(more_blocks=[1]), "changed file"),
        (lambda header: header["fingerprint"].update(more_blocks=[3]), "more_blocks: expected numbers from 0 rising"),
        (lambda header: header["fingerprint"].update(more_blocks=1), "header was changed"),
        (lambda header: header.update(cuts=[1]), "changed file"),
        (lambda header: header.update(cuts=[3]), "cuts: expected rising numbers of frames"),
        (lambda header: header.update(cuts=["1"]), "cuts: expected rising numbers of frames"),
        (lambda header: header.update(about={"name": "x"}), "changed file"),
        (lambda header: header.update(about={"name": 3}), "name: expected a text"),
        (lambda header: header.update(about=[]), r"about: expected name, note and size, got \[\]"),
        (
            lambda header: header.update(about={"note": "half \ud800"}),
            "note: expected characters that can be saved, got .* at place 6",
        ),
        (lambda header: header.update(sigmas=[0.3, 0.9, 0.95]), "missing .*flow.2"),
        (lambda header: header.update(sigmas=[0.3]), "unknown .*flow.1"),
        (lambda header: header.update(sigmas="0.3"), "sigmas: expected"),
    ],
)
def test_a_hand_edited_header(saved, change, message):
    edit_header(saved, change)
    with pytest.raises(ValueError, match=f"^motion.safetensors: .*{message}"):
        MotionEmbedding.load(saved)


@pytest.mark.parametrize("text", ["not json", "[1]", "[" * 100_000])
def test_a_header_that_is_no_json_object(saved, text):
    index, data = parts(saved)
    index["__metadata__"]["fastvmt"] = text
    rewrite(saved, index, data)
    with pytest.raises(ValueError, match="motion.safetensors: expected"):
        MotionEmbedding.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors["flow.1.displacement"][0, 0, 0].fill_(1.5), "changed file"),
        (lambda tensors: tensors["reference"][0, 0, 0, 0].fill_(1.5), "changed file"),
        (lambda tensors: tensors.pop("reference"), "changed file"),
        (lambda tensors: tensors.update({"flow.0.centres": tensors["flow.0.centres"].double()}), "dtype"),
        (lambda tensors: tensors.update(reference=tensors["reference"].int()), "dtype"),
        (lambda tensors: tensors.update(reference=tensors["reference"][:, :, :2].clone()), "expected a latent"),
        (
            lambda tensors: tensors.update({"flow.0.displacement": tensors["flow.0.displacement"][:2].clone()}),
            "expected shape",
        ),
        (lambda tensors: tensors.pop("flow.0.centres"), "missing .*flow.0.centres"),
    ],
)
def test_hand_edited_tensors(saved, change, message):
    edit_tensors(saved, change)
    with pytest.raises(ValueError, match=message):
        MotionEmbedding.load(saved)
