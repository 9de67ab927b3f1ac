"""A saved workflow as a job for the server: the same as the page's own graphToPrompt makes of it.

For graphs of plain nodes, as the templates are; subgraphs, reroutes and primitive nodes are refused.
"""

from __future__ import annotations

from typing import Any

from tools.build.signature import inputs_of
from tools.build.spec import ObjectInfo

ON_CANVAS_ONLY = frozenset(("MarkdownNote", "Note"))


def api_form(saved: dict[str, Any], info: ObjectInfo) -> dict[str, dict[str, Any]]:
    """The job: node number -> class_type, inputs by name, title.

    Raises:
        ValueError: a node is not the server's own, is muted or bypassed, or holds other values than its widgets take.
    """
    links = {link[0]: [str(link[1]), link[2]] for link in saved["links"]}
    nodes = [node for node in saved["nodes"] if node["type"] not in ON_CANVAS_ONLY]
    return {str(node["id"]): _job_node(node, links, info) for node in nodes}


def _job_node(node: dict[str, Any], links: dict[int, list[Any]], info: ObjectInfo) -> dict[str, Any]:
    if node.get("mode", 0) != 0:
        raise ValueError(f"{node['title']}: expected a node that runs, got a muted or bypassed one.")
    declared = inputs_of(node["type"], info)
    inputs = _widgets(node, declared)
    for slot in node["inputs"]:
        if slot.get("link") is not None:
            inputs[slot["name"]] = links[slot["link"]]
    order = {each.name: number for number, each in enumerate(declared)}
    return {
        "inputs": dict(sorted(inputs.items(), key=lambda item: order[item[0]])),
        "class_type": node["type"],
        "_meta": {"title": node["title"]},
    }


def _widgets(node: dict[str, Any], declared: list) -> dict[str, Any]:
    values = iter(node.get("widgets_values", []))
    named = {}
    for each in declared:
        if not each.widget:
            continue
        try:
            named[each.name] = next(values)
            if each.controlled or each.uploads:
                next(values)
        except StopIteration:
            raise ValueError(f"{node['title']}: expected a value for {each.name}, got none; save it again.") from None
    left = list(values)
    if left:
        raise ValueError(f"{node['title']}: expected a value for each widget, got {left} too many.")
    return named
