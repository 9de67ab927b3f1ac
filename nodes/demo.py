"""Nodes of the demo that runs anywhere: a tiny model that comes with the pack, its prompts, and a clip."""

from __future__ import annotations

from comfy_api.latest import io

from ..fastvmt_core.tiny_prompt import BACKGROUNDS, COLOURS, SHAPES, encode, parse
from .host.files.tiny_model import load_model, load_reference, load_vae
from .schema import DEMO, node_schema


class TinyWanLoader(io.ComfyNode):
    """Load the tiny model that comes with the pack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Nothing in; all that a first motion transfer needs out."""
        return node_schema(
            node_id="TinyWanLoader",
            display_name="Tiny Wan Loader (demo)",
            category=DEMO,
            search_aliases=["fastvmt demo", "motion transfer demo", "tiny model"],
            description="A real Wan, but tiny (13 MB, 128 x 128 pixels) and trained on moving shapes alone. It comes "
            "with FastVMT, so that a motion transfer can be tried without a download or a GPU. Its prompts come from "
            "Tiny Wan Prompt.",
            inputs=[],
            outputs=[
                io.Model.Output(tooltip="The tiny model."),
                io.Vae.Output(tooltip="Its VAE."),
                io.Video.Output(
                    display_name="reference", tooltip="A clip to take the motion of: a red circle on an arc."
                ),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        """Load the files from the pack's own folder."""
        return io.NodeOutput(load_model(), load_vae(), load_reference())


class TinyWanPrompt(io.ComfyNode):
    """Encode the words that the tiny demo model was trained with."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """One text in, one CONDITIONING out."""
        choices = "; ".join(", ".join(words) for words in (COLOURS, SHAPES, BACKGROUNDS))
        return node_schema(
            node_id="TinyWanPrompt",
            display_name="Tiny Wan Prompt (demo)",
            category=DEMO,
            search_aliases=["fastvmt demo", "tiny model prompt", "text encode"],
            description="Prompt of the demo's tiny model: one or two sprites and a background. Empty: the null prompt. "
            "A background alone is for Place Subject.",
            inputs=[
                io.String.Input(
                    "prompt",
                    default="blue square plain",
                    tooltip=f"Colour and shape of one or two sprites, a background ({choices}). Empty: null prompt.",
                )
            ],
            outputs=[io.Conditioning.Output(tooltip="The encoded prompt.")],
        )

    @classmethod
    def validate_inputs(cls, prompt: str | None) -> bool | str:
        """True, or what is wrong with the prompt before anything runs; a linked text (None) is not known yet."""
        try:
            parse(prompt or "")
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, prompt: str) -> io.NodeOutput:
        """Encode ``prompt``."""
        return io.NodeOutput([[encode(prompt), {}]])
