"""An executor of API-format graphs in this process: links resolved, results cached by what they were made from."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.runs.cache import Cache
from tools.host.client import Graph

Event = tuple[str, dict[str, Any]]
"""Kind and data of a message that a node sent while it ran."""


@dataclass(frozen=True, eq=False)
class Result:
    """The outputs of one node. ``signature`` names everything that they were made from.

    ``cpu_seconds`` is the time of this process alone, which others on the machine disturb less.
    """

    signature: str
    outputs: tuple[Any, ...]
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    events: tuple[Event, ...] = ()


class Executor:
    """Runs nodes as the host does, under inference mode, and each one once for the same inputs.

    Args:
        classes: node classes by class type, V1 and V3.
        drain: the messages that nodes have sent since the last call, each once.
        size: results kept, those least recently asked for go first. One run of the demo's graph makes 14.
    """

    def __init__(
        self, classes: Mapping[str, type], drain: Callable[[], Iterable[Event]] = tuple, size: int = 48
    ) -> None:
        self._classes = classes
        self._drain = drain
        self._results: Cache[Result] = Cache(size)

    def run(
        self,
        graph: Graph,
        identity: str,
        feeds: Mapping[str, Result] | None = None,
        salts: Mapping[str, str] | None = None,
    ) -> Result:
        """The result of one node and of all that it needs.

        Args:
            graph: node id -> {"class_type", "inputs"}.
            identity: the node's id.
            feeds: results given in place of a node's own, by its id.
            salts: by class type, what else a result depends on (a patched function).

        Raises:
            ValueError: the graph has no such node, or a class is unknown.
        """
        return self._run(graph, identity, dict(feeds or {}), salts or {})

    def _run(self, graph: Graph, identity: str, done: dict[str, Result], salts: Mapping[str, str]) -> Result:
        if identity in done:
            return done[identity]
        if identity not in graph:
            raise ValueError(f"graph: expected the id of a node, got {identity!r}.")
        node = graph[identity]
        inputs, made_from = {}, {}
        for name, value in node["inputs"].items():
            if is_link(graph, value):
                source = self._run(graph, value[0], done, salts)
                inputs[name] = source.outputs[value[1]]
                made_from[name] = _origin(source, value[1])
            else:
                inputs[name], made_from[name] = value, ["is", value]
        signature = _digest([node["class_type"], salts.get(node["class_type"], ""), made_from])
        done[identity] = self._results.get(signature, lambda: self._call(graph, identity, inputs, signature))
        return done[identity]

    def _call(self, graph: Graph, identity: str, inputs: Mapping[str, Any], signature: str) -> Result:
        node = self._class(graph, identity)
        self._drain()
        started, cpu_started = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            outputs = call_node(node, identity, inputs)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        return Result(signature, outputs, seconds, cpu_seconds, tuple(self._drain()))

    def _class(self, graph: Graph, identity: str) -> type:
        kind = graph[identity]["class_type"]
        if kind not in self._classes:
            raise ValueError(f"graph: expected a known node class, got {kind!r} (node {identity}).")
        return self._classes[kind]


def is_link(graph: Graph, value: object) -> bool:
    """True for the output of another node, [id, index]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in graph


def call_node(node: type, identity: str, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The outputs of one node class for these inputs."""
    if hasattr(node, "define_schema"):
        # V3: methods of a class of its own, which carries what only the host knows.
        owner = type(node.__name__, (node,), {"hidden": SimpleNamespace(unique_id=identity)})
    else:
        owner = node()
    result = getattr(owner, node.FUNCTION)(**inputs)
    if inspect.isawaitable(result):
        result = asyncio.run(_awaited(result))
    if isinstance(result, dict):
        return tuple(result.get("result", ()))
    return tuple(result if isinstance(result, (tuple, list)) else result.args)


async def _awaited(result: Any) -> Any:  # noqa: ANN401
    return await result


def _origin(source: Result, index: int) -> list[Any]:
    """What stands for another node's output in a signature: its value if that is a number or a text, else its source.

    A size that references were fitted to is then the same for all of them.
    """
    value = source.outputs[index]
    return ["is", value] if isinstance(value, (int, float, str)) else ["from", source.signature, index]


def _digest(made_from: list[Any]) -> str:
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
