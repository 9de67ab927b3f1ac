"""Variants of the demo's graph: what is changed, where it goes in the graph, and how files and a command line name it.

A variant of a JSON file is an object with some of the fields of ``Variant``:

    {"name": "own noise levels", "against": "base",
     "inputs": {"Invert motion.sigmas": {"link": ["Levels", 0]}, "Invert motion.seed": {"run": "seed"}, "steps": 20},
     "nodes": {"Levels": {"class_type": "BasicScheduler", "inputs": {"model": {"link": ["Shift", 0]}, "steps": 20}}},
     "reference": {"kind": "fast", "size": 192}}

It changes inputs "<node title>.<input>" ("steps" and the other inputs of SHARED change in both samplers), adds a node
titled "Levels" or replaces the one of that title, and draws another kind of reference. {"link": [title, output]} is a
``Link``, the output of another node; {"run": "seed"} is a ``RunValue``, the seed of each run.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.runs.in_process import Schema
from tools.demo.transfer import RUNS, node, node_id, title
from tools.host.client import Graph
from tools.train.clips import Floats

BASE = "base"
SAMPLERS = tuple(f"Sample {run}" for run in RUNS)
SHARED = ("steps", "cfg", "denoise", "sampler_name", "scheduler")
"""Inputs in which both samplers must agree."""
RUN_VALUES = ("seed", "caption", "background", "coordinates")
OF_THE_REFERENCE = ("kind", "size", "frames")
"""Names that change the reference clip (and what follows from it) rather than an input of a node."""


@dataclass(frozen=True)
class Link:
    """The output of another node, by that node's title."""

    node: str
    output: int


@dataclass(frozen=True)
class RunValue:
    """What each run has of its own, a name of RUN_VALUES.

    Its seed, the caption of its reference's own look, the background's word of its prompt, or the reference's path as a
    spline editor's coordinates.
    """

    run: str = "seed"


@dataclass(frozen=True)
class Variant:
    """What one variant changes, on top of the demo's graph.

    ``inputs`` is "<node title>.<input>", or a name of SHARED, -> value, ``Link`` or ``RunValue``. ``nodes`` are nodes
    added to the graph, or put in place of those of the same title; ``reference`` are arguments of ``make_reference``;
    ``patch`` is a name in ``research.ROWS``. ``against`` names the variant that its differences are taken from.
    """

    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    nodes: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)
    patch: str | None = None
    against: str = BASE

    def change(self) -> dict[str, Any]:
        """The fields that are set, without names of variants, as JSON takes them."""
        return {name: value for name, value in asdict(self).items() if name not in ("name", "against") and value}


def read_variants(path: Path) -> list[Variant]:
    """The variants of a JSON file, a list of objects.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"), object_hook=_typed)
        return [Variant(**entry) for entry in entries]
    except (TypeError, ValueError) as error:
        fields = ", ".join(Variant.__dataclass_fields__)
        raise ValueError(f"{path.name}: expected a list of objects with some of {fields}: {error}") from error


def _typed(entry: dict[str, Any]) -> object:
    if entry.keys() == {"link"}:
        return Link(*entry["link"])
    return RunValue(entry["run"]) if entry.keys() == {"run"} and entry["run"] in RUN_VALUES else entry


def sweep(text: str) -> list[Variant]:
    """The variants of "name=v1,v2,...": one a value, each named "name=value". Values are JSON, or else plain text.

    Raises:
        ValueError: there is no name or no value.
    """
    name, _, values = text.partition("=")
    name = name.strip()
    if not name or not values:
        raise ValueError(f"--sweep: expected name=value,value,..., got {text!r}.")
    kind = "reference" if name in OF_THE_REFERENCE else "inputs"
    values = [value.strip() for value in values.split(",")]
    return [Variant(f"{name}={value}", **{kind: {name: _value(value)}}) for value in values]


def all_variants(sweeps: Sequence[str], files: Iterable[Path]) -> list[Variant]:
    """The base, then every variant of the sweeps and files.

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
        ValueError: no node has a title or an input that is named.
    """
    graph = copy.deepcopy(graph)
    ids = {title(graph, identity): identity for identity in graph}
    for name, added in variant.nodes.items():
        graph[ids.get(name, f"added:{name}")] = {**copy.deepcopy(added), "_meta": {"title": name}}
    for name in variant.nodes:
        inputs = node(graph, name)["inputs"]
        inputs.update({key: _connected(graph, value) for key, value in inputs.items()})
    for name, value in variant.inputs.items():
        for identity, key in places(graph, name, schema):
            graph[identity]["inputs"][key] = _connected(graph, value)
    return graph


def with_seed(graph: Graph, seed: int, prompt: str, caption: str = "", path: Floats | None = None) -> Graph:
    """The graph of one run: with seed and prompt in the samplers, and its own in place of each ``RunValue``."""
    points = [] if path is None else [{"x": float(x), "y": float(y)} for x, y in path]
    background = prompt.rpartition(" ")[2]
    own = {"seed": seed, "caption": caption, "background": background, "coordinates": json.dumps(points)}
    filled = {
        identity: {
            **each,
            "inputs": {
                key: own[value.run] if isinstance(value, RunValue) else value for key, value in each["inputs"].items()
            },
        }
        for identity, each in graph.items()
    }
    node(filled, "Prompt")["inputs"]["prompt"] = prompt
    for sampler in SAMPLERS:
        node(filled, sampler)["inputs"]["seed"] = seed
    return filled


def places(graph: Graph, name: str, schema: Schema) -> list[tuple[str, str]]:
    """(node id, input) of each place that an input's name means: one, or both samplers.

    Raises:
        ValueError: no node has it; the message names those that there are.
    """
    owner, dot, key = name.rpartition(".")
    if not dot and key not in SHARED:
        raise ValueError(f"{name}: expected <node title>.<input> or one of {', '.join(SHARED)}, got {name!r}.")
    return [_place(graph, each, key, schema) for each in ([owner] if dot else SAMPLERS)]


def _place(graph: Graph, owner: str, key: str, schema: Schema) -> tuple[str, str]:
    try:
        identity = node_id(graph, owner)
    except KeyError as error:
        titles = ", ".join(title(graph, each) for each in graph)
        raise ValueError(f"{owner}.{key}: expected the title of a node ({titles}), got {owner!r}.") from error
    known = set().union(*schema(graph[identity]["class_type"]))
    if key not in known:
        raise ValueError(f"{owner}.{key}: expected one of {', '.join(sorted(known))}, got {key!r}.")
    return identity, key


def _connected(graph: Graph, value: object) -> object:
    return [node_id(graph, value.node), value.output] if isinstance(value, Link) else value


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
