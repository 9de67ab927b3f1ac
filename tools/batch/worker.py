"""A box: one headless ComfyUI that keeps its model loaded from job to job. Knows nothing of Ray."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.host.client import Client, Graph, JobError
from tools.host.layout import Layout, link, make_base
from tools.host.server import Server

SCRATCH = "batch-"
"""How base directories of boxes begin; the host's name and the owner's process id follow."""
FLAGS = ("--disable-metadata",)
"""So that a job gives the same bytes wherever its motion came from; its graph is kept beside its files."""

Content = Callable[[], bytes]
"""Gives a file's bytes; asked only by a box that lacks the file."""


@dataclass(frozen=True)
class Order:
    """What a box is to run. ``files``: path below its base directory -> content; ``fetch``: files to bring back."""

    graph: Graph
    files: Mapping[str, Content] = field(default_factory=dict)
    fetch: Sequence[str] = ()


@dataclass(frozen=True)
class Result:
    """What came of it. ``files``: (node id, file name, bytes) that nodes saved; ``texts`` shown, by node id;
    ``seconds`` by node type, of nodes that really ran; ``fetched`` as asked. ``error``: why there is nothing."""

    host: str
    files: Sequence[tuple[str, str, bytes]] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    fetched: Mapping[str, bytes] = field(default_factory=dict)
    error: str | None = None


class Box:
    """One ComfyUI on this machine, with ``threads`` CPU threads and the GPU that the process sees.

    ``comfyui_base`` is a folder with models/ and custom_nodes/ of its owner's, used and never changed.
    """

    def __init__(self, threads: int = 1, comfyui_base: str | None = None) -> None:
        self._threads = threads
        self._own = None if comfyui_base is None else Path(comfyui_base).expanduser().resolve()
        self._host = socket.gethostname()

    def start(self) -> None:
        """Start ComfyUI. Raises ServerError if it does not start, OSError without the owner's folder."""
        layout = Layout.of()
        layout.host.mkdir(parents=True, exist_ok=True)
        _sweep(layout.host, self._host)
        for variable in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
            os.environ[variable] = str(self._threads)
        self._base = layout.host / f"{SCRATCH}{self._host}-{os.getpid()}"
        make_base(self._base, layout)
        extra = [*FLAGS, *_owners_models(self._base, self._own)]
        self._server = Server(extra=extra, base=self._base, layout=layout, ends_with_owner=True)
        self._server.__enter__()
        self._client = Client(self._server.url)

    def run(self, order: Order) -> Result:
        """Run a graph. A graph that fails is a Result with its error; anything else that is raised is the box's end."""
        for place, content in order.files.items():
            _place(self._base / place, content)
        watch = _Watch(order.graph)
        try:
            history = self._client.run(order.graph, watch.on_event)
        except JobError as error:
            self._empty_output()
            return Result(self._host, error=str(error))
        saved = [
            (node, file["filename"], self._client.view(file))
            for node in history.outputs
            for file in history.files(node)
            if file.get("type") == "output"
        ]
        texts = {node: shown["text"][0] for node, shown in history.outputs.items() if shown.get("text")}
        self._empty_output()
        fetched = {name: (self._base / name).read_bytes() for name in order.fetch}
        return Result(self._host, saved, texts, watch.seconds, fetched)

    def stop(self) -> None:
        """End ComfyUI and remove its folder."""
        self._client.close()
        self._server.stop()
        shutil.rmtree(self._base, ignore_errors=True)

    def _empty_output(self) -> None:
        shutil.rmtree(self._base / "output", ignore_errors=True)
        (self._base / "output").mkdir()


class _Watch:
    """Seconds by node type, of the nodes that ran; those whose result was still known do not count."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.seconds: dict[str, float] = {}
        self._now: str | None = None
        self._since = 0.0

    def on_event(self, kind: str, data: dict[str, Any]) -> None:
        if kind != "executing":
            return
        now = time.monotonic()
        if self._now is not None:
            name = self._graph[self._now]["class_type"]
            self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self._since, 4)
        self._now, self._since = data.get("node"), now


def _place(path: Path, content: Content) -> None:
    """Put a file where ComfyUI looks for it, unless it is there: names are digests of contents."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not beside its end: ComfyUI lists that folder's files.
        partial = path.parents[1] / f"partial-{path.name}"
        partial.write_bytes(content())
        os.replace(partial, path)


def _owners_models(base: Path, own: Path | None) -> list[str]:
    """ComfyUI's arguments for the models of its owner's folder; the custom nodes there are linked."""
    if own is None:
        return []
    if not (own / "models").is_dir():
        raise FileNotFoundError(
            f"--comfyui-base: expected a folder that holds models/, got {own} on {socket.gethostname()}"
        )
    folders = "".join(f"  {each.name}: {each.name}/\n" for each in sorted((own / "models").iterdir()) if each.is_dir())
    paths = base / "owners_models.yaml"
    paths.write_text(f'owner:\n  base_path: "{own / "models"}"\n{folders}', encoding="utf-8")
    ours = Layout.of().repo.resolve()
    for pack in (own / "custom_nodes").glob("*"):
        if pack.resolve() != ours and not (base / "custom_nodes" / pack.name).exists():
            link(base / "custom_nodes" / pack.name, pack)
    return ["--extra-model-paths-config", str(paths)]


def _sweep(folder: Path, host: str) -> None:
    """Remove what boxes of this machine have left whose process was killed."""
    for left in folder.glob(f"{SCRATCH}{host}-*"):
        with contextlib.suppress(PermissionError):
            try:
                os.kill(int(left.name.rpartition("-")[2]), 0)
            except ProcessLookupError:
                shutil.rmtree(left, ignore_errors=True)
