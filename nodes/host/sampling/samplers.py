"""Which samplers support an edit of their latent in place. Trap: samplers keep history and noise of their own, so
the latent is edited at the first evaluation of a step, which only samplers of one evaluation a step support, at the
step's own noise level; the others begin as euler."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import comfy.k_diffusion.sampling
import torch
from comfy.model_patcher import create_model_options_clone

SUPPORT_IN_PLACE_EDITS = frozenset(
    f"sample_{name}"
    for name in (
        "euler",
        "euler_ancestral",
        "euler_ancestral_RF",
        "euler_cfg_pp",
        "euler_ancestral_cfg_pp",
        "lms",
        "dpmpp_2m",
        "dpmpp_2m_cfg_pp",
        "dpmpp_2m_sde",
        "dpmpp_2m_sde_gpu",
        "dpmpp_2m_sde_heun",
        "dpmpp_2m_sde_heun_gpu",
        "dpmpp_3m_sde",
        "dpmpp_3m_sde_gpu",
        "ddpm",
        "lcm",
        "ipndm",
        "ipndm_v",
        "deis",
        "res_multistep",
        "res_multistep_cfg_pp",
        "res_multistep_ancestral",
        "res_multistep_ancestral_cfg_pp",
        "gradient_estimation",
        "gradient_estimation_cfg_pp",
        "er_sde",
    )
)
"""Samplers that evaluate once a step and use their latent only afterwards; a test tries each of the host's."""

CHURN = "s_churn"
"""The option by which a sampler raises each step's noise level first, by a share that it spreads over all steps."""

BY_PARTS = frozenset({"sample_ar_video"})
"""Samplers that denoise one part of the frames after the other, so that no evaluation sees the clip."""

SamplerFunction = Callable[..., torch.Tensor]
"""A k-diffusion sampler: (model, x, sigmas, extra_args, callback, disable, **options) -> x."""


def require_whole_clips(function: SamplerFunction) -> None:
    """Refuse a sampler that never evaluates the whole clip.

    Raises:
        ValueError: it denoises the clip in parts.
    """
    name = getattr(function, "__name__", "")
    if name in BY_PARTS:
        raise ValueError(
            f"sampler: expected one that denoises all frames together, got {name.removeprefix('sample_')}, which "
            "draws one part of the frames after the other; take another sampler, or leave Apply Motion out."
        )


def evaluates(
    function: SamplerFunction, model: object, x: torch.Tensor, sigmas: torch.Tensor, extra_args: dict, **options: object
) -> bool:
    """Whether a sampler function asks the model at all, tried up to the first evaluation.

    Packs start one that does not before their own run (RES4LYF's dummy run, at three times the width).
    """
    trial = {**extra_args, "model_options": create_model_options_clone(extra_args["model_options"])}
    try:
        function(_Asked(model), x.clone(), sigmas, extra_args=trial, callback=None, disable=True, **options)
    except _EvaluationError:
        return True
    return False


class _EvaluationError(BaseException):
    """Ends a trial at the first evaluation; no Exception, which a sampler may catch."""


class _Asked:
    """Stands where the sampler function sees the model."""

    def __init__(self, model: object) -> None:
        self._model = model

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise _EvaluationError


def supports_in_place_edits(function: SamplerFunction, options: Mapping[str, Any]) -> bool:
    """Whether this is one of the host's own samplers of the table, without churn; another pack's may share its name."""
    name = getattr(function, "__name__", "")
    listed = name in SUPPORT_IN_PLACE_EDITS and getattr(comfy.k_diffusion.sampling, name, None) is function
    return listed and not options.get(CHURN)


@dataclass(frozen=True)
class EulerThenSampler:
    """A sampler function whose first steps are euler's, on a guided model, and the others the sampler's own.

    The sampler is handed the plain model: its evaluations are not steps, so that nothing may count them.
    """

    function: SamplerFunction
    guided_steps: int
    """Steps from the first to the last guided one."""
    on_step: Callable[[int], None]
    """Is given the number of each step that begins after the handover."""

    def __call__(
        self,
        guided_model: object,
        model: object,
        x: torch.Tensor,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Callable[[dict[str, Any]], None] | None,
        disable: bool | None,
        **options: object,
    ) -> torch.Tensor:
        """Sample; the arguments are a k-diffusion sampler's, but for the two models."""
        logging.info(
            "FastVMT: this sampler evaluates more than once a step, or above its noise level (s_churn); its guided "
            "steps are run as euler."
        )
        steps = len(sigmas) - 1
        # Some samplers need two steps to move at all (uni_pc), so a single one left is euler's too.
        handover = steps if self.guided_steps >= steps - 1 else self.guided_steps
        x = comfy.k_diffusion.sampling.sample_euler(
            guided_model, x, sigmas[: handover + 1], extra_args=extra_args, callback=callback, disable=disable
        )
        if handover == steps:
            return x
        self.on_step(handover)
        if options.get(CHURN):
            options = {**options, CHURN: options[CHURN] * (steps - handover) / steps}

        def numbered_on(state: dict[str, Any]) -> None:
            """The host's callback, with the steps numbered from the run's first."""
            step = state["i"] + handover
            if callback is not None:
                callback({**state, "i": step})
            if step + 1 < steps:
                self.on_step(step + 1)

        return self.function(
            model, x, sigmas[handover:], extra_args=extra_args, callback=numbered_on, disable=disable, **options
        )
