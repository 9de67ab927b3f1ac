"""Motion <-> file, in a folder that lists motions like any model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..fastvmt_core.motion.about import MOST_FPS
from ..fastvmt_core.motion.embedding import MotionEmbedding
from ..fastvmt_core.viz.description import described, thumbnail_of, with_about
from .host.files import motion_folder
from .host.page.node_text import said_on
from .io_types import CATEGORY, Motion

if TYPE_CHECKING:
    import torch

motion_folder.register()


class FastVMTSaveMotion(io.ComfyNode):
    """Keep a motion in a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the widgets."""
        return io.Schema(
            node_id="FastVMTSaveMotion",
            display_name="FastVMT Save Motion",
            category=CATEGORY,
            description="Keeps a motion in models/fastvmt_motion. It can be loaded into any graph, with any prompt and "
            "seed, and at another size and length.",
            inputs=[
                Motion.Input("motion", tooltip="From Invert Motion, or edited."),
                io.String.Input("name", default="motion", tooltip="Name of the file, without a folder."),
                io.String.Input(
                    "note", default="", multiline=True, tooltip="What you want to remember of it; kept in the file."
                ),
                io.Boolean.Input(
                    "keep_reference",
                    default=True,
                    tooltip="Also keep the reference's latent, which Refresh Motion reads again. Whoever gets the file "
                    "can decode the clip from it. Off: the motion alone, and a small picture if frames are connected.",
                ),
                io.Boolean.Input(
                    "replace",
                    default=False,
                    tooltip="Replace a file of that name. Off: the new one gets a number.",
                ),
                io.Image.Input(
                    "frames",
                    optional=True,
                    tooltip="The reference clip: its size and a small picture of it are kept in the file.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=float(MOST_FPS),
                    step=0.001,
                    optional=True,
                    tooltip="Frames per second of the reference, to remember; 0: unknown.",
                ),
            ],
            outputs=[Motion.Output(display_name="motion"), io.String.Output(display_name="file")],
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
        """Describe the motion, write it, and say where."""
        kept = with_about(motion, name.strip(), note, frames, fps, keep_reference)
        file = motion_folder.save(kept, name, replace)
        return io.NodeOutput(kept, file, ui=said_on(cls, f"{file}\n{described(kept)}"))


class FastVMTLoadMotion(io.ComfyNode):
    """Load a motion from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """One widget: the list of files."""
        return io.Schema(
            node_id="FastVMTLoadMotion",
            display_name="FastVMT Load Motion",
            category=CATEGORY,
            description="Loads a motion from models/fastvmt_motion, or from input/fastvmt_motion where uploads go. A "
            "file holds numbers and text only; one that was changed or damaged is refused.",
            inputs=[
                io.Combo.Input("motion", options=motion_folder.names(), tooltip="A file that Save Motion made."),
            ],
            outputs=[
                Motion.Output(display_name="motion"),
                io.Image.Output(
                    display_name="thumbnail", tooltip="A small picture of the reference; grey without one."
                ),
                io.String.Output(display_name="report", tooltip="What the file says of itself."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, motion: str | None) -> str | float:
        """A file that was replaced is another input; which one a link names (None) is not known, so always another."""
        return float("nan") if motion is None else motion_folder.state(motion)

    @classmethod
    def execute(cls, motion: str) -> io.NodeOutput:
        """Read and check the file."""
        loaded = MotionEmbedding.load(motion_folder.find(motion))
        said = described(loaded)
        return io.NodeOutput(loaded, thumbnail_of(loaded), said, ui=said_on(cls, said))
