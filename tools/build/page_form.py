"""A workflow as the page saves one: version 0.4, nodes with places, links with numbers."""

from __future__ import annotations

import uuid
from typing import Any

from tools.build.signature import Input, inputs_of, outputs_of
from tools.build.spec import OUTSIDE, From, Group, Node, Note, ObjectInfo, Workflow

TITLE, SLOT, WIDGET, TEXT = 30, 20, 29, 110
"""Pixels that the page takes at most for a title bar, a row of slots, a widget, and a box of text."""
GAP, PADDING, HEADING = 36, 20, 60
"""Pixels between nodes, between a group's edge and its nodes, and for a group's title."""
COLUMN_GAP = 40
INPUT_NODE, OUTPUT_NODE = -10, -20
"""Numbers that the page gives to the two ends of a subgraph."""
NOTE_COLOURS = {"color": "#432", "bgcolor": "#653"}


def page_form(workflow: Workflow, info: ObjectInfo) -> dict[str, Any]:
    """The workflow as JSON for the page.

    Raises:
        ValueError: a node, an input or an output that the workflow names is not there.
    """
    form = Form(workflow, info)
    saved = form.build()
    if form.open:
        raise ValueError(f"{workflow.name}: expected a link into {', '.join(form.open)}, got one from outside.")
    return saved


class Form:
    """One workflow while it becomes the page's JSON."""

    def __init__(self, workflow: Workflow, info: ObjectInfo) -> None:
        self._workflow, self._info = workflow, info
        self._ids = {node.name: number for number, node in enumerate(workflow.nodes, 1)}
        if len(self._ids) != len(workflow.nodes):
            raise ValueError(f"{workflow.name}: expected nodes with names of their own, got one twice.")
        self._kinds = {node.name: node.kind for node in workflow.nodes}
        self._links: list[list[Any]] = []
        self._nodes: list[dict[str, Any]] = []
        self._groups: list[dict[str, Any]] = []
        self._next_note = len(workflow.nodes)
        self.open: dict[str, Input] = {}
        """Inputs from outside, in the order in which they are met: name -> the first input that takes it."""

    def build(self) -> dict[str, Any]:
        left = 0.0
        for column in self._workflow.columns:
            top = 0.0
            for group in column:
                top += self._place_group(group, left, top) + GAP
            left += max(group.width for group in column) + 2 * PADDING + COLUMN_GAP
        self._connect_outputs()
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"fastvmt/{self._workflow.name}")),
            "revision": 0,
            "last_node_id": self._next_note,
            "last_link_id": len(self._links),
            "nodes": sorted(self._nodes, key=lambda node: node["id"]),
            "links": self._links,
            "groups": self._groups,
            "config": {},
            "extra": {"ds": {"scale": 0.6, "offset": [130, 250]}, "description": self._workflow.purpose},
            "version": 0.4,
        }

    def _place_group(self, group: Group, left: float, top: float) -> float:
        """Place a group's members below each other; returns its height."""
        at = top + HEADING
        for member in group.members:
            size = [group.width, self._height(member)]
            place = {"pos": [left + PADDING, at + TITLE], "size": size, "flags": {}, "order": 0, "mode": 0}
            self._nodes.append(self._note(member, place) if isinstance(member, Note) else self._node(member, place))
            at += TITLE + size[1] + GAP
        height = at - GAP + PADDING - top
        self._groups.append(
            {
                "id": len(self._groups) + 1,
                "title": group.title,
                "bounding": [left, top, group.width + 2 * PADDING, height],
                "color": group.colour,
                "font_size": 24,
                "flags": {},
            }
        )
        return height

    def _height(self, member: Node | Note) -> int:
        if isinstance(member, Note):
            return member.height
        inputs = inputs_of(member.kind, self._info)
        linked = sum(not each.widget for each in inputs)
        rows = max(linked, len(outputs_of(member.kind, self._info)))
        widgets = [each for each in inputs if each.widget]
        tall = sum(TEXT if each.options.get("multiline") else WIDGET for each in widgets)
        extra = sum(each.controlled + each.uploads for each in widgets) * WIDGET
        return rows * SLOT + tall + extra + 16 + member.extra

    def _note(self, note: Note, place: dict[str, Any]) -> dict[str, Any]:
        self._next_note += 1
        values = {"widgets_values": [note.text], "properties": {}, "inputs": [], "outputs": [], "title": "Note"}
        return {"id": self._next_note, "type": "MarkdownNote", **place, **values, **NOTE_COLOURS}

    def _node(self, node: Node, place: dict[str, Any]) -> dict[str, Any]:
        inputs = inputs_of(node.kind, self._info)
        unknown = set(node.inputs) - {each.name for each in inputs}
        if unknown:
            raise ValueError(f"{node.name}: expected inputs of {node.kind}, got {', '.join(sorted(unknown))}.")
        module = self._info[node.kind].get("python_module", "")
        # So that a page without the pack can name what is missing.
        pack = "fastvmt" if module.startswith("custom_nodes") else "comfy-core"
        properties: dict[str, Any] = {"cnr_id": pack, "Node name for S&R": node.kind}
        if node.models:
            properties["models"] = [vars(model) for model in node.models]
        changed = any(each.advanced and each.name in node.inputs for each in inputs)
        return {
            "id": self._ids[node.name],
            "type": node.kind,
            # What the template sets is to be seen.
            **({"showAdvanced": True} if changed else {}),
            **place,
            "inputs": [self._slot(node, each, number) for number, each in enumerate(slots_of(inputs))],
            "outputs": [
                {"name": name, "type": kind, "links": None} for name, kind in outputs_of(node.kind, self._info)
            ],
            "title": node.name,
            "properties": properties,
            "widgets_values": _values(node, inputs),
        }

    def _slot(self, node: Node, given: Input, number: int) -> dict[str, Any]:
        slot: dict[str, Any] = {"name": given.name, "type": given.type, "link": None}
        if given.optional:
            slot["shape"] = 7
        if given.widget:
            slot["widget"] = {"name": given.name}
        source = node.inputs.get(given.name)
        if isinstance(source, From):
            slot["link"] = self._link(source, node, number)
        elif source is None and not given.widget and not given.optional:
            raise ValueError(f"{node.name}: expected a link into {given.name}, got none.")
        return slot

    def _link(self, source: From, target: Node, number: int) -> int:
        if source.node == OUTSIDE:
            return self._link_from_outside(source.output, target, number)
        outputs, types = zip(*outputs_of(self._kinds[source.node], self._info), strict=True)
        if source.output not in outputs:
            raise ValueError(f"{source.node}: expected one of its outputs {list(outputs)}, got {source.output}.")
        link, output = len(self._links) + 1, outputs.index(source.output)
        # The output's type: an input may take any.
        self._links.append([link, self._ids[source.node], output, self._ids[target.name], number, types[output]])
        return link

    def _link_from_outside(self, name: str, target: Node, number: int) -> int:
        taken = slots_of(inputs_of(target.kind, self._info))[number]
        self.open.setdefault(name, taken)
        link = len(self._links) + 1
        self._links.append([link, INPUT_NODE, list(self.open).index(name), self._ids[target.name], number, taken.type])
        return link

    def link_to_outside(self, source: From, number: int) -> tuple[int, str]:
        """Connect a node's output with output `number` of the blueprint; returns the link and its type."""
        outputs, types = zip(*outputs_of(self._kinds[source.node], self._info), strict=True)
        link, output = len(self._links) + 1, outputs.index(source.output)
        self._links.append([link, self._ids[source.node], output, OUTPUT_NODE, number, types[output]])
        return link, types[output]

    def id_of(self, name: str) -> int:
        """The number of a node."""
        return self._ids[name]

    def _connect_outputs(self) -> None:
        by_id = {node["id"]: node for node in self._nodes}
        for link, source, output, *_ in self._links:
            if source == INPUT_NODE:
                continue
            slot = by_id[source]["outputs"][output]
            slot["links"] = [*(slot["links"] or []), link]


def slots_of(inputs: list[Input]) -> list[Input]:
    """The inputs in the order of the page's slots: sockets first, then those of widgets."""
    return sorted(inputs, key=lambda each: each.widget)


def _values(node: Node, inputs: list[Input]) -> list[Any]:
    """The widgets' values by position, as the page stores them."""
    values: list[Any] = []
    for each in inputs:
        if not each.widget:
            continue
        given = node.inputs.get(each.name)
        values.append(each.default if given is None or isinstance(given, From) else given)
        if each.controlled:
            values.append("fixed")
        if each.uploads:
            values.append("image")
    return values
