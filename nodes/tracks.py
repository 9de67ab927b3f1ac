"""Tracks of other nodes -> a crude clip, and a motion -> tracks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..fastvmt_core.drawing.render import Canvas, render_tracks
from ..fastvmt_core.drawing.tracks import Tracks, cleaned, tracks_of_host, tracks_of_motion, tracks_of_text
from .draw_motion import canvas_inputs, clip_outputs, picture_input, video_of
from .host.page.node_text import show_on_node
from .host.page.progress import bar_of
from .io_types import Motion, TracksSocket
from .schema import MOTION, node_schema

if TYPE_CHECKING:
    import torch

    from ..fastvmt_core.motion.embedding import MotionEmbedding


class FastVMTMotionFromTracks(io.ComfyNode):
    """Make a reference of points that move."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return node_schema(
            node_id="FastVMTMotionFromTracks",
            display_name="FastVMT Motion From Tracks",
            category=MOTION,
            search_aliases=["tracks", "trajectory", "WanMove", "ATI", "spline editor", "point tracking", "motion path"],
            description="A motion without a clip: points that move become a crude clip, a disc for each. Takes the "
            "tracks of WanMove's nodes, or coordinates of a spline editor or of ATI's nodes. Connect the clip to "
            "Encode Reference.",
            inputs=[
                *canvas_inputs(),
                io.Float.Input(
                    "radius",
                    default=0.1,
                    min=0.005,
                    max=0.5,
                    step=0.005,
                    tooltip="Radius of each disc, as a share of the frame's shorter side. Many tracks want less.",
                ),
                TracksSocket.Input(
                    "tracks",
                    optional=True,
                    tooltip="Points over time, in pixels of width and height. Connect this, or give coordinates.",
                ),
                io.String.Input(
                    "coordinates",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip='The same as text: [{"x": 10, "y": 20}, ...] or a list of such lists, in pixels of width '
                    "and height; connect a spline editor's coordinates.",
                ),
                picture_input(),
            ],
            outputs=[
                *clip_outputs("The mask of the discs in each frame."),
                io.String.Output(display_name="report", tooltip="How many tracks are drawn, and what was changed."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        width: int,
        height: int,
        length: int,
        fps: float,
        radius: float,
        tracks: Any = None,  # noqa: ANN401  (of another pack's node)
        coordinates: str = "",
        picture: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """Clean the tracks, and render a disc for each."""
        canvas = Canvas(width, height, length, fps)
        points, notes = cleaned(_given(tracks, coordinates), canvas.size, length)
        clip = render_tracks(points, canvas, radius, picture, on_layer=bar_of(1 + points.points.shape[1]))
        report = " ".join(filter(None, (f"Tracks: {points.points.shape[1]} in {length} frames.", notes)))
        text = show_on_node(cls, report)
        return io.NodeOutput(clip.frames, video_of(clip.frames, fps), clip.mask, report, ui=text)


def _given(tracks: object, coordinates: str) -> list[Tracks]:
    """The tracks of exactly one of the two inputs.

    Raises:
        ValueError: none or both are given, or they cannot be read.
    """
    if (tracks is None) == (not coordinates.strip()):
        given = "none" if tracks is None else "both"
        raise ValueError(f"tracks, coordinates: expected exactly one of the two, got {given}; give one of them.")
    return tracks_of_text(coordinates) if tracks is None else [tracks_of_host(tracks)]


class FastVMTMotionToTracks(io.ComfyNode):
    """Give a motion to nodes that take tracks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        width, height, _, _ = canvas_inputs()
        width.tooltip, height.tooltip = (
            f"{name} in pixels of the video that the tracks are for." for name in ("Width", "Height")
        )
        return node_schema(
            node_id="FastVMTMotionToTracks",
            display_name="FastVMT Motion To Tracks",
            category=MOTION,
            search_aliases=["tracks", "trajectory", "WanMove", "ATI", "export motion", "point tracking"],
            description="The trajectories of a motion as tracks, for nodes that draw or follow tracks (WanMove, ATI).",
            inputs=[
                Motion.Input("motion", tooltip="The motion, from Invert Motion, Load Motion or an edit."),
                width,
                height,
                io.Int.Input(
                    "spacing",
                    default=4,
                    min=1,
                    max=64,
                    tooltip="Tokens between neighbouring points (16 pixels each; Wan 2.2 5B: 32).",
                ),
            ],
            outputs=[
                TracksSocket.Output(display_name="tracks", tooltip="Points over time, for WanMove's nodes."),
                io.String.Output(display_name="coordinates", tooltip="The same as text, for WanTrackToVideo (ATI)."),
            ],
        )

    @classmethod
    def execute(cls, motion: MotionEmbedding, width: int, height: int, spacing: int) -> io.NodeOutput:
        """Follow the points."""
        tracks = tracks_of_motion(motion, (width, height), spacing)
        return io.NodeOutput(tracks.as_host(), tracks.as_text())
