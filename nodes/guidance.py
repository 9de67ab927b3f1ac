"""Model + motion -> a model that moves like the reference in any sampler."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from comfy_api.latest import io

from ..fastvmt_core.config import AdaptiveInterval, GuidanceConfig, MemoryLevel
from ..fastvmt_core.presets import PAPER_LOSS_WEIGHTS, PRESETS
from .host.sampling.wrapper import apply_motion
from .io_types import CATEGORY, LossWeightsSocket, Motion

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from ..fastvmt_core.config import LossWeights
    from ..fastvmt_core.motion.embedding import MotionEmbedding

DEFAULTS = GuidanceConfig()
ADAPTIVE = 0
"""The gradient_interval that leaves the interval to the gradients themselves."""
CUSTOM = "custom"
"""The preset that leaves everything to the other widgets."""
REPLACED = ("inner_steps", "lr_start", "lr_end", "gradient_interval", "end_percent")
"""Widgets whose values the other presets replace."""


def guidance_inputs() -> list[io.Input]:
    """What every node that guides asks for: the widgets of `guidance_config` in its order, and the loss weights."""
    return [
        io.Int.Input(
            "inner_steps",
            default=DEFAULTS.inner_steps,
            min=1,
            max=200,
            tooltip="Nudges at each guided step. More follow the motion better.",
        ),
        io.Float.Input(
            "lr_start",
            default=DEFAULTS.lr_start,
            min=0.0,
            max=1.0,
            step=0.0001,
            tooltip="Size of the first nudge of a guided step (learning rate).",
        ),
        io.Float.Input(
            "lr_end",
            default=DEFAULTS.lr_end,
            min=0.0,
            max=1.0,
            step=0.0001,
            tooltip="Size that the nudges shrink towards.",
        ),
        io.Int.Input(
            "gradient_interval",
            default=DEFAULTS.gradient_interval,
            min=ADAPTIVE,
            max=50,
            tooltip="Ask the model for the direction at every n-th nudge only, between them go on in the "
            "last one. 1 is best and slowest; time falls nearly by n. 0: adaptive, ask less often while the "
            "direction stays the same.",
        ),
        io.Float.Input(
            "end_percent",
            default=DEFAULTS.end_percent,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Guide up to this share of the way from pure noise; the first step always. Motion is "
            "decided early. A start at denoise below 1 is already part of the way.",
        ),
        io.Float.Input(
            "strength",
            default=DEFAULTS.strength,
            min=0.0,
            max=10.0,
            step=0.05,
            tooltip="Multiplies both learning rates. 0 leaves the model untouched.",
        ),
        LossWeightsSocket.Input("weights", optional=True, tooltip="From Loss Weights; its defaults if left open."),
        io.Combo.Input(
            "memory",
            options=list(get_args(MemoryLevel)),
            default=DEFAULTS.memory,
            optional=True,
            tooltip="fastest: keep all that the gradient needs. smallest: keep nothing and compute it again, which "
            "takes about a third longer. auto: as much as is free. Out of memory: each steps down by itself once.",
        ),
        _preset_input(),
    ]


def _preset_input() -> io.Combo.Input:
    """The choice of a preset. The page is told what each puts into the other widgets, and shows it there."""
    chosen = io.Combo.Input(
        "preset",
        options=[CUSTOM, *PRESETS],
        default=CUSTOM,
        optional=True,
        tooltip="custom: the widgets above. Others replace inner_steps, lr_start, lr_end, gradient_interval and "
        "end_percent. paper is what FastVMT's authors chose for Wan. draft, balanced and best were chosen on the "
        "demo's tiny model, from quickest to closest, with nudges over ten times as large: try them with care.",
    )
    replaced = {name: {key: getattr(preset, key) for key in REPLACED} for name, preset in PRESETS.items()}
    chosen.extra_dict = {"presets": replaced}
    return chosen


def guidance_config(
    inner_steps: int,
    lr_start: float,
    lr_end: float,
    gradient_interval: int,
    end_percent: float,
    strength: float,
    memory: MemoryLevel = DEFAULTS.memory,
    preset: str = CUSTOM,
) -> GuidanceConfig:
    """What the widgets say.

    Raises:
        ValueError: a widget is out of its range; the message names it.
    """
    if preset != CUSTOM:
        if preset not in PRESETS:
            raise ValueError(f"preset: expected {CUSTOM} or one of {', '.join(PRESETS)}, got {preset!r}.")
        return replace(PRESETS[preset], strength=strength, memory=memory)
    adaptive = gradient_interval == ADAPTIVE
    return GuidanceConfig(
        inner_steps=inner_steps,
        lr_start=lr_start,
        lr_end=lr_end,
        gradient_interval=DEFAULTS.gradient_interval if adaptive else gradient_interval,
        end_percent=end_percent,
        strength=strength,
        adaptive=AdaptiveInterval() if adaptive else None,
        memory=memory,
    )


class FastVMTApplyMotion(io.ComfyNode):
    """Patch a model so that any sampler downstream follows a motion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the widgets; their defaults are those of `GuidanceConfig`."""
        return io.Schema(
            node_id="FastVMTApplyMotion",
            display_name="FastVMT Apply Motion",
            category=CATEGORY,
            description="Makes any sampler downstream follow the motion: at the first, noisy steps the latent is "
            "nudged until the model's attention moves as the reference's did.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="A native Wan model of the kind the motion was read from; LoRAs may "
                    "differ. For the Wan 2.2 pair: the high-noise one.",
                ),
                Motion.Input(
                    "motion", tooltip="From Invert Motion; at the latent's own size and length best, else resampled."
                ),
                *guidance_inputs(),
            ],
            outputs=[io.Model.Output()],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        motion: MotionEmbedding,
        inner_steps: int,
        lr_start: float,
        lr_end: float,
        gradient_interval: int,
        end_percent: float,
        strength: float,
        weights: LossWeights | None = None,
        memory: MemoryLevel = DEFAULTS.memory,
        preset: str = CUSTOM,
    ) -> io.NodeOutput:
        """Collect the settings and patch a clone of the model."""
        steps = inner_steps, lr_start, lr_end, gradient_interval, end_percent, strength
        config = guidance_config(*steps, memory, preset)
        guided = apply_motion(
            model=model,
            motion=motion,
            weights=weights or PAPER_LOSS_WEIGHTS,
            config=config,
            node_id=cls.hidden.unique_id,
        )
        return io.NodeOutput(guided)
