"""FastVMT motion transfer for ComfyUI's native Wan models: the entry point that the host calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes import FastVMTExtension

WEB_DIRECTORY = "./web"
"""What the page loads: its .js files, and the help pages in docs/."""


async def comfy_entrypoint() -> FastVMTExtension:
    """Give the host its list of nodes.

    The import waits until the host asks, so that pytest can collect this folder without a host.
    """
    from .nodes import FastVMTExtension

    return FastVMTExtension()
