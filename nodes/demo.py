"""Nodes of the demo that runs anywhere: a tiny model that comes with the pack, its prompts, and a clip."""

from __future__ import annotations

from comfy_api.latest import io

from ..demo.prompt_pack.nodes import TinyWanPrompt
from .host.tiny_wan import load_model, load_reference, load_vae

__all__ = ["TinyWanLoader", "TinyWanPrompt"]


class TinyWanLoader(io.ComfyNode):
    """Load the tiny model that comes with the pack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Nothing in; all that a first motion transfer needs out."""
        return io.Schema(
            node_id="TinyWanLoader",
            display_name="Tiny Wan Loader (demo)",
            category="FastVMT/demo",
            description="A real Wan, but tiny (13 MB, 128 x 128 pixels) and trained on moving shapes alone. It comes "
            "with FastVMT, so that a motion transfer can be tried without a download or a GPU. Its prompts come from "
            "Tiny Wan Prompt.",
            inputs=[],
            outputs=[
                io.Model.Output(),
                io.Vae.Output(),
                io.Video.Output(display_name="reference", tooltip="A red circle on an arc."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        """Load the files from the pack's own folder."""
        return io.NodeOutput(load_model(), load_vae(), load_reference())
