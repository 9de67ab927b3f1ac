"""The loss-weight controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from comfy_api.latest import io

from ..fastvmt_core.config import LARGEST_CURVE_FACTOR, LossWeights, StepSchedule
from ..fastvmt_core.presets import PAPER_LOSS_WEIGHTS
from ..fastvmt_core.typed_text import curve_points
from .io_types import HOST_CURVE, LossWeightsSocket
from .schema import GUIDANCE, advanced, node_schema, options, require_choice

if TYPE_CHECKING:
    from comfy_api.input import CurveInput

DEFAULTS = PAPER_LOSS_WEIGHTS
CURVE_PARTS = 16
"""A curve of the host is sampled at the ends of so many equal parts."""

Points = tuple[tuple[float, float], ...]


def curve_input() -> io.Input:
    """The curve: JSON in a STRING, which the page lets people draw."""
    curve = io.String.Input(
        "curve",
        default="",
        optional=True,
        tooltip="Multiplies the strength of each guided step, from pure noise (left) to end_percent (right): drag the "
        "points, double-click to add or remove one. As text: [[position, factor], ...], positions from 0 to 1, "
        "factors from 0 to 2.",
    )
    # Only newer hosts take the widget's type as an argument.
    return options(curve, widgetType="FASTVMT_CURVE")


def host_curve_inputs(host: Any = io) -> list[io.Input]:  # noqa: ANN401  (a module, or a test's stand-in)
    """A socket for the host's own curve, where it has that type."""
    if not hasattr(host, "Curve"):
        return []
    socket = io.Custom(HOST_CURVE).Input(
        "host_curve",
        display_name="curve input",
        optional=True,
        tooltip="Takes the place of the curve drawn here: the output of Curve Editor, cut off at factors 0 and 2.",
    )
    # Or the page would draw an editor of its own for it.
    return [options(socket, forceInput=True)]


class FastVMTLossWeights(io.ComfyNode):
    """Weights of the two losses, of the pairs of frames, and the course over the guided steps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets; their defaults are those of `PAPER_LOSS_WEIGHTS`."""
        return node_schema(
            node_id="FastVMTLossWeights",
            display_name="FastVMT Loss Weights",
            category=GUIDANCE,
            search_aliases=["motion weight", "strength schedule", "strength curve", "motion transfer", "DiTFlow"],
            description="What the guidance cares about. The first two numbers set a ratio only; how hard the motion "
            "pulls is Apply Motion's strength, times the schedule and the curve here.",
            inputs=[
                io.Float.Input(
                    "amf",
                    display_name="motion weight (λ_AMF)",
                    default=DEFAULTS.amf,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="How much following the reference's motion counts against steadiness, in the paper's "
                    "scale (paper: 5). For more motion raise strength instead.",
                ),
                io.Float.Input(
                    "consistency",
                    display_name="steadiness weight (λ_window)",
                    default=DEFAULTS.consistency,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="Smoother motion: how much each region has to stay alike from frame to frame, in the "
                    "paper's scale (paper: 1). Too much holds the motion back; 0 switches it off and saves time.",
                ),
                advanced(
                    io.Float.Input(
                        "distance_decay",
                        default=DEFAULTS.distance_decay,
                        min=0.0,
                        max=1.0,
                        step=0.05,
                        tooltip="Lets frames that are farther apart in time count less. 0: all alike, 1: the most.",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "self_pairs",
                        default=DEFAULTS.self_pairs,
                        min=0.0,
                        max=100.0,
                        step=0.05,
                        tooltip="How much the reference's layout counts, beside its motion. Lower it (0.3) to let "
                        "the prompt arrange the scene.",
                    )
                ),
                io.Combo.Input(
                    "schedule",
                    options=list(get_args(StepSchedule)),
                    default=DEFAULTS.schedule,
                    tooltip="How the strength changes over the guided steps: constant, or down to zero along a "
                    "straight line (linear) or a cosine.",
                ),
                curve_input(),
                *host_curve_inputs(),
            ],
            outputs=[LossWeightsSocket.Output(display_name="weights", tooltip="For Apply Motion or Sampler.")],
        )

    @classmethod
    def execute(
        cls,
        amf: float,
        consistency: float,
        distance_decay: float,
        self_pairs: float,
        schedule: StepSchedule,
        curve: str = "",
        host_curve: CurveInput | None = None,
    ) -> io.NodeOutput:
        """Pack the widgets into a `LossWeights`, at the scale of the released code as the paper's numbers are."""
        weights = LossWeights(
            amf=amf,
            consistency=consistency,
            distance_decay=distance_decay,
            self_pairs=self_pairs,
            schedule=require_choice("schedule", schedule, get_args(StepSchedule)),
            released_scale=DEFAULTS.released_scale,
            curve=curve_points("curve", curve) if host_curve is None else sampled_curve(host_curve),
        )
        return io.NodeOutput(weights)


def sampled_curve(curve: CurveInput) -> Points:
    """(position, factor) of a curve of the host at equal distances, factors cut off at 0 and the largest."""
    positions = [part / CURVE_PARTS for part in range(CURVE_PARTS + 1)]
    return tuple((at, min(max(float(curve.interp(at)), 0.0), LARGEST_CURVE_FACTOR)) for at in positions)
