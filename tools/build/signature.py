"""A node's inputs as the page makes them of the server's object_info."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ObjectInfo = dict[str, dict[str, Any]]
"""The server's description of its nodes (/object_info)."""
WIDGET_TYPES = frozenset(("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"))
SEEDS = frozenset(("seed", "noise_seed"))
CONTROL = "control_after_generate"
"""The widget that the page itself puts behind a seed. It has a place in the saved values, but no name in a job."""


@dataclass(frozen=True)
class Input:
    """One input of a node."""

    name: str
    type: str
    """Socket type; COMBO for a list of choices."""
    widget: bool
    optional: bool
    options: dict[str, Any]
    choices: tuple[Any, ...] = ()

    @property
    def beside(self) -> tuple[str, ...]:
        """Values of the page's own widgets behind it, which have a place among the saved ones: of a seed, of a file."""
        controlled = self.type == "INT" and self.options.get(CONTROL, self.name in SEEDS)
        uploads = any(self.options.get(f"{kind}_upload") for kind in ("image", "video", "animated_image"))
        return ("fixed",) * bool(controlled) + ("image",) * uploads

    @property
    def default(self) -> Any:  # noqa: ANN401  (a widget's value is any JSON)
        """The widget's first value."""
        if "default" in self.options:
            return self.options["default"]
        if self.choices:
            return self.choices[0]
        return {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False, "COMBO": ""}[self.type]


def inputs_of(kind: str, info: ObjectInfo) -> list[Input]:
    """The inputs of a node type, in the server's order.

    Raises:
        ValueError: the server has no such node.
    """
    if kind not in info:
        raise ValueError(f"expected nodes that the server has, got {kind}.")
    entry = info[kind]
    inputs = []
    for part in ("required", "optional"):
        declared = entry["input"].get(part, {})
        for name in entry.get("input_order", {}).get(part, declared):
            inputs.append(_input(name, declared[name], part == "optional"))
    return inputs


def outputs_of(kind: str, info: ObjectInfo) -> list[tuple[str, str]]:
    """(name, type) of each output of a node type."""
    return list(zip(info[kind]["output_name"], info[kind]["output"], strict=True))


def _input(name: str, spec: list[Any], optional: bool) -> Input:
    kind, options = spec[0], dict(spec[1]) if len(spec) > 1 else {}
    choices = tuple(kind) if isinstance(kind, list) else tuple(options.get("options") or ())
    kind = "COMBO" if isinstance(kind, list) else kind
    widget = (kind in WIDGET_TYPES or "widgetType" in options) and not options.get("forceInput")
    return Input(name, kind, widget, optional, options, choices)
