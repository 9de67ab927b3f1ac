"""Motion <-> file, in a folder that lists motions like any model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..fastvmt_core.motion.about import MOST_FPS
from ..fastvmt_core.motion.embedding import MotionEmbedding
from ..fastvmt_core.viz.description import described, thumbnail_of, with_about
from .host.files import motion_folder
from .host.page.node_text import show_on_node
from .io_types import Motion
from .schema import MOTION, node_schema

if TYPE_CHECKING:
    import torch

motion_folder.register()


class FastVMTSaveMotion(io.ComfyNode):
    """Keep a motion in a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return node_schema(
            node_id="FastVMTSaveMotion",
            display_name="FastVMT Save Motion",
            category=MOTION,
            search_aliases=["motion transfer", "motion library", "export motion", "keep motion"],
            description="Keeps a motion in models/fastvmt_motion. It can be loaded into any graph, with any prompt and "
            "seed, and at another size and length.",
            inputs=[
                Motion.Input("motion", tooltip="The motion to keep, from Invert Motion or an edit."),
                io.String.Input(
                    "name", default="motion", tooltip="Name of the file, without a folder and without an ending."
                ),
                io.String.Input(
                    "note",
                    default="",
                    multiline=True,
                    tooltip="A text for yourself, kept in the file: what moves, where the clip is from.",
                ),
                io.Boolean.Input(
                    "keep_reference",
                    default=True,
                    tooltip="Also keeps the reference's latent, which Refresh Motion needs. Whoever gets the file can "
                    "decode the clip from it. Off: the motion alone, and a thumbnail if frames are connected.",
                ),
                io.Boolean.Input(
                    "replace",
                    default=False,
                    tooltip="Replaces a file of that name. Off: the new file gets a number.",
                ),
                io.Image.Input(
                    "frames",
                    optional=True,
                    tooltip="The reference clip: its size and a thumbnail are kept in the file. Optional.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=float(MOST_FPS),
                    step=0.001,
                    optional=True,
                    tooltip="Frames per second of the reference, kept in the file as a remark. 0: unknown.",
                ),
            ],
            outputs=[
                Motion.Output(display_name="motion", tooltip="The motion as the file holds it."),
                io.String.Output(display_name="file", tooltip="Name of the file, as Load Motion lists it."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        motion: MotionEmbedding,
        name: str,
        note: str,
        keep_reference: bool,
        replace: bool,
        frames: torch.Tensor | None = None,
        fps: float = 0.0,
    ) -> io.NodeOutput:
        """Describe the motion, write it, and report the file."""
        described_motion = with_about(motion, name.strip(), note, frames, fps, keep_reference)
        file = motion_folder.save(described_motion, name, replace)
        text = show_on_node(cls, f"{file}\n{described(described_motion)}")
        return io.NodeOutput(described_motion, file, ui=text)


class FastVMTLoadMotion(io.ComfyNode):
    """Load a motion from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """One widget: the list of files."""
        return node_schema(
            node_id="FastVMTLoadMotion",
            display_name="FastVMT Load Motion",
            category=MOTION,
            search_aliases=["motion transfer", "motion library", "import motion", "open motion"],
            description="Loads a motion from models/fastvmt_motion, or from input/fastvmt_motion where uploads go. A "
            "file holds numbers and text only; one that was changed or damaged is refused.",
            inputs=[
                io.Combo.Input(
                    "motion", options=motion_folder.names(), tooltip="The file to load, as Save Motion made it."
                ),
            ],
            outputs=[
                Motion.Output(display_name="motion", tooltip="The motion, for any prompt and seed."),
                io.Image.Output(display_name="thumbnail", tooltip="A small image of the reference; grey without one."),
                io.String.Output(display_name="report", tooltip="Name, note, size, length and origin, as text."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, motion: str | None) -> str | float:
        """What changes when the file does; always another value for a linked name (None), which is not known yet."""
        return float("nan") if motion is None else motion_folder.state(motion)

    @classmethod
    def execute(cls, motion: str) -> io.NodeOutput:
        """Read and check the file."""
        loaded = MotionEmbedding.load(motion_folder.find(motion))
        text = described(loaded)
        return io.NodeOutput(loaded, thumbnail_of(loaded), text, ui=show_on_node(cls, text))
