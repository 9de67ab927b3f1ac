"""Model + motion -> a model that moves like the reference in any sampler."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from comfy_api.latest import io, ui

from ..fastvmt_core.config import AdaptiveInterval, GuidanceConfig, MemoryLevel, Optimizer, Resolution
from ..fastvmt_core.grid import latent_frame_of
from ..fastvmt_core.objectives.registry import method_for
from ..fastvmt_core.presets import PAPER_LOSS_WEIGHTS, PRESETS
from ..fastvmt_core.video.clip import MOST_FRAMES
from .host.page.node_text import show_on_node
from .host.page.progress import send
from .host.sampling.wrapper import apply_motion
from .io_types import LossWeightsSocket, Motion, Objective
from .schema import GUIDANCE, advanced, node_schema, options, require_choice

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from ..fastvmt_core.config import LossWeights
    from ..fastvmt_core.motion.embedding import MotionEmbedding
    from ..fastvmt_core.objectives.method import Method

DEFAULTS = GuidanceConfig()
ADAPTIVE = 0
"""The gradient_interval that leaves the interval to the gradients themselves."""
PAPER = "paper"
CUSTOM = "custom"
"""The preset that leaves what a preset sets to the widgets."""
CHOICES = [PAPER, "draft", "balanced", "best", CUSTOM, "fast"]
"""In the order in which they were added, as saved workflows hold them."""
SET_BY_PRESET = ("inner_steps", "lr_start", "lr_end", "gradient_interval", "end_percent", "optimizer", "every")
"""Widgets that count with the preset `custom` alone."""


def guidance_inputs() -> list[io.Input]:
    """What every node that guides asks for: the preset, the strength, and what a preset sets."""
    return [
        _preset_input(),
        io.Float.Input(
            "strength",
            default=DEFAULTS.strength,
            min=0.0,
            max=10.0,
            step=0.05,
            tooltip="How hard the motion pulls: multiplies the learning rates, or polyak's step, where above 1 "
            "changes nothing. 0 leaves the model untouched; 0.5 to 2 works.",
        ),
        LossWeightsSocket.Input(
            "weights", optional=True, tooltip="What the guidance cares about, from Loss Weights; optional."
        ),
        *(advanced(number) for number in _number_inputs()),
        io.Combo.Input(
            "memory",
            options=list(get_args(MemoryLevel)),
            default=DEFAULTS.memory,
            optional=True,
            tooltip="How much VRAM the gradient may take. smallest: the least, about a third slower. fastest: all it "
            "wants. auto: what is free. After an out-of-memory error each tries once more with less.",
        ),
        *(advanced(each) for each in _later_inputs()),
    ]


def _preset_input() -> io.Input:
    """The choice of a preset. The page is given what each puts into the other widgets, and shows it there."""
    preset = io.Combo.Input(
        "preset",
        options=CHOICES,
        default=PAPER,
        tooltip="Sets the numbers inner_steps to end_percent, optimizer and every. paper: what FastVMT's authors chose "
        "for Wan. draft, balanced, best: from quickest to closest, with learning rates over ten times as large. fast: "
        "one gradient per guided step and no learning rate. These four were chosen on the demo's tiny model, never run "
        "on real Wan. custom: your own numbers.",
    )
    values = {name: {key: getattr(config, key) for key in SET_BY_PRESET} for name, config in PRESETS.items()}
    return options(preset, presets=values)


def _number_inputs() -> list[io.Input]:
    """The numbers that a preset sets."""
    return [
        io.Int.Input(
            "inner_steps",
            default=DEFAULTS.inner_steps,
            optional=True,
            min=1,
            max=200,
            tooltip="Optimizer iterations per guided step. More follow the motion more closely; time grows with "
            "inner_steps / gradient_interval. Counts with preset custom.",
        ),
        io.Float.Input(
            "lr_start",
            default=DEFAULTS.lr_start,
            optional=True,
            min=0.0,
            max=1.0,
            step=0.0001,
            tooltip="Learning rate of a guided step's first iteration, in latent units. Higher follows more closely "
            "until the image breaks; Wan: start with 0.003. Counts with preset custom.",
        ),
        io.Float.Input(
            "lr_end",
            default=DEFAULTS.lr_end,
            optional=True,
            min=0.0,
            max=1.0,
            step=0.0001,
            tooltip="Learning rate towards which the iterations of one guided step fall linearly; about two thirds of "
            "lr_start. Counts with preset custom.",
        ),
        io.Int.Input(
            "gradient_interval",
            default=DEFAULTS.gradient_interval,
            optional=True,
            min=ADAPTIVE,
            max=50,
            tooltip="Saves time: a fresh gradient at every n-th iteration only, the last one again in between. 1: "
            "closest and slowest, 3: the paper's. 0: adaptive, by how little the gradient changes. Counts with preset "
            "custom.",
        ),
        io.Float.Input(
            "end_percent",
            default=DEFAULTS.end_percent,
            optional=True,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Part of the noise schedule that is guided; 0.2: the first fifth. With denoise below 1 a run "
            "begins later in the schedule: set preset to custom and raise this, or none of its steps is guided.",
        ),
    ]


def _later_inputs() -> list[io.Input]:
    """What a preset sets and later versions added: at the end, as saved workflows hold widgets by their place."""
    return [
        io.Combo.Input(
            "optimizer",
            options=list(get_args(Optimizer)),
            default=DEFAULTS.optimizer,
            optional=True,
            tooltip="What moves the latent. adamw: the paper's, by the learning rates. polyak: as far as the loss asks "
            "for, without learning rates; every iteration takes a fresh gradient, and one or two of them do. Counts "
            "with preset custom.",
        ),
        io.Int.Input(
            "every",
            default=DEFAULTS.every,
            optional=True,
            min=1,
            max=100,
            tooltip="Saves time: guides only every n-th of the first steps; each sampler counts from its own first "
            "one. 1: each. Counts with preset custom.",
        ),
        io.Combo.Input(
            "resolution",
            options=list(get_args(Resolution)),
            default=DEFAULTS.resolution,
            optional=True,
            tooltip="Saves memory and time: half evaluates the gradients at half the video's width and height, which "
            "takes a quarter of the memory and follows less closely. half then full: half in the first half of the "
            "guided steps. Needs a motion as Invert Motion reads it; counts with every preset.",
        ),
    ]


def start_input() -> io.Input:
    """Where in the motion the video begins; the last input of every node that guides."""
    return advanced(
        io.Int.Input(
            "start_frame",
            default=0,
            min=0,
            max=MOST_FRAMES - 1,
            optional=True,
            tooltip="Follows the motion from this frame of its clip on, at its own speed, so that a second video goes "
            "on where a first one ended: give it the frame that it begins with. 0: the whole motion, fitted to the "
            "video's length.",
        )
    )


def guidance_config(
    *,
    preset: str,
    strength: float = DEFAULTS.strength,
    memory: MemoryLevel = DEFAULTS.memory,
    inner_steps: int = DEFAULTS.inner_steps,
    lr_start: float = DEFAULTS.lr_start,
    lr_end: float = DEFAULTS.lr_end,
    gradient_interval: int = DEFAULTS.gradient_interval,
    end_percent: float = DEFAULTS.end_percent,
    optimizer: Optimizer = DEFAULTS.optimizer,
    every: int = DEFAULTS.every,
    resolution: Resolution = DEFAULTS.resolution,
    published: GuidanceConfig = PRESETS[PAPER],
) -> GuidanceConfig:
    """What runs: the preset's numbers, or those of the widgets with `custom`; `published` are those of `paper`.

    Raises:
        ValueError: a widget is out of its range; the message names it.
    """
    require_choice("optimizer", optimizer, get_args(Optimizer))
    require_choice("resolution", resolution, get_args(Resolution))
    if require_choice("preset", preset, CHOICES) != CUSTOM:
        chosen = published if preset == PAPER else PRESETS[preset]
        return replace(chosen, strength=strength, memory=memory, resolution=resolution)
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
        optimizer=optimizer,
        every=every,
        resolution=resolution,
    )


def guidance_text(config: GuidanceConfig, start_frame: int = 0, *, preset: str, **given: Any) -> str:  # noqa: ANN401  (widgets' values)
    """Which numbers run, for the node; and which of the given ones do not, as a link or a script may bring others.

    Args:
        config: what `guidance_config` makes of the same widgets.
        start_frame: the frame of the motion's clip that it is followed from.
        preset: the choice.
        given: the values of the other widgets; those that were left out are not mentioned.
    """
    if config.strength == 0:
        return "strength 0: the model is untouched"
    every = f", guiding every {config.every} steps" if config.every > 1 else ""
    resolution = "" if config.resolution == DEFAULTS.resolution else f", resolution {config.resolution}"
    runs = (
        f"preset {preset}: {config.inner_steps} inner steps, {_optimizer_text(config)}, end_percent "
        f"{config.end_percent:g}{every}, strength {config.strength:g}{resolution}"
    )
    runs += f", from frame {start_frame} of the motion" if start_frame else ""
    unused = [
        f"{name} {given[name]}" for name in SET_BY_PRESET if name in given and given[name] != getattr(config, name)
    ]
    if preset == CUSTOM or not unused:
        return runs
    return f"{runs}. Not used: {', '.join(unused)}; set preset to {CUSTOM} to use your own numbers"


def _optimizer_text(config: GuidanceConfig) -> str:
    if config.optimizer == "polyak":
        return "polyak"
    interval = "adaptive" if config.adaptive else f"every {config.gradient_interval}"
    return f"learning rate {config.lr_start:g} to {config.lr_end:g}, fresh gradients {interval}"


def show_settings(node: type[io.ComfyNode], text: str) -> ui.PreviewText:
    """The text for the node's output, shown on the node and in its panel, where no later message replaces it."""
    send("settings", {"node": node.hidden.unique_id, "text": text})
    return show_on_node(node, text)


class FastVMTApplyMotion(io.ComfyNode):
    """Patch a model so that any sampler downstream follows a motion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets; their defaults are those of `GuidanceConfig`."""
        return node_schema(
            node_id="FastVMTApplyMotion",
            display_name="FastVMT Apply Motion",
            category=GUIDANCE,
            essential=True,
            search_aliases=["motion transfer", "camera motion", "video to video motion", "motion guidance", "DiTFlow"],
            description="Makes any sampler downstream follow the motion: in the first, noisy steps the latent is "
            "optimized until the model's attention moves as the reference's did.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="A native video model of the kind the motion was read from; LoRAs may differ. Wan 2.2 14B: "
                    "the high-noise one.",
                ),
                Motion.Input(
                    "motion",
                    tooltip="The motion to follow, from Invert Motion. Best at the video's own size and length; others "
                    "are resampled.",
                ),
                *guidance_inputs(),
                Objective.Input(
                    "objective",
                    optional=True,
                    tooltip="Open: the method that the motion was read for. Another one is refused.",
                ),
                start_input(),
            ],
            outputs=[io.Model.Output(tooltip="The model that follows the motion, for any sampler.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        motion: MotionEmbedding,
        weights: LossWeights | None = None,
        objective: Method | None = None,
        start_frame: int = 0,
        **guidance: Any,  # noqa: ANN401  (the widgets of guidance_config)
    ) -> io.NodeOutput:
        """Collect the settings and patch a clone of the model."""
        method = method_for(motion, objective)
        config = guidance_config(**guidance, published=method.schedule)
        text = show_settings(cls, guidance_text(config, start_frame, **guidance))
        guided = apply_motion(
            model=model,
            motion=motion,
            weights=weights or PAPER_LOSS_WEIGHTS,
            config=config,
            node_id=cls.hidden.unique_id,
            objective=method,
            first_frame=latent_frame_of(start_frame, motion.fingerprint.temporal_stride),
        )
        return io.NodeOutput(guided, ui=text)
