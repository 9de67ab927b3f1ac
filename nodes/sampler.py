"""Apply Motion and a KSampler in one node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..fastvmt_core.grid import latent_frame_of
from ..fastvmt_core.objectives.registry import method_for
from ..fastvmt_core.presets import PAPER_LOSS_WEIGHTS
from .guidance import guidance_config, guidance_inputs, guidance_text, show_settings, start_input
from .host.page.loss_log import LossLog
from .host.sampling.ksampler import SAMPLERS, SCHEDULERS, sample
from .host.sampling.wrapper import apply_motion
from .io_types import Motion
from .schema import GUIDANCE, LARGEST_SEED, node_schema, require_choice

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from ..fastvmt_core.config import LossWeights
    from ..fastvmt_core.motion.embedding import MotionEmbedding


class FastVMTSampler(io.ComfyNode):
    """Sample along a motion, in one node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets: a KSampler's first, then those of Apply Motion."""
        return node_schema(
            node_id="FastVMTSampler",
            display_name="FastVMT Sampler",
            category=GUIDANCE,
            essential=True,
            search_aliases=["motion transfer", "ksampler", "camera motion", "video to video motion", "DiTFlow"],
            description="Apply Motion and a KSampler in one: generates a video that moves like the reference, and "
            "shows how it gets there. For samplers in several parts, or for other sampler nodes, take Apply Motion.",
            inputs=[
                io.Model.Input("model", tooltip="A native video model of the kind the motion was read from."),
                Motion.Input(
                    "motion",
                    tooltip="The motion to follow, from Invert Motion. Best at the latent's own size and length; "
                    "others are resampled.",
                ),
                io.Conditioning.Input(
                    "positive", tooltip="What the video shows. The guidance uses this prompt alone, without CFG."
                ),
                io.Conditioning.Input("negative", tooltip="What the video should not show."),
                io.Latent.Input(
                    "latent_image", tooltip="An empty latent of the reference's size and length, or a video to change."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=LARGEST_SEED,
                    control_after_generate=True,
                    tooltip="Seed of the noise that the video starts from. Another seed: another video, the same "
                    "motion.",
                ),
                io.Int.Input(
                    "steps", default=30, min=1, max=10000, tooltip="Denoising steps: more give detail and take longer."
                ),
                io.Float.Input(
                    "cfg",
                    default=6.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="How closely the prompt is followed. Wan: 3.5 to 6; 1 for models distilled to few steps.",
                ),
                io.Combo.Input(
                    "sampler_name",
                    options=SAMPLERS,
                    default="euler",
                    tooltip="Solver of the denoising. Those that evaluate the model once a step are guided as they "
                    "are; the others run their guided steps as euler.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=SCHEDULERS,
                    default="simple",
                    tooltip="Noise schedule: how fast sigma falls over the steps.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the schedule that runs. 1: from noise alone. Lower keeps more of the latent and "
                    "leaves fewer steps to guide.",
                ),
                *guidance_inputs(),
                start_input(),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The generated video."),
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
        weights: LossWeights | None = None,
        start_frame: int = 0,
        **guidance: Any,  # noqa: ANN401  (the widgets of guidance_config)
    ) -> io.NodeOutput:
        """Patch a clone of the model as Apply Motion does, and sample it as a KSampler does."""
        require_choice("sampler_name", sampler_name, SAMPLERS)
        require_choice("scheduler", scheduler, SCHEDULERS)
        config, log = guidance_config(**guidance, published=method_for(motion).schedule), LossLog()
        text = show_settings(cls, guidance_text(config, start_frame, **guidance))
        guided = apply_motion(
            model=model,
            motion=motion,
            weights=weights or PAPER_LOSS_WEIGHTS,
            config=config,
            node_id=cls.hidden.unique_id,
            send_message=log.send,
            first_frame=latent_frame_of(start_frame, motion.fingerprint.temporal_stride),
        )
        latent = sample(
            guided,
            positive,
            negative,
            latent_image,
            seed=seed,
            steps=steps,
            cfg=cfg,
            sampler_name=sampler_name,
            scheduler=scheduler,
            denoise=denoise,
        )
        return io.NodeOutput(latent, json.dumps(log.as_json), ui=text)
