"""The node that stands where a real workflow has CLIPTextEncode."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .words import BACKGROUNDS, COLOURS, SHAPES, encode, parse


class TinyWanPrompt(io.ComfyNode):
    """Encode the words that the tiny demo model was trained with."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """One text in, one CONDITIONING out."""
        choices = "; ".join(", ".join(words) for words in (COLOURS, SHAPES, BACKGROUNDS))
        return io.Schema(
            node_id="TinyWanPrompt",
            display_name="Tiny Wan Prompt (demo)",
            category="FastVMT/demo",
            description="Prompt of the demo's tiny model: one or two sprites and a background. Empty: the null prompt.",
            inputs=[
                io.String.Input(
                    "prompt",
                    default="blue square plain",
                    tooltip=f"Colour and shape of a sprite or two, and a background ({choices}). Nothing: null prompt.",
                )
            ],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def validate_inputs(cls, prompt: str | None) -> bool | str:
        """Refuse a word that the model does not know before anything runs; a linked text (None) is not known yet."""
        try:
            parse(prompt or "")
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, prompt: str) -> io.NodeOutput:
        """Encode ``prompt``."""
        return io.NodeOutput([[encode(prompt), {}]])


class TinyWanExtension(ComfyExtension):
    """The demo's one node."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """The node classes of this pack."""
        return [TinyWanPrompt]
