"""A text on a node after it ran. Trap: the page of 0.3.75 leaves out the text of a node's output, but keeps the last
line of progress on the node, so the text is sent as both."""

from __future__ import annotations

from comfy_api.latest import io, ui

from .progress import show_text


def show_on_node(node: type[io.ComfyNode], text: str) -> ui.PreviewText:
    """Show a text on the node that runs (it must ask for its hidden unique_id); returns it for the node's output."""
    show_text(getattr(node.hidden, "unique_id", None), text)
    return ui.PreviewText(text)
