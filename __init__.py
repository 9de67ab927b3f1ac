"""FastVMT motion transfer for ComfyUI's native Wan models: the entry point that the host calls."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes import FastVMTExtension

WEB_DIRECTORY = "./web"
"""What the page loads: its .js files, and the help pages in docs/."""


async def comfy_entrypoint() -> FastVMTExtension:
    """Give the host its list of nodes.

    The import waits until the host asks, so that pytest can collect this folder without a host.

    Raises:
        ImportError: the host or a package is missing or too old. The host logs it in one line and goes on without us.
    """
    try:
        from .nodes import FastVMTExtension
    except ImportError as error:
        requirements = Path(__file__).parent / "requirements.txt"
        raise ImportError(
            f"FastVMT is switched off: {error}. It needs ComfyUI 0.3.75 or newer, and packages that this installs: "
            f'"{sys.executable}" -m pip install -r "{requirements}"'
        ) from error
    return FastVMTExtension()
