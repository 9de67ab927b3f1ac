"""Videos of one motion -> a page that shows them side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..fastvmt_core.checks import require_positive
from ..fastvmt_core.drawing.tracks import tracks_of_motion
from ..fastvmt_core.metrics.report import fitted
from ..fastvmt_core.motion.about import MOST_FPS
from ..fastvmt_core.video.clip import require_clip
from ..fastvmt_core.viz.comparison import Shown, comparison_page, figures_of, losses_of
from .draw_motion import video_of
from .host.files import pages
from .host.page.node_text import show_on_node
from .io_types import Motion
from .schema import EVALUATE, node_schema

if TYPE_CHECKING:
    import torch

    from ..fastvmt_core.motion.embedding import MotionEmbedding


class FastVMTCompare(io.ComfyNode):
    """Show the reference, the guided and the unguided video beside each other."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return node_schema(
            node_id="FastVMTCompare",
            display_name="FastVMT Compare",
            category=EVALUATE,
            search_aliases=["motion transfer", "side by side", "compare videos", "html", "share", "report"],
            description="Writes one HTML file with the videos beside each other, in sync, the reference's trajectories "
            "over them, and the loss and the figures below. It opens from disk in any browser, and fetches nothing.",
            inputs=[
                io.Image.Input("guided", tooltip="The video that was generated with the motion."),
                io.Image.Input("reference", tooltip="The reference clip, brought to the video's size and length."),
                io.Float.Input(
                    "fps", default=16.0, min=1.0, max=120.0, step=0.001, tooltip="Frames per second of the videos."
                ),
                io.String.Input(
                    "filename_prefix",
                    default="fastvmt/compare",
                    tooltip="Name of the file in the output folder; a number is added.",
                ),
                io.Image.Input("unguided", optional=True, tooltip="The same seed without the motion. Optional."),
                Motion.Input("motion", optional=True, tooltip="The motion, for its trajectories. Optional."),
                io.String.Input(
                    "report",
                    default="",
                    optional=True,
                    tooltip="The figures to show: connect Motion Fidelity's report. Optional.",
                ),
                io.String.Input(
                    "loss_log",
                    default="",
                    optional=True,
                    tooltip="The losses to show: connect FastVMT Sampler's loss_log. Optional.",
                ),
                io.Boolean.Input(
                    "keep_graph",
                    default=True,
                    optional=True,
                    tooltip="Keeps the workflow in the file, with a button that copies it. Off: whoever gets the file "
                    "does not see how it was made.",
                ),
            ],
            outputs=[io.String.Output(display_name="file", tooltip="Where the file is.")],
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        guided: torch.Tensor,
        reference: torch.Tensor,
        fps: float,
        filename_prefix: str,
        unguided: torch.Tensor | None = None,
        motion: MotionEmbedding | None = None,
        report: str = "",
        loss_log: str = "",
        keep_graph: bool = True,
    ) -> io.NodeOutput:
        """Encode the videos, and write them into a page."""
        given = {"reference": reference, "guided": guided, "not guided": unguided}
        clips = {name: clip for name, clip in given.items() if clip is not None}
        for name, clip in clips.items():
            require_clip("unguided" if name == "not guided" else name, clip)
        require_positive("fps", fps, high=MOST_FPS)
        guided = pages.encodable("guided", guided)
        frames, height, width = guided.shape[:3]
        page = Shown(
            clips=[(name, pages.mp4_of(video_of(fitted(clip[..., :3], guided), fps))) for name, clip in clips.items()],
            width=width,
            height=height,
            frames=frames,
            fps=fps,
            made=f"{frames} frames of {width} x {height} pixels, {fps:g} frames per second",
            tracks=None if motion is None else tracks_of_motion(motion, (1.0, 1.0), 1).points,
            figures=figures_of(report),
            losses=losses_of(loss_log),
            graph=(cls.hidden.extra_pnginfo or {}).get("workflow") if keep_graph else None,
        )
        saved = pages.save(comparison_page(page), filename_prefix)
        text = show_on_node(cls, f"{saved.path}\nOpen it in a browser.")
        return io.NodeOutput(str(saved.path), ui={**text.as_dict(), "fastvmt_page": [saved.shown]})
