"""The motion file: how a motion's header and tensors are written, and read from a file that nobody vouches for.

It is a safetensors file; its metadata holds one JSON header under "fastvmt". Nothing in it is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .fingerprint import bytes_of
from .header import Header, parse_json
from .parts import PARTS, dtype_names
from .targets import names_in_file

MAX_FILE_BYTES = 2**30
"""Larger files are refused unread; 81 frames of 480x832 with ten noise levels take about 20 MB."""
MAX_HEADER_BYTES = 2**20
"""Files whose index claims to be longer are refused before it is parsed; ten noise levels take about 8 kB."""
METADATA_KEY = "fastvmt"
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "U8": torch.uint8}
"""Names that a safetensors file gives to dtypes."""


@dataclass(frozen=True, eq=False)
class MotionFile:
    """What a motion file holds."""

    header: Header
    tensors: Mapping[str, Tensor]
    """By the names that `PARTS` and `targets` give them, on the CPU."""

    @property
    def checksum(self) -> str:
        """SHA-256 (hex) of everything in it, which its file names too."""
        return checksum(self.header.to_json(), self.tensors)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file whole or not at all: a reader never sees half of it.

        Raises:
            OSError: the folder is missing or full, or cannot be written.
            ValueError: it would be larger than what `read` takes.
        """
        size = sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())
        if size > MAX_FILE_BYTES - MAX_HEADER_BYTES:
            raise ValueError(
                f"motion: expected one of at most {MAX_FILE_BYTES - MAX_HEADER_BYTES} bytes to save, got {size}; read "
                "it at fewer sigmas or with a smaller temporal_span, or at a smaller size."
            )
        fields = {**self.header.to_json(), "checksum": self.checksum}
        path = Path(path)
        try:
            with _replacing(path) as temporary:
                save_file(dict(self.tensors), temporary, metadata={METADATA_KEY: json.dumps(fields)})
        except (SafetensorError, OSError) as error:
            # Of errors of the disk the library makes one of its own, which names a file of its own too.
            raise OSError(
                f"{path.name}: expected a folder with room that can be written, got {path.parent} ({error}); free some "
                "space, or give yourself the right to write there."
            ) from error

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> MotionFile:
        """Read what `write` wrote, bit for bit.

        Sizes are checked against the header and the header against itself before a tensor is read.

        Raises:
            ValueError: the file is missing, too large, cut off, of another kind or version, or was changed.
        """
        path = Path(path)
        _require_size(path)
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                fields = parse_json(_metadata(file.metadata()))
                header = Header.from_json(fields)
                _require_index(file, header)
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
        except (SafetensorError, OSError) as error:
            raise ValueError(f"expected a motion file, got one that cannot be read ({error}).") from error
        if fields["checksum"] != checksum(fields, tensors):
            raise ValueError("expected it as it was saved, got a changed file; save the motion again.")
        return cls(header, tensors)


def checksum(fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of everything in a file but the checksum itself."""
    covered = {name: value for name, value in fields.items() if name != "checksum"}
    digest = hashlib.sha256(json.dumps(covered, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(bytes_of(tensors[name]))
    return digest.hexdigest()


def _require_size(path: Path) -> None:
    if not path.is_file():
        raise ValueError("expected a motion file, got no file of that name; choose another.")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"expected a motion file of at most {MAX_FILE_BYTES} bytes, got {size}.")
    with path.open("rb") as file:
        index = int.from_bytes(file.read(8), "little")
    if index > MAX_HEADER_BYTES:
        raise ValueError(
            f"expected a motion file, got one that cannot be read (an index of {index} bytes, at most "
            f"{MAX_HEADER_BYTES} are taken)."
        )


def _metadata(metadata: Mapping[str, str] | None) -> str:
    if not metadata or METADATA_KEY not in metadata:
        raise ValueError("expected a motion file, got a safetensors file of another kind.")
    return metadata[METADATA_KEY]


def _require_index(file: safe_open, header: Header) -> None:
    """Refuse names, shapes and dtypes that the header does not announce, from the file's index alone."""
    # The index is small whatever it claims; only once it fits the header is a tensor allocated.
    part_of = {name: part for part in PARTS for name in part.names(len(header.sigmas))}
    targets = names_in_file(header.targets, len(header.sigmas))
    names = set(file.keys())
    missing = ({name for name, part in part_of.items() if part.required} | set(targets)) - names
    unknown = names - set(part_of) - set(targets)
    if missing or unknown:
        raise ValueError(
            f"expected a tensor a part, missing {sorted(missing)!s:.200}, unknown {sorted(unknown)!s:.200}."
        )
    for name, shape in targets.items():
        entry = file.get_slice(name)
        if tuple(entry.get_shape()) != shape or _DTYPES.get(entry.get_dtype()) != torch.float32:
            raise ValueError(f"{name}: expected float32 of shape {shape}, got {entry.get_dtype()} {entry.get_shape()}.")
    for name in sorted(names - set(targets)):
        part, entry = part_of[name], file.get_slice(name)
        part.require_shape(name, tuple(entry.get_shape()), header)
        if _DTYPES.get(entry.get_dtype()) not in part.dtypes:
            raise ValueError(f"{name}: expected the dtype {dtype_names(part.dtypes)}, got {entry.get_dtype()}.")


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put a file's name before the message of every `ValueError` that reading it raises."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{Path(path).name}: {error}") from error


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that replaces it when the block ends well, and is deleted otherwise."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
