"""Files that are whole or not there, and names made of what is in them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"
"""How the names of files and folders begin that are being written."""


def digest_of(value: Any) -> str:  # noqa: ANN401  (anything that JSON can hold)
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_of_bytes(content: bytes) -> str:
    """SHA-256 of a content."""
    return hashlib.sha256(content).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees a part of it, and so that it is still there after a power cut."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=PARTIAL, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def write_folder(path: Path, files: Mapping[str, bytes], replace: bool) -> None:
    """Make a folder of ``files``, whole or not at all; one that is there is replaced, or left as it is."""
    work = Path(tempfile.mkdtemp(dir=path.parent, prefix=PARTIAL))
    try:
        for name, content in files.items():
            with (work / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        work.chmod(0o755)
        if replace and path.exists():
            shutil.rmtree(path)
        try:
            os.rename(work, path)
        except OSError:
            # Somebody else has made it meanwhile, of the same content.
            if replace or not path.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def drop_partial(folder: Path) -> None:
    """Remove what a killed program left half written in ``folder``. Nobody else may be writing there."""
    for left in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
