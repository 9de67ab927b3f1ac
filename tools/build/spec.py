"""What a workflow or a blueprint holds: nodes in columns, wired by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Value = str | int | float | bool


@dataclass(frozen=True)
class From:
    """An output of another node: that node's name, and the output's."""

    node: str
    output: str


OUTSIDE = "(outside)"
"""The node of a `From` that is an input of the blueprint itself; its output is that input's name."""


@dataclass(frozen=True)
class Model:
    """A model file that a loader names: where it comes from, and the folder under models/ that it belongs in."""

    name: str
    directory: str
    url: str


@dataclass(frozen=True)
class Node:
    """One node. `name` is its title, and the name that others use for it."""

    kind: str
    name: str
    inputs: dict[str, Value | From] = field(default_factory=dict)
    """Widgets and links by name; widgets that are left out have their default."""
    models: tuple[Model, ...] = ()
    extra: int = 0
    """Pixels of height that the page needs beside the slots and widgets (pictures, panels)."""


@dataclass(frozen=True)
class Note:
    """A note on the canvas, in Markdown."""

    text: str
    height: int = 200


@dataclass(frozen=True)
class Group:
    """A titled box around nodes that stand below each other."""

    title: str
    members: tuple[Node | Note, ...]
    colour: str = "#3f789e"
    width: int = 320


@dataclass(frozen=True)
class Workflow:
    """One template: groups from left to right."""

    name: str
    """File name without its ending; templates are listed in this order."""
    purpose: str
    """One line: what it is for."""
    columns: tuple[tuple[Group, ...], ...]

    @property
    def nodes(self) -> list[Node]:
        """Every node, in the order that gives it its number."""
        members = [member for column in self.columns for group in column for member in group.members]
        return [member for member in members if isinstance(member, Node)]

    @property
    def notes(self) -> list[Note]:
        """Every note."""
        members = [member for column in self.columns for group in column for member in group.members]
        return [member for member in members if isinstance(member, Note)]


@dataclass(frozen=True)
class Blueprint:
    """A subgraph that the page offers as one node. Its inputs are the links from OUTSIDE."""

    workflow: Workflow
    """What is inside; its name is the title of the node."""
    outputs: tuple[tuple[str, From], ...]
    """(name, source) of each output."""
    widgets: tuple[tuple[str, str], ...]
    """(node, widget) of each widget that the node shows."""


ObjectInfo = dict[str, dict[str, Any]]
"""The server's description of its nodes (/object_info)."""
