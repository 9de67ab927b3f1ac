"""The host's own KSampler. Trap: its module is called nodes, like our folder; only an absolute import finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import comfy.sample
import comfy.samplers
import torch

from nodes import common_ksampler

from ....fastvmt_core.checks import is_whole, require, require_number, require_seed
from ..models.video_model import VideoModel, require_video_latent

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

SAMPLERS: list[str] = comfy.samplers.KSampler.SAMPLERS
SCHEDULERS: list[str] = comfy.samplers.KSampler.SCHEDULERS
MOST_STEPS, MOST_CFG = 10_000, 100.0
"""What the host's KSampler takes."""
MOST_SCHEDULED = 1_000_000
"""Steps of the whole schedule, of which the last are sampled."""


def sample(
    model: ModelPatcher,
    positive: list,
    negative: list,
    latent: dict[str, Any],
    *,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    denoise: float,
) -> dict[str, Any]:
    """What the host's KSampler node makes of the same inputs, previews and masks included.

    Raises:
        ValueError: a number came past its widget's limits, by a link; the latent is another model's; or the host's
            sampler cannot take this seed or this precision.
    """
    require_seed("seed", seed)
    # The host's ddim draws a second noise from seed + 1.
    require(sampler_name != "ddim" or seed < 2**64 - 1, "seed", "a whole number below 2**64 - 1 with ddim", seed)
    require(is_whole(steps, 1) and steps <= MOST_STEPS, "steps", f"a whole number from 1 to {MOST_STEPS}", steps)
    require_number("cfg", cfg, high=MOST_CFG)
    require_number("denoise", denoise, high=1.0)
    # The host makes the schedule of steps / denoise steps, and takes its end.
    least = steps / MOST_SCHEDULED
    require(denoise == 0 or denoise >= least, "denoise", f"0 or at least {least:g} with {steps} steps", denoise)
    # The host gives an empty latent the model's channels.
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    video = samples.unbind()[0] if getattr(samples, "is_nested", False) else samples
    require_video_latent("latent_image", video, VideoModel.of(model).latent_channels)
    # The host's sa_solver multiplies latents by float32 coefficients, which torch refuses for another precision.
    fits = samples.dtype == torch.float32 or not sampler_name.startswith("sa_solver")
    require(fits, "latent_image", f"float32 with {sampler_name}", samples.dtype)
    (sampled,) = common_ksampler(
        model, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent, denoise=denoise
    )
    return sampled
