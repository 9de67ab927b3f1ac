"""One motion transfer through a running ComfyUI: its graph, its events, its clips."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from tools.host.client import Client, Graph, History
from tools.host.layout import REPO
from tools.train.clips import Floats

GRAPH = REPO / "assets" / "api" / "tiny_motion_transfer.json"
RUNS = ("unguided", "guided")


@dataclass
class Recorder:
    """The events of a graph while it runs; give ``on_event`` to the client.

    ``guidance`` is the event with which guidance starts, ``steps`` one event for each guided step, ``seconds`` the
    time in each node, by its title. ``watch`` gets (title, done, of) as nodes start and progress.
    """

    graph: Graph
    watch: Callable[[str, int, int], None] | None = None
    guidance: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    _now: str | None = None
    _since: float = 0.0

    def on_event(self, kind: str, data: dict[str, Any]) -> None:
        """Keep one event of the server."""
        if kind == "executing":
            self._next(data.get("node"))
        elif kind == "progress" and self.watch:
            self.watch(title(self.graph, data["node"]), data["value"], data["max"])
        elif kind == "fastvmt.guidance":
            self.guidance = data
        elif kind == "fastvmt.guided_step":
            self.steps.append(data)

    def _next(self, node: str | None) -> None:
        now = time.monotonic()
        if self._now is not None:
            self.seconds[self._now] = self.seconds.get(self._now, 0.0) + now - self._since
        self._now = None if node is None else title(self.graph, node)
        self._since = now
        if self._now is not None and self.watch:
            self.watch(self._now, 0, 0)


@dataclass(frozen=True)
class Transfer:
    """The result: ``frames`` and ``videos`` (MP4 files' bytes) by run, and the record of the events.

    Frames are (T, H, W, 3) float32 in [0, 1], as the server decoded them.
    """

    frames: dict[str, Floats]
    videos: dict[str, bytes]
    record: Recorder


def load_graph(reference: str, prompt: str, seed: int) -> Graph:
    """The demo's graph for one reference (its name on the server), prompt and seed."""
    graph = json.loads(GRAPH.read_text(encoding="utf-8"))
    node(graph, "Reference video")["inputs"]["file"] = reference
    node(graph, "Prompt")["inputs"]["prompt"] = prompt
    for run in RUNS:
        node(graph, f"Sample {run}")["inputs"]["seed"] = seed
    return graph


def transfer(client: Client, graph: Graph, watch: Callable[[str, int, int], None] | None = None) -> Transfer:
    """The result of a graph of ``load_graph``.

    Raises:
        JobError: the server refuses it, or one of its nodes fails.
    """
    record = Recorder(graph, watch)
    history = client.run(graph, record.on_event)
    frames = {run: read_frames(client, history, graph, run) for run in RUNS}
    videos = {run: client.view(history.files(node_id(graph, f"Video {run}"))[0]) for run in RUNS}
    return Transfer(frames, videos, record)


def title(graph: Graph, identity: str) -> str:
    """The title of a node."""
    return graph[identity]["_meta"]["title"]


def node_id(graph: Graph, name: str) -> str:
    """The id of the node titled ``name``.

    Raises:
        KeyError: there is none.
    """
    for identity in graph:
        if title(graph, identity) == name:
            return identity
    raise KeyError(name)


def node(graph: Graph, name: str) -> dict[str, Any]:
    """The node titled ``name``."""
    return graph[node_id(graph, name)]


def read_frames(client: Client, history: History, graph: Graph, run: str) -> Floats:
    """The frames of one run, (T, H, W, 3) float32 in [0, 1], as the server decoded them."""
    files = history.files(node_id(graph, f"Frames {run}"))
    images = [Image.open(io.BytesIO(client.view(file))).convert("RGB") for file in files]
    return np.stack([np.asarray(image, np.float32) / 255 for image in images])
