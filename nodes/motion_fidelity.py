"""Two clips -> how alike they move."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..fastvmt_core.metrics.report import compared
from .host.files.clip_vision import image_features
from .host.page.node_text import show_on_node
from .schema import EVALUATE, node_schema

if TYPE_CHECKING:
    import torch
    from comfy.clip_vision import ClipVisionModel


class FastVMTMotionFidelity(io.ComfyNode):
    """Judge how well a generated clip follows a reference."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return node_schema(
            node_id="FastVMTMotionFidelity",
            display_name="FastVMT Motion Fidelity",
            category=EVALUATE,
            search_aliases=[
                "motion transfer",
                "compare motion",
                "motion score",
                "temporal consistency",
                "evaluate video",
            ],
            description="Measures how alike two clips move: points are followed through both by classical optical flow "
            "(OpenCV's DIS; nothing is downloaded), and their paths are compared as in the papers on motion transfer. "
            "Those follow points by CoTracker: figures of the two methods are not comparable.",
            inputs=[
                io.Image.Input("generated", tooltip="The generated clip."),
                io.Image.Input(
                    "reference", tooltip="The reference clip, which is brought to the generated clip's size and length."
                ),
                io.Int.Input(
                    "spacing",
                    default=16,
                    min=2,
                    max=256,
                    tooltip="Distance between the points that are followed, in pixels. Smaller is finer and slower; 8 "
                    "to 32 works.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="Also measures how steady the generated clip is: CLIP's cosine from frame to frame, the "
                    "papers' temporal consistency. Optional.",
                ),
            ],
            outputs=[
                io.Float.Output(display_name="fidelity", tooltip="-1 to 1; 1: they move alike."),
                io.String.Output(
                    display_name="report", tooltip="All figures as JSON: motion, flicker, smoothness, background."
                ),
                io.Image.Output(display_name="tracks", tooltip="Both clips side by side, with the paths drawn in."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        generated: torch.Tensor,
        reference: torch.Tensor,
        spacing: int,
        clip_vision: ClipVisionModel | None = None,
    ) -> io.NodeOutput:
        """Follow the points, compare, and draw."""
        features = None if clip_vision is None else image_features(clip_vision, generated)
        comparison = compared(generated, reference, spacing, features)
        text = show_on_node(cls, comparison.in_words)
        return io.NodeOutput(comparison.fidelity, json.dumps(comparison.report), comparison.images, ui=text)
