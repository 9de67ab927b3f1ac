"""The host's own KSampler. Trap: its module is called nodes, like our folder; only an absolute import finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import comfy.samplers

from nodes import common_ksampler

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

SAMPLERS: list[str] = comfy.samplers.KSampler.SAMPLERS
SCHEDULERS: list[str] = comfy.samplers.KSampler.SCHEDULERS


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
    """What the host's KSampler node makes of the same inputs, previews and masks included."""
    (sampled,) = common_ksampler(
        model, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent, denoise=denoise
    )
    return sampled
