"""The host in this process: ComfyUI's modules and our pack, loaded as ComfyUI loads them."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from benchmarks.runs.host_graph import Event
from tools.host.layout import REPO, Layout

EXTRAS = (
    "nodes_model_advanced.py",
    "nodes_hunyuan.py",
    "nodes_video.py",
    "nodes_custom_sampler.py",
    "nodes_context_windows.py",
)
"""Files of the host's own nodes that the demo's graph and its variants use beside the core ones."""
OURS = "FastVMTApplyMotion"
"""A node of ours, by which the pack's own modules are found."""


class Receiver:
    """In place of the server: keeps the messages that nodes send to it."""

    client_id = "benchmark"

    def __init__(self) -> None:
        self._events: list[Event] = []

    def send_sync(self, event: str, data: dict[str, Any], sid: str | None = None) -> None:
        """The message is kept."""
        self._events.append((event, data))

    def drain(self) -> list[Event]:
        """The messages since the last call."""
        events, self._events = self._events, []
        return events


class Host:
    """ComfyUI in this process, of which there can be one. ``classes`` are its node classes by class type."""

    def __init__(self) -> None:
        layout = Layout.of()
        # First, or our own nodes/ would shadow the host's module of that name.
        sys.path.insert(0, str(layout.comfyui))
        import comfy.cli_args

        comfy.cli_args.args.cpu = not torch.cuda.is_available()
        # The host's own choice for a CPU splits attention to save memory, which takes three times as long.
        comfy.cli_args.args.use_pytorch_cross_attention = True
        # Early, as main.py does: a module of the host puts comfy/ on the path, whose utils.py would be found instead.
        importlib.import_module("utils.install_util")
        import comfy.utils
        import folder_paths
        from server import PromptServer

        import nodes

        comfy.utils.PROGRESS_BAR_ENABLED = False
        self._paths = folder_paths
        self.classes: dict[str, type] = nodes.NODE_CLASS_MAPPINGS
        packs = [(REPO, "custom_nodes")]
        packs += [(layout.comfyui / "comfy_extras" / name, "comfy_extras") for name in EXTRAS]
        for path, parent in packs:
            if not asyncio.run(nodes.load_custom_node(str(path), module_parent=parent)):
                raise RuntimeError(f"the host could not load {path.name}; its warning above has the reason")
        # Only now: a pack that finds a server when it is loaded would give it routes.
        self.receiver = Receiver()
        PromptServer.instance = self.receiver
        self._pack = self.classes[OURS].__module__.rpartition(".nodes.")[0]

    def pack(self, name: str) -> ModuleType:
        """A module of our pack as the host loaded it, such as ``fastvmt_core.attention.flow``."""
        return importlib.import_module(f"{self._pack}.{name}")

    def offer(self, folder: str, file: Path) -> str:
        """The name by which loader nodes find a model file from now on.

        Raises:
            ValueError: another file of that name is offered already.
        """
        self._paths.add_model_folder_path(folder, str(file.parent))
        if Path(self._paths.get_full_path_or_raise(folder, file.name)) != file:
            raise ValueError(f"model: expected files with names of their own, got two called {file.name}; rename one.")
        return file.name

    def input_names(self, class_type: str) -> tuple[set[str], set[str]]:
        """Names of the required and of the optional inputs of a node class."""
        if class_type not in self.classes:
            raise ValueError(f"graph: expected a known node class, got {class_type!r}.")
        inputs = self.classes[class_type].INPUT_TYPES()
        return set(inputs.get("required", {})), set(inputs.get("optional", {}))


Schema = Callable[[str], tuple[set[str], set[str]]]
"""Required and optional input names of a class type; ``Host.input_names``."""
