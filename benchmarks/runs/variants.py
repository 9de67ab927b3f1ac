"""Variants of the demo's graph: what is changed, where it goes in the graph, and how a command line says it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.runs.host_graph import is_link, needed
from benchmarks.runs.in_process import Schema
from tools.demo.transfer import RUNS, node, node_id, title
from tools.host.client import Graph

BASE = "base"
SAMPLERS = tuple(f"Sample {run}" for run in RUNS)
SHARED = ("steps", "cfg", "denoise", "sampler_name", "scheduler")
"""Inputs that both samplers must agree in."""
OF_THE_REFERENCE = ("kind", "size", "frames")
"""Names that change the reference clip (and what follows from it) rather than an input of a node."""
FILES = {"model": ("Model", "unet_name"), "vae": ("VAE", "vae_name")}
"""Models that a variant may replace: title of the loader and its input."""


@dataclass(frozen=True)
class Variant:
    """What one variant changes, on top of the demo's graph.

    ``inputs`` is "<node title>.<input>" or "<input>" -> value. A value {"link": [title, index]} connects another node's
    output, {"run": "seed"} is the run's seed, None takes the input away. ``nodes`` are nodes added to the graph, or put
    in place of those that are there, by their titles; ``reference`` are arguments of ``make_reference``, ``model`` and
    ``vae`` files, ``patch`` is a name in ``research.ROWS``. ``against`` names the variant that this one's differences
    are taken from.
    """

    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    nodes: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    vae: str | None = None
    patch: str | None = None
    against: str = BASE

    def change(self) -> dict[str, Any]:
        """What it changes, without names of variants."""
        return {name: value for name, value in asdict(self).items() if name not in ("name", "against") and value}


def read_variants(path: Path) -> list[Variant]:
    """The variants of a JSON file, a list of objects.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        return [Variant(**entry) for entry in given]
    except (TypeError, json.JSONDecodeError) as error:
        fields = ", ".join(Variant.__dataclass_fields__)
        raise ValueError(f"{path.name}: expected a list of objects with some of {fields}: {error}") from error


def sweep(text: str) -> list[Variant]:
    """The variants of "name=v1,v2,...": one a value, each named "name=value". Values are JSON, or else plain text.

    Raises:
        ValueError: there is no name or no value.
    """
    name, _, values = text.partition("=")
    name = name.strip()
    if not name or not values:
        raise ValueError(f"--sweep: expected name=value,value,..., got {text!r}.")
    found = [value.strip() for value in values.split(",")]
    where = "reference" if name in OF_THE_REFERENCE else "inputs"
    if name in FILES:
        return [Variant(f"{name}={Path(value).stem}", **{name: value}) for value in found]
    return [Variant(f"{name}={value}", **{where: {name: _value(value)}}) for value in found]


def all_variants(sweeps: Sequence[str], files: Iterable[Path]) -> list[Variant]:
    """The base and every variant that is asked for.

    Raises:
        ValueError: a variant is not understood, or two have one name.
    """
    variants = [Variant(BASE), *(each for text in sweeps for each in sweep(text))]
    variants += [each for path in files for each in read_variants(path)]
    names = [variant.name for variant in variants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"variants: expected names of their own, got {', '.join(twice)} twice; rename or leave out.")
    unknown = sorted({variant.against for variant in variants} - set(names))
    if unknown:
        raise ValueError(f"against: expected the name of a variant of this run, got {', '.join(unknown)}.")
    return variants


def apply(graph: Graph, variant: Variant, schema: Schema) -> Graph:
    """A copy of the graph with the variant's nodes and inputs.

    Raises:
        ValueError: an input or a node is not there, or a bare name is that of several nodes.
    """
    graph = copy.deepcopy(graph)
    there = {title(graph, identity): identity for identity in graph}
    for name, added in variant.nodes.items():
        graph[there.get(name, f"added:{name}")] = {**copy.deepcopy(added), "_meta": {"title": name}}
    for name in variant.nodes:
        inputs = node(graph, name)["inputs"]
        inputs.update({key: _connected(graph, value) for key, value in inputs.items()})
    for name, value in variant.inputs.items():
        for identity, key in places(graph, name, schema):
            if value is None:
                graph[identity]["inputs"].pop(key, None)
            else:
                graph[identity]["inputs"][key] = _connected(graph, value)
    return graph


def with_seed(graph: Graph, seed: int, prompt: str) -> Graph:
    """The graph of one run: the samplers' seed, where they have that input, all that follows it, and the prompt."""
    filled = {
        identity: {**each, "inputs": {key: seed if _is_seed(value) else value for key, value in each["inputs"].items()}}
        for identity, each in graph.items()
    }
    node(filled, "Prompt")["inputs"]["prompt"] = prompt
    for sampler in SAMPLERS:
        inputs = node(filled, sampler)["inputs"]
        if "seed" in inputs:
            inputs["seed"] = seed
    return filled


def places(graph: Graph, name: str, schema: Schema) -> list[tuple[str, str]]:
    """Where an input's name leads: (node id, input) of the one node that has it, or of both samplers.

    Raises:
        ValueError: no node has it, or several do; the message names them.
    """
    where, dot, key = name.rpartition(".")
    if dot:
        return [_place(graph, where, key, schema)]
    if key in SHARED:
        return [_place(graph, sampler, key, schema) for sampler in SAMPLERS]
    used = needed(graph, [node_id(graph, f"Decode {run}") for run in RUNS])
    found = []
    for identity in sorted(used, key=list(graph).index):
        inputs = graph[identity]["inputs"]
        # What a link brings comes from another node, whose input it is.
        if any(key in names for names in schema(graph[identity]["class_type"])) and not is_link(graph, inputs.get(key)):
            found.append((identity, key))
    if len(found) != 1:
        said = " or ".join(f'"{title(graph, identity)}.{key}"' for identity, _ in found) or "of no node"
        raise ValueError(f"{name}: expected the input of one node, got {said}; write it as <node title>.<input>.")
    return found


def _place(graph: Graph, where: str, key: str, schema: Schema) -> tuple[str, str]:
    try:
        identity = node_id(graph, where)
    except KeyError as error:
        titles = ", ".join(title(graph, each) for each in graph)
        raise ValueError(f"{where}.{key}: expected the title of a node ({titles}), got {where!r}.") from error
    known = set().union(*schema(graph[identity]["class_type"]))
    if key not in known:
        raise ValueError(f"{where}.{key}: expected one of {', '.join(sorted(known))}, got {key!r}.")
    return identity, key


def _connected(graph: Graph, value: object) -> object:
    if not (isinstance(value, dict) and "link" in value):
        return value
    name, index = value["link"]
    return [node_id(graph, name), index]


def _is_seed(value: object) -> bool:
    return isinstance(value, dict) and value.get("run") == "seed"


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
