"""How a node describes itself: menu, search words, labels and advanced inputs, as far as the host knows them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection, Sequence

from comfy_api.latest import io

MOTION, GUIDANCE, EVALUATE, DEMO = (f"FastVMT/{name}" for name in ("motion", "guidance", "evaluate", "demo"))
"""The four parts of the pack's menu."""
ESSENTIALS = "Video Tools"
"""The host's own group for a video user's first nodes."""
LARGEST_SEED = 0xFFFFFFFFFFFFFFFF


def node_schema(
    *, search_aliases: Sequence[str] = (), essential: bool = False, host: type = io.Schema, **fields: object
) -> io.Schema:
    """The schema of a node, with the newer fields where the host's `io.Schema` has them.

    Args:
        search_aliases: further words under which the node's search finds it.
        essential: whether it belongs among the first nodes that a video user sees.
        host: the class that is made.
        fields: what every host's schema takes.
    """
    newer = {"search_aliases": list(search_aliases), "essentials_category": ESSENTIALS if essential else None}
    known = {field.name for field in dataclasses.fields(host)}
    return host(**fields, **{name: value for name, value in newer.items() if name in known})


def advanced(widget: io.Input, host: type = io.Input) -> io.Input:
    """The same input, which the page shows only on request; an option of the input where the host has no argument."""
    if "advanced" in inspect.signature(host.__init__).parameters:
        widget.advanced = True
    else:
        widget.extra_dict = {**(widget.extra_dict or {}), "advanced": True}
    return widget


def options(widget: io.Input, **extra: object) -> io.Input:
    """The same input with further options for the page, which hosts pass on without knowing them."""
    widget.extra_dict = {**(widget.extra_dict or {}), **extra}
    return widget


def require_choice(name: str, value: object, choices: Collection[str]) -> str:
    """The value of a list widget, which a link or a script can give too.

    Raises:
        ValueError: it is none of the choices.
    """
    # A list of a script cannot be looked up in a table.
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r:.200}; choose one of these.")
    return value
