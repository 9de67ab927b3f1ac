"""What a run is made from: code, graph and model files, each known by a digest, so that old runs are reused safely."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmarks.runs.in_process import Host
from tools.demo.transfer import node
from tools.host.client import Graph
from tools.host.layout import REPO

SOURCES = (
    "fastvmt_core/**/*.py",
    "nodes/**/*.py",
    *(f"tools/train/{name}.py" for name in ("clips", "patterns", "track", "classifier")),
    *(
        f"benchmarks/runs/{name}.py"
        for name in (
            *("bench", "camera", "host_graph", "in_process", "measures", "quick_cpu", "references", "research"),
            "tuning",
        )
    ),
)
"""Code that decides the numbers of a run: runs of other code are not reused."""


@dataclass(frozen=True)
class Loader:
    """The node of the demo's graph that loads a model file: its title, its input, and the folder of the models."""

    node: str
    input: str
    folder: str


LOADERS = {"model": Loader("Model", "unet_name", "diffusion_models"), "vae": Loader("VAE", "vae_name", "vae")}


def sources() -> list[Path]:
    """The files of SOURCES.

    Raises:
        RuntimeError: a pattern matches no file; its digest would stand for nothing.
    """
    files = {pattern: sorted(REPO.glob(pattern)) for pattern in SOURCES}
    missing = [pattern for pattern, matches in files.items() if not matches]
    if missing:
        raise RuntimeError(f"SOURCES: expected files for every pattern, got none for {', '.join(missing)}.")
    return [file for matches in files.values() for file in matches]


@lru_cache
def code_digest() -> str:
    """16 hex digits of all code that decides the numbers of a run."""
    digest = hashlib.sha256()
    for file in sources():
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@lru_cache
def file_digest(file: Path) -> str:
    """16 hex digits of a file's SHA-256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def files_digest(files: Iterable[Path]) -> str:
    """16 hex digits of these files, in this order."""
    return hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()[:16]


def model_files(graph: Graph, given: Mapping[str, str | None]) -> dict[str, Path]:
    """The graph's model files by their names in LOADERS, or those that are ``given`` instead."""
    names = {kind: node(graph, loader.node)["inputs"][loader.input] for kind, loader in LOADERS.items()}
    return {kind: find_model(kind, given.get(kind) or name) for kind, name in names.items()}


def find_model(kind: str, name: str) -> Path:
    """The absolute file of ``name``: a path, or a name beside the demo's models.

    Raises:
        ValueError: there is no such file.
    """
    for file in (Path(name), REPO / "assets" / "models" / LOADERS[kind].folder / name):
        if file.is_file():
            return file.resolve()
    raise ValueError(f"{kind}: expected a file or the name of one of the demo's, got {name!r}.")


def use_models(graph: Graph, files: Mapping[str, Path], host: Host) -> None:
    """The graph's loaders load these files from now on."""
    for kind, file in files.items():
        loader = LOADERS[kind]
        node(graph, loader.node)["inputs"][loader.input] = host.offer(loader.folder, file)
