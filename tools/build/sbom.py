"""sbom.json: what an installed pack holds and needs, with versions, hashes and licences, as CycloneDX lists it.

Of the source tree alone, so that the same tree gives the same file.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from tools.host.layout import REPO
from tools.host.prepare import LOCK

FILE = REPO / "sbom.json"
WEIGHTS = ("assets/models", "assets/motions", "assets/reference.mp4")
"""What is shipped and is no text: weights, a motion and a clip, all made by this project from drawn clips."""
OWN = "MIT"
LICENCES = {
    "torch": "BSD-3-Clause",
    "einops": "MIT",
    "safetensors": "Apache-2.0",
    "kornia": "Apache-2.0",
    "opencv-python-headless": "Apache-2.0",
    "c2pa-python": "MIT OR Apache-2.0",
}
"""Of the packages that the nodes use; none of them is shipped."""
OPTIONAL = ("opencv-python-headless", "c2pa-python")


def make(file: Path = FILE) -> None:
    """Write the file."""
    file.write_text(json.dumps(described(), indent=1) + "\n", encoding="utf-8")


def described() -> dict[str, Any]:
    """The document."""
    text = (REPO / "pyproject.toml").read_text(encoding="utf-8")
    name, version = (re.search(rf'^{key} = "(.+)"', text, re.MULTILINE).group(1) for key in ("name", "version"))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": name, "version": version, **_licence(OWN)}},
        "components": [*map(_file, shipped()), *(_package(each) for each in LICENCES)],
    }


def shipped() -> list[Path]:
    """The files that are no text, in an order of their own."""
    found = [REPO / place for place in WEIGHTS]
    inside = [path for place in found for path in ([place] if place.is_file() else place.rglob("*"))]
    left_out = (REPO / ".comfyignore").read_text(encoding="utf-8").split()
    return sorted(
        path
        for path in inside
        if path.suffix in (".safetensors", ".mp4")
        and not any(path.is_relative_to(REPO / each) for each in left_out if each.endswith("/"))
    )


def pinned(package: str) -> str:
    """The version that is tested, of the newest Python."""
    text = (REPO / LOCK).read_text(encoding="utf-8")
    return re.findall(rf"^{re.escape(package)}==([^;\s]+)", text, re.MULTILINE)[-1]


def _file(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    kind = "data" if path.suffix == ".mp4" else "machine-learning-model"
    return {
        "type": kind,
        "name": path.relative_to(REPO).as_posix(),
        "hashes": [{"alg": "SHA-256", "content": digest}],
        **_licence(OWN),
    }


def _package(package: str) -> dict[str, Any]:
    version = pinned(package)
    return {
        "type": "library",
        "name": package,
        "version": version,
        "purl": f"pkg:pypi/{package}@{version}",
        "scope": "optional" if package in OPTIONAL else "required",
        **_licence(LICENCES[package]),
    }


def _licence(expression: str) -> dict[str, Any]:
    return {"licenses": [{"expression": expression}]}
