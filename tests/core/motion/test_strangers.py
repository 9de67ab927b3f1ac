"""Files and names from strangers, damaged in any manner: refused by name, quickly and in little memory."""

from __future__ import annotations

import json
import resource
import struct
import time
import tracemalloc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.file import checksum
from fastvmt_core.motion.file_names import inside
from tests.core.motion.made_files import everything

MOST_SECONDS, MOST_BYTES = 1.0, 100 * 2**20
"""Of one load: the process's time, which other programs disturb less; Python's memory, and the process's in all."""
NUMBERS = st.sampled_from([-1, 0, 1, 3, 5, 40, 2**31, 2**32 + 1, 10**10, 2**62, 2**63 - 1, 2**64])
NAMES = st.text("walk.safetensors/\\:CON\0nul~%2e\u202e é", max_size=24)
VALUES = st.one_of(
    st.sampled_from([None, True, -1, 0, 10**12, 2**70, 1.5, float("nan"), float("inf")]),
    NAMES,
    st.sampled_from([[], [1, 2], {}, {"a": 1}, [[[]]]]),
)
TEXTS = ["", "null", "[]", "1e999", "NaN", '{"format":', "[" * 50_000, '{"a":' * 20_000, "\\", "9" * 5000]
"""In place of our header."""


def split(raw):
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def joined(index, data):
    text = json.dumps(index).encode()
    return struct.pack("<Q", len(text)) + text + data


def header_in(index):
    return json.loads(index["__metadata__"]["fastvmt"])


def place_in(draw, header):
    """One of the header's objects, and one of its keys."""
    place = draw(st.sampled_from([header, *(header[name] for name in ("grid", "config", "fingerprint", "about"))]))
    return place, draw(st.sampled_from(sorted(place)))


def truncated(draw, raw):
    return raw[: draw(st.integers(0, len(raw) - 1))]


def flipped(draw, raw):
    """One to eight bits turned, half of them in the header, which is small."""
    damaged = bytearray(raw)
    for at in draw(st.lists(st.integers(0, 2499) | st.integers(0, len(raw) - 1), min_size=1, max_size=8)):
        damaged[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(damaged)


def overwritten(draw, raw):
    start, noise = draw(st.integers(0, len(raw) - 1)), draw(st.binary(min_size=1, max_size=200))
    return raw[:start] + noise + raw[start + len(noise) :]


def noise(draw, raw):
    """Nothing but noise, sometimes behind a plausible length."""
    body = draw(st.binary(max_size=4000))
    return draw(st.sampled_from([b"", struct.pack("<Q", len(body)), struct.pack("<Q", len(body) // 2)])) + body


def long_index(draw, raw):
    sizes = [2**63, 2**64 - 1, 10 * 2**30, 2**31, 10**8, len(raw), len(raw) - 8, 0]
    return struct.pack("<Q", draw(st.sampled_from(sizes))) + raw[8:]


def lying_index(draw, raw):
    """False shapes, types, places and names of tensors, up to claims of petabytes."""
    index, data = split(raw)
    name = draw(st.sampled_from(sorted(index.keys() - {"__metadata__"})))
    change = draw(
        st.one_of(
            st.builds(lambda shape: {"shape": shape}, st.lists(NUMBERS, max_size=6)),
            st.builds(lambda *places: {"data_offsets": places}, NUMBERS, NUMBERS),
            st.builds(lambda dtype: {"dtype": dtype}, st.sampled_from(["F64", "I64", "BOOL", "F8_E4M3", "XX", "", 3])),
            st.just({"shape": [10 * 2**28], "data_offsets": [0, 10 * 2**30]}),
            NAMES,
        )
    )
    entry = index.pop(name)
    if isinstance(change, dict):
        index[name] = {**entry, **change}
    elif change:
        index[change] = entry
    return joined(index, data)


def lying_header(draw, raw):
    """Our own header with fields changed, added or gone, of another type or far too large."""
    index, data = split(raw)
    header = header_in(index)
    place, key = place_in(draw, header)
    value = place.pop(key)
    # Kept under another name, put in its place, or left out.
    changed = draw(
        st.one_of(VALUES.map(lambda value: {key: value}), NAMES.map(lambda name: {name: value}), st.just({}))
    )
    place.update(changed)
    if draw(st.booleans()):
        header["grid"] = dict.fromkeys(("frames", "height", "width"), draw(NUMBERS))
    index["__metadata__"]["fastvmt"] = json.dumps(header)
    return joined(index, data)


def broken_header(draw, raw):
    """A header that is no JSON, or JSON that is no object, or nested too deeply, or long."""
    index, data = split(raw)
    text = draw(st.sampled_from(TEXTS) | NAMES)
    index["__metadata__"] = draw(st.sampled_from([{"fastvmt": text}, {}, {"another": text}]))
    return joined(index, data)


def padded(draw, raw):
    """More behind the end, or between the index and the data."""
    at = draw(st.sampled_from([len(raw), 8 + struct.unpack("<Q", raw[:8])[0]]))
    return raw[:at] + draw(st.binary(min_size=1, max_size=500)) + raw[at:]


def signed_lies(draw, raw):
    """Values that no motion holds, under a correct checksum: by an author who knows the format."""
    header, tensors = header_in(split(raw)[0]), load(raw)
    tensor = tensors[draw(st.sampled_from(sorted(tensors)))]
    if draw(st.booleans()) and tensor.is_floating_point():
        wrong = draw(st.sampled_from([float("nan"), float("inf"), 1e30, -1e30, 7.5, -3.0]))
        tensor.view(-1)[draw(st.integers(0, tensor.numel() - 1))] = wrong
    else:
        place, key = place_in(draw, header)
        place[key] = draw(VALUES)
    header["checksum"] = checksum(header, tensors)
    return save(tensors, metadata={"fastvmt": json.dumps(header)})


ALWAYS_REFUSED = (truncated, noise, long_index, broken_header, padded)
"""A file that lost its form is no motion any more."""
DAMAGES = (*ALWAYS_REFUSED, flipped, overwritten, lying_index, lying_header, signed_lies)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A file that holds whatever a motion can hold, and what it loads as."""
    path = tmp_path_factory.mktemp("strangers") / "motion.safetensors"
    everything().save(path)
    return path.read_bytes(), MotionEmbedding.load(path).as_file(), path.with_name("stranger.safetensors")


def peak():
    """The most memory that the process has had, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@given(data=st.data())
def test_a_damaged_file_is_refused_by_its_name_or_is_the_same_motion(good, damage, data):
    raw, motion, path = good
    path.write_bytes(damage(data.draw, raw))
    tracemalloc.start()
    since, largest = time.process_time(), peak()
    try:
        loaded = MotionEmbedding.load(path).as_file()
    except ValueError as error:
        assert str(error).startswith(f"{path.name}: ")
    else:
        assert damage not in ALWAYS_REFUSED
        # Only under a new signature is it another one.
        assert damage is signed_lies or (
            loaded.header == motion.header
            and loaded.tensors.keys() == motion.tensors.keys()
            and all(torch.equal(loaded.tensors[name], tensor) for name, tensor in motion.tensors.items())
        )
    finally:
        seconds, (_, used) = time.process_time() - since, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert seconds < MOST_SECONDS and max(used, peak() - largest) < MOST_BYTES


@given(
    name=st.sampled_from(["", "../", "/etc/passwd", "C:\\", "\\\\host\\", "link", "CON", "nul", "~"]).flatmap(
        lambda start: NAMES.map(lambda name: start + name)
    )
)
def test_no_name_leaves_its_folder(tmp_path_factory, name):
    outside = tmp_path_factory.getbasetemp() / "strangers"
    folder = outside / "motions"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "link").is_symlink():
        (folder / "link").symlink_to(outside)
    try:
        assert inside("motion", folder, name).resolve().is_relative_to(folder.resolve())
    except ValueError as error:
        assert str(error).startswith("motion: expected")
