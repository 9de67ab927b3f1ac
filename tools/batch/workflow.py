"""A workflow in API format as a form to fill in: where its clip, prompt and seed go, and what else a job may change."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.host.client import Graph

ENCODE, INVERT, LOAD = "FastVMTEncodeReference", "FastVMTInvertMotion", "FastVMTLoadMotion"
FILE_INPUTS = {"LoadVideo": "file", "LoadImage": "image", "LoadImageMask": "image", "LoadAudio": "audio"}
"""Inputs that name a file in ComfyUI's input folder, by their node's type: these files travel with a job."""
TEXTS = ("text", "prompt")
"""Inputs that hold a prompt."""
SEEDS = ("seed", "noise_seed")
NO_SAMPLERS = (INVERT, "FastVMTFindBlock", "FastVMTRefreshMotion")
"""Nodes whose seed is no generation's."""
MOTION_FOLDER = "models/fastvmt_motion"
ADDED = "batch_"
"""How the ids of nodes begin that a batch adds."""

Value = str | int | float | bool


class WorkflowError(ValueError):
    """A workflow, or what a job asks of it, that does not fit; the message says what to change."""


@dataclass(frozen=True)
class JobText:
    """What a job line asks for. ``overrides``: "node.input" -> value. Paths are absolute; None: as in the workflow."""

    reference: Path | None = None
    motion: Path | None = None
    prompt: str | None = None
    seed: int | None = None
    overrides: Mapping[str, Value] = field(default_factory=dict)


def read_workflow(path: Path) -> Graph:
    """The graph of a file in API format.

    Raises:
        WorkflowError: it cannot be read, or has another format.
    """
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkflowError(f"{path}: expected a workflow in API format: {error}") from None
    if isinstance(graph, dict) and "nodes" in graph and "links" in graph:
        raise WorkflowError(f"{path}: this is the page's format; in ComfyUI choose Workflow > Export (API)")
    nodes = graph.values() if isinstance(graph, dict) and graph else [None]
    if not all(
        isinstance(node, dict) and "class_type" in node and isinstance(node.get("inputs"), dict) for node in nodes
    ):
        raise WorkflowError(f"{path}: expected nodes with class_type and inputs; export it by Workflow > Export (API)")
    return graph


def filled(workflow: Graph, job: JobText) -> Graph:
    """The workflow with a job's clip, prompt, seed and overrides; files are named by their paths.

    Raises:
        WorkflowError: the workflow has no place, or several, for something that the job names.
    """
    graph = copy.deepcopy(workflow)
    if job.reference is not None:
        _set_reference(graph, str(job.reference))
    if job.motion is not None:
        _set_motion(graph, str(job.motion))
    if job.prompt is not None:
        identity, name = _only("prompt", prompt_inputs(graph))
        graph[identity]["inputs"][name] = job.prompt
    if job.seed is not None:
        seeds = seed_inputs(graph)
        if not seeds:
            raise WorkflowError('seed: the workflow has no sampler with a seed; name its input, as in "12.seed"')
        for identity, name in seeds:
            graph[identity]["inputs"][name] = job.seed
    for place, value in job.overrides.items():
        identity, _, name = place.partition(".")
        graph[identity]["inputs"][name] = value
    return graph


def checked_override(workflow: Graph, place: str, value: Value) -> Value:
    """The value for an input, as the type that the workflow has there; a CSV's text becomes a number.

    Raises:
        WorkflowError: there is no such input, or it has another type.
    """
    identity, _, name = place.partition(".")
    node = workflow.get(identity)
    if node is None:
        raise WorkflowError(f'"{place}": the workflow has no node {identity}; it has {", ".join(workflow)}')
    if name not in node["inputs"]:
        has = ", ".join(node["inputs"])
        raise WorkflowError(f'"{place}": {node["class_type"]} has no input {name} in this workflow; it has {has}')
    return _as(node["inputs"][name], place, value)


def _as(present: Any, place: str, value: Value) -> Value:  # noqa: ANN401  (a widget's value, or a link)
    if isinstance(present, list):
        return _guessed(value)
    kind = type(present)
    guess = _guessed(value) if kind is not str else value
    # A whole number is a fine float, but True is no 1.
    if kind is float and type(guess) is int:
        return float(guess)
    if type(guess) is not kind:
        raise WorkflowError(f'"{place}": expected {kind.__name__} like {present!r}, got {value!r}')
    if kind is float and not math.isfinite(guess):
        raise WorkflowError(f'"{place}": expected a finite number like {present!r}, got {value!r}')
    return guess


def _guessed(value: Value) -> Value:
    """A CSV's text as the number or truth value that it spells, if it does."""
    if not isinstance(value, str):
        return value
    try:
        read = json.loads(value.lower() if value.lower() in ("true", "false") else value)
    except ValueError:
        return value
    return read if isinstance(read, int | float | bool) else value


def links(node: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """(input, [node id, output]) of a node's inputs that are linked."""
    for name, value in node["inputs"].items():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            yield name, value


def relink(graph: Graph, old: list[Any], new: Any, but: str = "") -> None:  # noqa: ANN401  (a link or a value)
    """Put ``new`` wherever an input is linked to ``old``, node ``but`` left out."""
    for identity, node in graph.items():
        for name, link in list(links(node)):
            if link == old and identity != but:
                node["inputs"][name] = new


def upstream(graph: Graph, start: str) -> list[str]:
    """The ids of a node and of all that it depends on."""
    seen, open_ones = [], [start]
    while open_ones:
        identity = open_ones.pop()
        if identity not in seen and identity in graph:
            seen.append(identity)
            open_ones += [link[0] for _, link in links(graph[identity])]
    return seen


def of_type(graph: Graph, *types: str) -> list[str]:
    """The ids of the nodes of some types."""
    return [identity for identity, node in graph.items() if node["class_type"] in types]


def prompt_inputs(graph: Graph) -> list[tuple[str, str]]:
    """(node id, input) of the texts that reach the positive conditioning of what samples, or of its guider."""
    samplers = (dict(links(node)) for node in graph.values())
    # Nodes without a model, as WanImageToVideo, may stand before Invert Motion too, whose prompt is empty.
    found = [
        text
        for linked in samplers
        if {"model", "positive"} <= set(linked)
        for text in _texts(graph, linked["positive"])
    ]
    return list(dict.fromkeys(found))


def _texts(graph: Graph, link: list[Any]) -> list[tuple[str, str]]:
    """The texts behind a conditioning. A node with both conditionings gives the positive one first."""
    identity, output = link
    node = graph.get(identity, {"inputs": {}})
    own = [(identity, name) for name in TEXTS if isinstance(node["inputs"].get(name), str)]
    if own:
        return own
    linked = dict(links(node))
    if "positive" in linked and "negative" in linked:
        linked = {"": linked["negative" if output == 1 else "positive"]}
    return [text for each in linked.values() for text in _texts(graph, each)]


def seed_inputs(graph: Graph) -> list[tuple[str, str]]:
    """(node id, input) of the seeds of generations."""
    return [
        (identity, name)
        for identity, node in graph.items()
        for name in SEEDS
        if node["class_type"] not in NO_SAMPLERS and isinstance(node["inputs"].get(name), int)
    ]


def _only(what: str, places: list[tuple[str, str]]) -> tuple[str, str]:
    if len(places) != 1:
        named = ", ".join(".".join(place) for place in places) or "none"
        raise WorkflowError(
            f'{what}: expected one place for it in the workflow, found {named}; use "node.input" instead'
        )
    return places[0]


def _set_reference(graph: Graph, file: str) -> None:
    """Make ``file`` the clip that Encode Reference gets; without that node, the one that Load Video loads."""
    encoders = of_type(graph, ENCODE)
    if not encoders:
        identity, name = _only("reference", [(identity, "file") for identity in of_type(graph, "LoadVideo")])
        graph[identity]["inputs"][name] = file
        return
    sources = [_video_source(graph, identity) for identity in encoders]
    if any(source != sources[0] for source in sources):
        raise WorkflowError(
            'reference: the workflow encodes several clips; name each by its Load Video, as in "4.file"'
        )
    loader = graph.get(sources[0][0])
    if loader is not None and loader["class_type"] == "LoadVideo":
        loader["inputs"]["file"] = file
        return
    relink(graph, sources[0], [f"{ADDED}reference", 0])
    graph[f"{ADDED}reference"] = {"class_type": "LoadVideo", "inputs": {"file": file}}


def _video_source(graph: Graph, encoder: str) -> list[Any]:
    """The link that brings an Encode Reference its video, directly or through Get Video Components."""
    inputs = graph[encoder]["inputs"]
    link = inputs.get("video") or inputs.get("frames")
    between = graph.get(link[0]) if isinstance(link, list) else None
    if between is not None and between["class_type"] == "GetVideoComponents":
        link = between["inputs"]["video"]
    elif "video" not in inputs:
        link = None
    if not isinstance(link, list):
        raise WorkflowError(f"reference: connect Load Video to video of node {encoder} (FastVMT Encode Reference)")
    return list(link)


def _set_motion(graph: Graph, file: str) -> None:
    """Make ``file`` the motion: in Load Motion, or in its place, where the workflow makes one of a clip."""
    makers = of_type(graph, INVERT) or of_type(graph, LOAD)
    identity, _ = _only("motion", [(maker, "motion") for maker in makers])
    if graph[identity]["class_type"] == INVERT:
        replace_by_file(graph, identity, file)
        for encoder in of_type(graph, ENCODE):
            _require_unused(graph, encoder)
    else:
        graph[identity]["inputs"]["motion"] = file


def replace_by_file(graph: Graph, inverter: str, file: str) -> None:
    """Put a Load Motion of ``file`` in the place of an Invert Motion."""
    loader = f"{ADDED}motion_{inverter}"
    relink(graph, [inverter, 0], [loader, 0])
    del graph[inverter]
    graph[loader] = {"class_type": LOAD, "inputs": {"motion": file}}


def _require_unused(graph: Graph, encoder: str) -> None:
    used = [
        f"{identity}.{name}" for identity, node in graph.items() for name, link in links(node) if link[0] == encoder
    ]
    if used:
        raise WorkflowError(
            f"motion: {', '.join(used)} take the size from the clip, and a motion file brings none; use a workflow "
            "with Load Motion"
        )
