"""A drawing -> a crude clip, whose motion is read like any other's."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from comfy_api.latest import InputImpl, Types, io

from ..fastvmt_core.config import ClipConfig
from ..fastvmt_core.drawing.description import MOST_OBJECTS, read_drawing
from ..fastvmt_core.drawing.render import Canvas, render
from ..fastvmt_core.drawing.tracks import LARGEST_SIDE
from ..fastvmt_core.video.clip import MOST_FRAMES
from .host.page.progress import bar_of
from .io_types import TracksSocket
from .schema import MOTION, node_schema, options

if TYPE_CHECKING:
    import torch

DEFAULTS = ClipConfig()


class FastVMTDrawMotion(io.ComfyNode):
    """Draw what moves where."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets; the size is that of Encode Reference."""
        return node_schema(
            node_id="FastVMTDrawMotion",
            display_name="FastVMT Draw Motion",
            category=MOTION,
            essential=True,
            search_aliases=[
                "draw path",
                "motion path",
                "motion brush",
                "trajectory",
                "spline editor",
                "cut and drag",
                "camera path",
                "motion transfer",
            ],
            description="A motion without a clip: mark up to eight objects, draw where each goes, move the camera. The "
            "crude clip that comes out is a reference like any other: connect it to Encode Reference.",
            inputs=[
                drawing_input(),
                *canvas_inputs(),
                io.Int.Input(
                    "mask_of",
                    default=0,
                    min=0,
                    max=MOST_OBJECTS,
                    tooltip="Number of the object whose mask is given out, for Mask Motion or Blend Motion. 0: all.",
                ),
                picture_input(),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="Masks of objects, instead of shapes drawn on the node; optional. Each mask of the batch "
                    "can be an object.",
                ),
            ],
            outputs=[
                *clip_outputs("The mask of the objects in each frame."),
                TracksSocket.Output(display_name="tracks", tooltip="Points of the objects, for WanMove's nodes."),
                io.String.Output(
                    display_name="coordinates",
                    tooltip="The same as text, for WanTrackToVideo (ATI), which wants a length of 121.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, drawing: str | None = None) -> bool | str:
        """True, or what is wrong with the drawing before anything runs; a linked text (None) is not known yet."""
        try:
            drawing is None or read_drawing(drawing)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        drawing: str,
        width: int,
        height: int,
        length: int,
        fps: float,
        mask_of: int,
        picture: torch.Tensor | None = None,
        masks: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """Render the drawing."""
        drawn, canvas = read_drawing(drawing), Canvas(width, height, length, fps)
        on_layer = bar_of(1 + len(drawn.objects))
        clip = render(drawn, canvas, picture, masks, mask_of, on_layer=on_layer)
        video = video_of(clip.frames, fps)
        return io.NodeOutput(clip.frames, video, clip.mask, clip.tracks.as_host(), clip.tracks.as_text())


def drawing_input() -> io.Input:
    """The drawing: JSON in a STRING, which the page lets people draw."""
    drawing = io.String.Input(
        "drawing",
        default="",
        tooltip="What moves, and where: add an object, then draw its path. As text: JSON with objects (ellipse, lasso "
        "or mask, and path) and camera, places as shares of the frame; see the node's help.",
    )
    # Only newer hosts take the widget's type as an argument.
    return options(drawing, widgetType="FASTVMT_DRAWING")


def canvas_inputs() -> list[io.Input]:
    """Size, length and rate of a crude clip."""
    return [
        io.Int.Input(
            "width",
            default=DEFAULTS.width,
            min=16,
            max=LARGEST_SIDE,
            step=16,
            tooltip="Width of the clip in pixels; best the new video's.",
        ),
        io.Int.Input(
            "height",
            default=DEFAULTS.height,
            min=16,
            max=LARGEST_SIDE,
            step=16,
            tooltip="Height of the clip in pixels; best the new video's.",
        ),
        io.Int.Input(
            "length",
            default=DEFAULTS.length,
            min=1,
            max=MOST_FRAMES,
            tooltip="Frames of the clip; best the new video's. Wan takes 4n+1; 81 is its own.",
        ),
        io.Float.Input(
            "fps",
            default=DEFAULTS.target_fps,
            min=0.1,
            max=1000.0,
            step=0.001,
            tooltip="Frames per second of the clip; best the model's (Wan: 16, Wan 2.2 5B: 24).",
        ),
    ]


def picture_input() -> io.Input:
    """The picture that objects are cut out of."""
    return io.Image.Input(
        "picture",
        optional=True,
        tooltip="The picture that the objects are cut out of, such as an image-to-video model's first frame; optional. "
        "Cropped to the clip's shape. Without one they are coloured shapes on a grey ground.",
    )


def clip_outputs(mask: str) -> list[io.Output]:
    """A crude clip in both forms, and a mask of what moves in it."""
    return [
        io.Image.Output(display_name="frames", tooltip="The crude clip as images, for Encode Reference or a preview."),
        io.Video.Output(display_name="video", tooltip="The crude clip with its rate, for Encode Reference."),
        io.Mask.Output(display_name="mask", tooltip=mask),
    ]


def video_of(frames: torch.Tensor, fps: float) -> InputImpl.VideoFromComponents:
    """A VIDEO of frames (T, H, W, 3)."""
    rate = Fraction(fps).limit_denominator(1000)
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=frames, audio=None, frame_rate=rate))
