"""Prompts of the demo's tiny model, as a node pack of its own: nobody with a real model needs or sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes import TinyWanExtension


async def comfy_entrypoint() -> TinyWanExtension:
    """Give the host its list of nodes; imported late, so that pytest can collect this folder without a host."""
    from .nodes import TinyWanExtension

    return TinyWanExtension()
