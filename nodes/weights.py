"""The loss-weight controller."""

from __future__ import annotations

from typing import get_args

from comfy_api.latest import io

from ..fastvmt_core.config import LossWeights, StepSchedule
from ..fastvmt_core.presets import PAPER_LOSS_WEIGHTS
from ..fastvmt_core.typed_text import curve_points
from .io_types import CATEGORY, LossWeightsSocket

DEFAULTS = PAPER_LOSS_WEIGHTS


def curve_input() -> io.Input:
    """The curve: JSON in a STRING, which the page lets people draw."""
    curve = io.String.Input(
        "curve",
        default="",
        optional=True,
        tooltip="Strength of each guided step, from pure noise (left) to end_percent: drag the points, double-click to "
        "add or remove one. It multiplies the schedule. As text: [[position, factor], ...], positions from 0 to 1, "
        "factors from 0 to 2.",
    )
    # Only newer hosts take this as an argument.
    curve.extra_dict = {**(curve.extra_dict or {}), "widgetType": "FASTVMT_CURVE"}
    return curve


class FastVMTLossWeights(io.ComfyNode):
    """Weights of the two losses, of the pairs of frames, and the course over the guided steps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the widgets; their defaults are those of `PAPER_LOSS_WEIGHTS`."""
        return io.Schema(
            node_id="FastVMTLossWeights",
            display_name="FastVMT Loss Weights",
            category=CATEGORY,
            description="What the guidance cares about. The first two set a ratio only; how hard it pulls is "
            "Apply Motion's strength and learning rates, times the schedule here.",
            inputs=[
                io.Float.Input(
                    "amf",
                    default=DEFAULTS.amf,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="Weight of following the reference's attention motion flow: the motion itself.",
                ),
                io.Float.Input(
                    "consistency",
                    default=DEFAULTS.consistency,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="Weight of keeping what a tile sees alike from frame to frame: smoother motion, "
                    "but too much of it holds the motion back. 0 switches it off and saves time.",
                ),
                io.Float.Input(
                    "distance_decay",
                    default=DEFAULTS.distance_decay,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much less frames count the farther they lie apart: 0 all alike, 1 the most.",
                ),
                io.Float.Input(
                    "self_pairs",
                    default=DEFAULTS.self_pairs,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    tooltip="Weight of a frame matched with itself. It carries where things are rather than "
                    "how they move: lower it when the layout should be freer.",
                ),
                io.Combo.Input(
                    "schedule",
                    options=list(get_args(StepSchedule)),
                    default=DEFAULTS.schedule,
                    tooltip="Course of the strength from pure noise to end_percent: constant, or "
                    "falling to nothing by a straight line or a cosine.",
                ),
                io.Boolean.Input(
                    "released_scale",
                    default=DEFAULTS.released_scale,
                    optional=True,
                    tooltip="Scale the two losses as the released FastVMT code does: the motion then weighs far more "
                    "than the window loss at the same numbers.",
                ),
                curve_input(),
            ],
            outputs=[LossWeightsSocket.Output(display_name="weights")],
        )

    @classmethod
    def execute(
        cls,
        amf: float,
        consistency: float,
        distance_decay: float,
        self_pairs: float,
        schedule: StepSchedule,
        released_scale: bool = DEFAULTS.released_scale,
        curve: str = "",
    ) -> io.NodeOutput:
        """Pack the widgets into a `LossWeights`."""
        weights = LossWeights(
            amf=amf,
            consistency=consistency,
            distance_decay=distance_decay,
            self_pairs=self_pairs,
            schedule=schedule,
            released_scale=released_scale,
            curve=curve_points("curve", curve),
        )
        return io.NodeOutput(weights)
