"""Damaged and hostile motion files, by the thousand: ``python -m tools.fuzz_motion --count 100000 --json OUT``.

Each file is a good one, damaged in one manner. Loading must refuse it with a ValueError that names the file, or give
a motion equal to the good one, in under a second and 100 MB. Seeded: the same seed makes the same files.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import struct
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.config import AMFConfig
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.about import About
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.file import checksum
from fastvmt_core.motion.file_names import inside
from fastvmt_core.motion.fingerprint import ModelFingerprint, hash_of_reference

MOST_SECONDS = 1.0
MOST_BYTES = 100 * 2**20
NAME = "motion.safetensors"
SIGNS = "walk.safetensors/\\..:CON\0nul~%2e\u202e é"
HOSTILE_NAMES = "..|../x|/etc/passwd|C:\\x|\\\\host\\x|link.safetensors|CON|nul.safetensors|a\0b|~".split("|")
NUMBERS = (-1, 0, 1, 3, 5, 40, 2**31, 2**32 + 1, 10**10, 2**62, 2**63 - 1, 2**64)
VALUES = (None, True, -1, 0, 10**12, 2**70, 1.5, float("nan"), float("inf"), "")
TEXTS = ("", "null", "[]", "1e999", "NaN", '{"format":', "[" * 50_000, '{"a":' * 20_000, "\\", "9" * 5000)
"""In place of our header."""

Damage = Callable[[bytes, random.Random], bytes]


def good_file(folder: Path) -> bytes:
    """The file of a small motion with every optional part."""
    generator = torch.Generator().manual_seed(0)
    config = AMFConfig(temporal_span=2, window=3, tile=(2, 3))
    q, k = torch.randn(2, 3, 4, 5, 2, 4, generator=generator).unbind()
    flow = attention_motion_flow(q, k, config, window_keys=False)
    latent = torch.randn(1, 16, 3, 8, 10, generator=generator)
    motion = MotionEmbedding(
        flows=(flow,),
        sigmas=(0.3,),
        grid=TokenGrid(3, 4, 5),
        config=config,
        seed=1,
        fingerprint=ModelFingerprint("WanModel", dim=256, heads=2, depth=6, block=3, latent_channels=16),
        reference=latent,
        reference_hash=hash_of_reference(latent),
        cuts=(1,),
        static_bias=(torch.zeros_like(flow.displacement),),
        backward=(flow.displacement.clone(),),
        frame_flow=torch.zeros(2, 2, 4, 5, 2),
        mask=torch.ones(3, 4, 5),
        about=About("walk", "to the left", 80, 64, 16.0),
        thumbnail=torch.zeros(4, 5, 3, dtype=torch.uint8),
    )
    path = folder / NAME
    motion.save(path)
    return path.read_bytes()


def split(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """The file's index and its data."""
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def joined(index: object, data: bytes) -> bytes:
    """A file of any index and data."""
    text = json.dumps(index).encode()
    return struct.pack("<Q", len(text)) + text + data


def truncated(raw: bytes, chance: random.Random) -> bytes:
    """Cut off anywhere."""
    return raw[: chance.randrange(len(raw))]


def flipped(raw: bytes, chance: random.Random) -> bytes:
    """One to eight bits turned."""
    damaged = bytearray(raw)
    for _ in range(chance.randint(1, 8)):
        # Half of them in the header, which is small.
        at = chance.randrange(len(raw) if chance.random() < 0.5 else 2500)
        damaged[at] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def overwritten(raw: bytes, chance: random.Random) -> bytes:
    """A stretch of noise."""
    damaged, start = bytearray(raw), chance.randrange(len(raw))
    noise = chance.randbytes(chance.randint(1, 200))
    damaged[start : start + len(noise)] = noise
    return bytes(damaged)


def noise(raw: bytes, chance: random.Random) -> bytes:
    """Nothing but noise, sometimes behind a plausible length."""
    body = chance.randbytes(chance.randint(0, 4000))
    return struct.pack("<Q", chance.randint(0, len(body) + 8)) + body if chance.random() < 0.5 else body


def long_header(raw: bytes, chance: random.Random) -> bytes:
    """A header that claims any length."""
    claim = chance.choice((2**63, 2**64 - 1, 10 * 2**30, 2**31, 10**8, len(raw), len(raw) - 8, 0))
    return struct.pack("<Q", claim) + raw[8:]


def lying_index(raw: bytes, chance: random.Random) -> bytes:
    """False shapes, types, places and names of tensors, up to claims of petabytes."""
    index, data = split(raw)
    name = chance.choice([key for key in index if key != "__metadata__"])
    entry = index[name]
    kind = chance.randrange(6)
    if kind == 0:
        entry["shape"] = [_number(chance) for _ in range(chance.randint(0, 6))]
    elif kind == 1:
        entry["data_offsets"] = [_number(chance), _number(chance)]
    elif kind == 2:
        entry["dtype"] = chance.choice(("F64", "I64", "BOOL", "U8", "F8_E4M3", "BF16", "F16", "XX", "", 3))
    elif kind == 3:
        index[_text(chance)] = index.pop(name)
    elif kind == 4:
        del index[name]
    else:
        entry["shape"], entry["data_offsets"] = [10 * 2**28], [0, 10 * 2**30]
    return joined(index, data)


def lying_header(raw: bytes, chance: random.Random) -> bytes:
    """Our own header with changed, added or removed fields, of another type or nested deeply."""
    index, data = split(raw)
    header = json.loads(index["__metadata__"]["fastvmt"])
    place = chance.choice((header, header["grid"], header["config"], header["fingerprint"], header["about"]))
    key = chance.choice(list(place))
    kind = chance.randrange(4)
    if kind == 0:
        place[key] = _anything(chance)
    elif kind == 1:
        del place[key]
    elif kind == 2:
        place[_text(chance)] = _anything(chance)
    else:
        for name in ("frames", "height", "width"):
            header["grid"][name] = chance.choice((1, 3, 10**6, 10**12, 2**70))
    index["__metadata__"]["fastvmt"] = json.dumps(header)
    return joined(index, data)


def broken_header(raw: bytes, chance: random.Random) -> bytes:
    """A header that is no JSON, or JSON that is no object, or nested too deeply, or megabytes long."""
    index, data = split(raw)
    text = chance.choice(TEXTS)
    index["__metadata__"] = chance.choice(({"fastvmt": text}, {}, {"fastvmt": _text(chance)}, {_text(chance): text}))
    return joined(index, data)


def padded(raw: bytes, chance: random.Random) -> bytes:
    """More behind the end, or between header and data."""
    extra = chance.randbytes(chance.randint(1, 500))
    if chance.random() < 0.5:
        return raw + extra
    at = 8 + struct.unpack("<Q", raw[:8])[0]
    return raw[:at] + extra + raw[at:]


def signed_lies(raw: bytes, chance: random.Random) -> bytes:
    """Values that no motion holds, under a correct checksum: files by strangers who know the format."""
    index, _ = split(raw)
    header, tensors = json.loads(index["__metadata__"]["fastvmt"]), load(raw)
    if chance.random() < 0.5:
        tensor = tensors[chance.choice(list(tensors))]
        if tensor.is_floating_point():
            value = chance.choice((float("nan"), float("inf"), 1e30, -1e30, 7.5, -3.0))
            tensor.view(-1)[chance.randrange(tensor.numel())] = value
    else:
        place = chance.choice((header, header["grid"], header["config"], header["fingerprint"], header["about"]))
        place[chance.choice(list(place))] = _anything(chance)
    header["checksum"] = checksum(header, tensors)
    return save(tensors, metadata={"fastvmt": json.dumps(header)})


_ALL = (
    truncated,
    flipped,
    overwritten,
    noise,
    long_header,
    lying_index,
    lying_header,
    broken_header,
    padded,
    signed_lies,
)
DAMAGES: dict[str, Damage] = {damage.__name__: damage for damage in _ALL}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make and load the files; 1 where one broke a bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000, help="files (default: 3000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the counts")
    options = parser.parse_args(arguments)
    report = fuzz(options.count, options.seed)
    text = json.dumps(report, indent=1) + "\n"
    print(text, end="")
    if options.json:
        options.json.write_text(text, encoding="utf-8")
    return 1 if report["failures"] else 0


def fuzz(count: int, seed: int) -> dict[str, Any]:
    """Load `count` damaged files and as many hostile names; counts, the slowest, the largest, and the failures."""
    chance = random.Random(seed)
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in (*DAMAGES, "name")}
    failures: list[str] = []
    slowest = largest = 0.0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "motions"
        folder.mkdir()
        (Path(made) / "outside.safetensors").write_bytes(b"outside")
        (folder / "link.safetensors").symlink_to(Path(made) / "outside.safetensors")
        raw = good_file(folder)
        path = folder / NAME
        good = MotionEmbedding.load(path)
        kinds = list(DAMAGES)
        before = _resident()
        tracemalloc.start()
        for number in range(count):
            kind = kinds[number % len(kinds)]
            path.write_bytes(DAMAGES[kind](raw, chance))
            tracemalloc.reset_peak()
            traced = tracemalloc.get_traced_memory()[0]
            started = time.perf_counter()
            # Only a change under a new signature may load as another motion.
            outcome = _loaded(path, None if kind == "signed_lies" else good)
            seconds = time.perf_counter() - started
            used = tracemalloc.get_traced_memory()[1] - traced
            slowest, largest = max(slowest, seconds), max(largest, used)
            outcomes[kind][outcome.partition(":")[0]] += 1
            broke = [outcome] if outcome.startswith("wrong") else []
            broke += [f"{seconds:.2f} s"] if seconds > MOST_SECONDS else []
            broke += [f"{used / 2**20:.0f} MB"] if used > MOST_BYTES else []
            if broke:
                failures.append(f"{kind}, number {number}: {', '.join(broke)}")
            outcomes["name"][_named(folder, _name(chance))] += 1
        tracemalloc.stop()
        grown = _resident() - before
    if outcomes["name"]["left the folder"]:
        failures.append(f"{outcomes['name']['left the folder']} names left the folder")
    if grown > MOST_BYTES:
        failures.append(f"the process grew by {grown / 2**20:.0f} MB")
    return {
        "files": count,
        "seed": seed,
        "outcomes": {kind: dict(sorted(counts.items())) for kind, counts in outcomes.items()},
        "slowest_ms": round(1000 * slowest, 1),
        "largest_mb": round(largest / 2**20, 2),
        "process_grew_mb": round(grown / 2**20, 1),
        "failures": failures[:20],
    }


def _resident() -> int:
    """The largest the process has been, bytes; torch's and safetensors' own memory counts too."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _loaded(path: Path, good: MotionEmbedding | None) -> str:
    """The outcome of loading: refused, loaded (a motion equal to the good one, if given), or wrong."""
    try:
        motion = MotionEmbedding.load(path)
    except ValueError as error:
        return (
            "refused" if str(error).startswith(f"{path.name}: ") else f"wrong: a ValueError that names no file: {error}"
        )
    except BaseException as error:
        return f"wrong: {type(error).__name__}: {error!s:.200}"
    return "loaded" if good is None or _equal(motion, good) else "wrong: another motion under a correct checksum"


def _equal(motion: MotionEmbedding, good: MotionEmbedding) -> bool:
    ours, theirs = motion.as_file(), good.as_file()
    same = ours.header == theirs.header and set(ours.tensors) == set(theirs.tensors)
    return same and all(torch.equal(ours.tensors[name], theirs.tensors[name]) for name in theirs.tensors)


def _named(folder: Path, name: str) -> str:
    """The outcome of a name: refused, inside the folder, or left it."""
    try:
        path = inside("motion", folder, name)
    except ValueError:
        return "refused"
    return "inside" if path.resolve().is_relative_to(folder.resolve()) else "left the folder"


def _name(chance: random.Random) -> str:
    return chance.choice(HOSTILE_NAMES) + _text(chance) if chance.random() < 0.3 else _text(chance)


def _text(chance: random.Random) -> str:
    return "".join(chance.choice(SIGNS) for _ in range(chance.randint(0, 24)))


def _number(chance: random.Random) -> int:
    return chance.choice(NUMBERS)


def _anything(chance: random.Random) -> object:
    text = _text(chance)
    return chance.choice((*VALUES, text, [], [1, 2], {}, {"a": 1}, [[[]]]))


if __name__ == "__main__":
    sys.exit(main())
