"""A workflow or a blueprint as the page saves one: brought up to date with its nodes, and as a job for the server.

The page's saved files are the source of the templates and blueprints. Nodes gain inputs and outputs over time; here the
saved nodes get them too, by name, so that links and values stay with what they were made for.
"""

from __future__ import annotations

from typing import Any

from tools.build.signature import Input, ObjectInfo, inputs_of, outputs_of

ON_CANVAS_ONLY = frozenset(("MarkdownNote", "Note"))
LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
UPLOAD = "upload"
OWN = "-1"
"""The page's number for a widget that belongs to an input of a subgraph itself."""

Saved = dict[str, Any]


def refreshed(saved: Saved, info: ObjectInfo) -> Saved:
    """A workflow or blueprint whose nodes have the slots and widgets that the server declares; new widgets at default.

    Raises:
        ValueError: a node, or an input or output that is used, is gone; or a required link is missing.
    """
    if "definitions" not in saved:
        return _graph(saved, info)
    inside = [_graph(definition, info) for definition in saved["definitions"]["subgraphs"]]
    widgets = {
        (str(node["id"]), slot["name"])
        for definition in inside
        for node in definition["nodes"]
        for slot in node["inputs"]
        if "widget" in slot
    }
    for outer in saved["nodes"]:
        for owner, widget in outer["properties"]["proxyWidgets"]:
            if owner != OWN and (owner, widget) not in widgets:
                raise ValueError(f"{outer['title']}: expected a widget of its node {owner}, got {widget}.")
    return {**saved, "definitions": {**saved["definitions"], "subgraphs": inside}}


def api_form(saved: Saved, info: ObjectInfo) -> dict[str, dict[str, Any]]:
    """The job of a workflow, as the page's own graphToPrompt makes it: node number -> class_type, inputs, title.

    For graphs of plain nodes, as the templates are.

    Raises:
        ValueError: a node is not the server's own, is muted or bypassed, or holds other values than its widgets take.
    """
    links = {link[0]: [str(link[1]), link[2]] for link in saved["links"]}
    nodes = [node for node in saved["nodes"] if node["type"] not in ON_CANVAS_ONLY]
    return {str(node["id"]): _job_node(node, links, info) for node in nodes}


def _graph(graph: Saved, info: ObjectInfo) -> Saved:
    # A workflow lists a link's parts, a subgraph names them.
    named = all(isinstance(link, dict) for link in graph["links"])
    links = [dict(link) if named else dict(zip(LINK, link, strict=True)) for link in graph["links"]]
    nodes = [node if node["type"] in ON_CANVAS_ONLY else _node(node, links, info) for node in graph["nodes"]]
    return {**graph, "nodes": nodes, "links": links if named else [list(link.values()) for link in links]}


def _node(node: Saved, links: list[Saved], info: ObjectInfo) -> Saved:
    """The node as declared now; its links' slots are renumbered in place."""
    inputs = inputs_of(node["type"], info)
    # The page saves a title where it was changed.
    node = node if "title" in node else {**node, "title": info[node["type"]].get("display_name", node["type"])}
    # The page shows sockets first, then those of widgets.
    slots, outputs = sorted(inputs, key=lambda each: each.widget), outputs_of(node["type"], info)
    into = _renumbered(node, "target", links, "inputs", [each.name for each in slots])
    from_it = _renumbered(node, "origin", links, "outputs", [name for name, _ in outputs])
    missing = [each.name for each in slots if not (each.widget or each.optional or each.name in into)]
    if missing:
        raise ValueError(f"{node['title']}: expected a link into {missing[0]}, got none.")
    values = _values(node, inputs)
    return {
        **node,
        "inputs": [_slot(each, into.get(each.name, [None])[0]) for each in slots],
        "outputs": [{"name": name, "type": kind, "links": from_it.get(name)} for name, kind in outputs],
        "widgets_values": [
            value for each in inputs if each.widget for value in (values.get(each.name, each.default), *each.beside)
        ],
    }


def _renumbered(node: Saved, end: str, links: list[Saved], side: str, names: list[str]) -> dict[str, list[int]]:
    """The links at one side of a node by the slot's name, with the slots' numbers as they are now."""
    by_name: dict[str, list[int]] = {}
    for link in links:
        if link[f"{end}_id"] != node["id"]:
            continue
        name = node[side][link[f"{end}_slot"]]["name"]
        if name not in names:
            raise ValueError(f"{node['title']}: expected links at its {side} {names}, got one at {name}.")
        link[f"{end}_slot"] = names.index(name)
        by_name.setdefault(name, []).append(link["id"])
    return by_name


def _slot(given: Input, link: int | None) -> Saved:
    optional, widget = {"shape": 7} if given.optional else {}, {"widget": {"name": given.name}} if given.widget else {}
    return {"name": given.name, "type": given.type, "link": link, **optional, **widget}


def _values(node: Saved, inputs: list[Input]) -> dict[str, Any]:
    """The saved values of a node's widgets by name."""
    declared = {each.name: each for each in inputs if each.widget}
    values, named = iter(node.get("widgets_values", [])), {}
    # The page saves a slot for its upload button too, if not for the widget behind a seed.
    for name in (slot["name"] for slot in node["inputs"] if "widget" in slot and slot["name"] != UPLOAD):
        if name not in declared:
            raise ValueError(f"{node['title']}: expected widgets {[*declared]}, got {name}.")
        try:
            named[name], *_ = [next(values) for _ in range(1 + len(declared[name].beside))]
        except StopIteration:
            raise ValueError(f"{node['title']}: expected a value for {name}, got none; save it again.") from None
    left = list(values)
    if left:
        raise ValueError(f"{node['title']}: expected a value for each widget, got {left} too many.")
    return named


def _job_node(node: Saved, links: dict[int, list[Any]], info: ObjectInfo) -> Saved:
    if node.get("mode", 0) != 0:
        raise ValueError(f"{node['title']}: expected a node that runs, got a muted or bypassed one.")
    declared = inputs_of(node["type"], info)
    linked = {slot["name"]: links[slot["link"]] for slot in node["inputs"] if slot["link"] is not None}
    inputs = {**_values(node, declared), **linked}
    return {
        "inputs": {each.name: inputs[each.name] for each in declared if each.name in inputs},
        "class_type": node["type"],
        "_meta": {"title": node["title"]},
    }
