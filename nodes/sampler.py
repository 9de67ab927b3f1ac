"""Apply Motion and a KSampler in one node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..fastvmt_core.presets import PAPER_LOSS_WEIGHTS
from .guidance import CUSTOM, DEFAULTS, guidance_config, guidance_inputs
from .host.page.loss_log import LossLog
from .host.sampling.ksampler import SAMPLERS, SCHEDULERS, sample
from .host.sampling.wrapper import apply_motion
from .io_types import CATEGORY, Motion

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from ..fastvmt_core.config import LossWeights, MemoryLevel
    from ..fastvmt_core.motion.embedding import MotionEmbedding


class FastVMTSampler(io.ComfyNode):
    """Sample along a motion, in one node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the widgets: a KSampler's first, then those of Apply Motion."""
        return io.Schema(
            node_id="FastVMTSampler",
            display_name="FastVMT Sampler",
            category=CATEGORY,
            description="Apply Motion and a KSampler in one: generates a video that moves like the reference, and "
            "shows how it gets there. For samplers in several parts, or for other sampler nodes, take Apply Motion.",
            inputs=[
                io.Model.Input("model", tooltip="A native Wan model of the kind the motion was read from."),
                Motion.Input(
                    "motion", tooltip="From Invert Motion; at the latent's own size and length best, else resampled."
                ),
                io.Conditioning.Input("positive", tooltip="What the video shows. The guidance asks this one alone."),
                io.Conditioning.Input("negative", tooltip="What it should not show."),
                io.Latent.Input(
                    "latent_image", tooltip="An empty latent of the reference's size and length, or a video to change."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Of the noise that the video starts from.",
                ),
                io.Int.Input("steps", default=30, min=1, max=10000, tooltip="Denoising steps."),
                io.Float.Input(
                    "cfg",
                    default=6.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="How closely the prompt is followed. 1 for models distilled to few steps.",
                ),
                io.Combo.Input(
                    "sampler_name",
                    options=SAMPLERS,
                    default="euler",
                    tooltip="Samplers that evaluate once a step are guided as they are; the others begin as euler.",
                ),
                io.Combo.Input(
                    "scheduler", options=SCHEDULERS, default="simple", tooltip="How the noise is taken away."
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="1: from noise alone. Lower: keep more of the latent, and less is left to guide.",
                ),
                *guidance_inputs(),
            ],
            outputs=[
                io.Latent.Output(display_name="latent"),
                io.String.Output(display_name="loss_log", tooltip="Every guided step and its losses, as JSON."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        motion: MotionEmbedding,
        positive: list,
        negative: list,
        latent_image: dict[str, Any],
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        denoise: float,
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
        """Patch a clone of the model as Apply Motion does, and sample it as a KSampler does."""
        log = LossLog()
        widgets = inner_steps, lr_start, lr_end, gradient_interval, end_percent, strength
        config = guidance_config(*widgets, memory, preset)
        run = {"config": config, "node_id": cls.hidden.unique_id, "tell": log.send}
        guided = apply_motion(model=model, motion=motion, weights=weights or PAPER_LOSS_WEIGHTS, **run)
        how = {"seed": seed, "steps": steps, "cfg": cfg, "denoise": denoise}
        how |= {"sampler_name": sampler_name, "scheduler": scheduler}
        latent = sample(guided, positive, negative, latent_image, **how)
        return io.NodeOutput(latent, json.dumps(log.as_json))
