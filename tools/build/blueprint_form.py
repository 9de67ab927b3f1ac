"""A blueprint as the page saves one: a workflow of a single subgraph node, and the subgraph's definition."""

from __future__ import annotations

import uuid
from typing import Any

from tools.build.page_form import INPUT_NODE, OUTPUT_NODE, Form
from tools.build.signature import Input, outputs_of
from tools.build.spec import Blueprint, ObjectInfo

END_WIDTH, SLOT = 140, 20
"""Pixels: width of the ends of a subgraph, and height of their slots."""
NODE_WIDTH, NODE_HEIGHT = 320, 420
CATEGORY = "FastVMT"
OWN = "-1"
"""The page's number for a widget that belongs to an input of the subgraph itself."""


def blueprint_form(blueprint: Blueprint, info: ObjectInfo) -> dict[str, Any]:
    """The blueprint as JSON for the page.

    Raises:
        ValueError: a node, an input or an output that it names is not there.
    """
    workflow = blueprint.workflow
    form = Form(workflow, info)
    saved = form.build()
    outputs = [(name, *form.link_to_outside(source, number)) for number, (name, source) in enumerate(blueprint.outputs)]
    _connect(saved["nodes"], saved["links"])
    right = max(group["bounding"][0] + group["bounding"][2] for group in saved["groups"])
    ends = [
        _end(INPUT_NODE, -END_WIDTH - 60, len(form.open)),
        _end(OUTPUT_NODE, right + 60, len(outputs)),
    ]
    identity = _identity(workflow.name)
    definition = {
        "id": identity,
        "version": 1,
        "state": {
            "lastGroupId": len(saved["groups"]),
            "lastNodeId": saved["last_node_id"],
            "lastLinkId": len(saved["links"]),
            "lastRerouteId": 0,
        },
        "revision": 0,
        "config": {},
        "name": workflow.name,
        "category": CATEGORY,
        "description": workflow.purpose,
        "inputNode": ends[0],
        "outputNode": ends[1],
        "inputs": [
            {
                "id": _identity(workflow.name, "input", name),
                "name": name,
                "type": taken.type,
                "linkIds": [link[0] for link in saved["links"] if link[1] == INPUT_NODE and link[2] == number],
                "pos": _slot_place(ends[0], number),
            }
            for number, (name, taken) in enumerate(form.open.items())
        ],
        "outputs": [
            {
                "id": _identity(workflow.name, "output", name),
                "name": name,
                "type": kind,
                "linkIds": [link],
                "pos": _slot_place(ends[1], number),
            }
            for number, (name, link, kind) in enumerate(outputs)
        ],
        "widgets": [],
        "nodes": saved["nodes"],
        "groups": saved["groups"],
        "links": [
            dict(zip(("id", "origin_id", "origin_slot", "target_id", "target_slot", "type"), link, strict=True))
            for link in saved["links"]
        ],
        "extra": {},
    }
    own = {name: taken for name, taken in form.open.items() if taken.widget}
    inner = [[str(form.id_of(node)), widget] for node, widget in blueprint.widgets]
    node = {
        "id": saved["last_node_id"] + 1,
        "type": identity,
        "pos": [0, 0],
        "size": [NODE_WIDTH, NODE_HEIGHT],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [_outer_input(name, taken) for name, taken in form.open.items()],
        "outputs": [{"name": name, "type": kind, "links": []} for name, _, kind in outputs],
        "title": workflow.name,
        "properties": {"proxyWidgets": [*([OWN, name] for name in own), *inner]},
        "widgets_values": [*(taken.default for taken in own.values()), *(None for _ in inner)],
    }
    return {
        "id": _identity(workflow.name, "workflow"),
        "revision": 0,
        "last_node_id": node["id"],
        "last_link_id": 0,
        "nodes": [node],
        "links": [],
        "groups": [],
        "definitions": {"subgraphs": [definition]},
        "config": {},
        "extra": {"BlueprintDescription": workflow.purpose},
        "version": 0.4,
    }


def _outer_input(name: str, taken: Input) -> dict[str, Any]:
    widget = {"widget": {"name": name}} if taken.widget else {}
    return {"name": name, "type": taken.type, **widget, "link": None}


def check_widgets(blueprint: Blueprint, info: ObjectInfo) -> None:
    """Nothing where every shown widget and output is there.

    Raises:
        ValueError: one is not.
    """
    kinds = {node.name: node.kind for node in blueprint.workflow.nodes}
    for node, widget in blueprint.widgets:
        declared = info[kinds[node]]["input"]
        if widget not in {**declared.get("required", {}), **declared.get("optional", {})}:
            raise ValueError(f"{blueprint.workflow.name}: expected a widget of {node}, got {widget}.")
    for name, source in blueprint.outputs:
        if source.output not in {output for output, _ in outputs_of(kinds[source.node], info)}:
            raise ValueError(f"{blueprint.workflow.name}: expected an output of {source.node} for {name}.")


def _connect(nodes: list[dict[str, Any]], links: list[list[Any]]) -> None:
    by_id = {node["id"]: node for node in nodes}
    for link, source, output, target, *_ in links:
        if target == OUTPUT_NODE:
            slot = by_id[source]["outputs"][output]
            slot["links"] = [*(slot["links"] or []), link]


def _end(number: int, left: float, slots: int) -> dict[str, Any]:
    return {"id": number, "bounding": [left, 0, END_WIDTH, 2 * SLOT + slots * SLOT]}


def _slot_place(end: dict[str, Any], number: int) -> list[float]:
    left, top, width, _ = end["bounding"]
    return [left + (width - SLOT if end["id"] == INPUT_NODE else SLOT), top + SLOT + number * SLOT]


def _identity(*names: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("fastvmt", "blueprint", *names))))
