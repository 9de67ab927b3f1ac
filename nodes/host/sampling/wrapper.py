"""What Apply Motion hangs onto a model. Trap: the sampler object belongs to another node, which may hand it to
several, so that a copy of it is guided and the model's clone holds settings only.

The calls of a guided run, from the host's to the gradient and back:

    KSampler -> guider.sample -> MotionGuidance.wrap_sampler      the host's SAMPLER_SAMPLE wrapper (here)
      -> a copy of the sampler whose function is GuidedRun.wrap's      (run.py; samplers.py for those begun as euler)
        -> the sampler function, step by step, evaluates GuidedModel   (run.py)
          -> GuidedRun.guide: optimize_latent                          (fastvmt_core.guidance)
            -> LatentLoss: capture_qk of the latent                    (objective.py, ../attention)
              -> Target.loss of q and k                                (fastvmt_core.objectives)
            <- gradient, AdamW, x changed in place
          -> the model itself: the ordinary denoising step, CFG and all
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from comfy.samplers import KSAMPLER

from ....fastvmt_core.config import GuidanceConfig, LossWeights
from ....fastvmt_core.grid import TokenGrid
from ....fastvmt_core.guidance.schedule import guided_steps
from ....fastvmt_core.motion.embedding import MotionEmbedding
from ....fastvmt_core.motion.resize import for_guidance, size_change
from ....fastvmt_core.objectives.fastvmt import FastVMT
from ....fastvmt_core.objectives.protocol import Objective
from ..gradient.memory import GuidedMemory
from ..models.video_model import VideoModel, positive_conditions, require_video_latent
from ..page.progress import SendMessage, send, show_text
from ..reading.reader import ReadingSampler
from .run import GuidedRun

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import CFGGuider, Sampler

WRAPPER_KEY = "fastvmt"

LARGE_CHANGE = 1.5
"""Ratio of a motion's size, length or shape to the latent's above which resampling is warned of."""


def apply_motion(
    model: ModelPatcher,
    motion: MotionEmbedding,
    weights: LossWeights,
    config: GuidanceConfig,
    node_id: str | None,
    send_message: SendMessage = send,
) -> ModelPatcher:
    """A clone of `model` that follows `motion` in every sampler; the user's model stays as it is.

    Messages of the run go out as those of `node_id`, to the page where `send_message` is not given.

    Raises:
        ValueError: the motion was taken from another kind of model, or the model follows one already.
    """
    VideoModel.of(model).require_motion(motion)
    if config.strength == 0:
        return model.clone()
    if model.get_wrappers(WrappersMP.SAMPLER_SAMPLE, WRAPPER_KEY):
        raise ValueError(
            "model: expected one that follows no motion yet, got one from another Apply Motion; wire the model "
            "from before that node, and make two motions into one with Blend Motion."
        )
    guided = model.clone()
    guidance = MotionGuidance(motion, FastVMT(weights), weights, config, node_id, send_message)
    guided.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, WRAPPER_KEY, guidance.wrap_sampler)
    return guided


@dataclass(frozen=True, eq=False)
class MotionGuidance:
    """What Apply Motion attaches to a model: settings only, nothing that a run changes."""

    motion: MotionEmbedding
    objective: Objective
    weights: LossWeights
    config: GuidanceConfig
    node_id: str | None
    send: SendMessage = send

    def wrap_sampler(
        self,
        executor: WrapperExecutor,
        guider: CFGGuider,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Callable | None,
        noise: torch.Tensor,
        latent_image: torch.Tensor | None = None,
        denoise_mask: torch.Tensor | None = None,
        disable_pbar: bool = False,
    ) -> torch.Tensor:
        """Run the sampler with its function guided (a SAMPLER_SAMPLE wrapper)."""
        sampler = executor.class_obj
        if not isinstance(sampler, ReadingSampler):
            run = self._run_of(sampler, guider, sigmas, noise, latent_image, denoise_mask)
            if run is not None:
                sampler = copy.copy(sampler)
                sampler.sampler_function = run.wrap(sampler.sampler_function)
        inner = WrapperExecutor.new_class_executor(sampler.sample, sampler, executor.wrappers, executor.idx + 1)
        return inner.execute(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar)

    def _run_of(
        self,
        sampler: Sampler,
        guider: CFGGuider,
        sigmas: torch.Tensor,
        noise: torch.Tensor,
        latent_image: torch.Tensor | None,
        denoise_mask: torch.Tensor | None,
    ) -> GuidedRun | None:
        """The guided run, or None where no step of it is to be guided.

        Raises:
            ValueError: the sampler, a latent or the model cannot be guided; the message names the input.
        """
        if not isinstance(sampler, KSAMPLER):
            raise ValueError(
                f"sampler: expected one of the host's samplers (Select Sampler), got {type(sampler).__name__}, which "
                "motion guidance cannot step through."
            )
        video_model = VideoModel.of_run(guider)
        for name, latent in (("noise", noise), ("latent_image", latent_image)):
            if latent is not None:
                require_video_latent(name, latent, video_model.latent_channels)
        model_sampling = guider.inner_model.model_sampling
        steps = guided_steps(sigmas, float(model_sampling.percent_to_sigma(self.config.end_percent)))
        if not steps:
            self._report_no_step(sigmas)
            return None
        grid = video_model.grid(noise)
        leading = video_model.leading_frames(positive_conditions(guider))
        fitted = self._fitted_to(dataclasses.replace(grid, frames=grid.frames - leading))
        last_block = self.objective.needs(fitted.motion).queries_and_keys[-1]
        memory = GuidedMemory(guider, noise, grid, last_block, self.config.memory)
        cuts = _cuts_to_part_at(fitted.motion, guider, denoise_mask)
        return GuidedRun(fitted, model_sampling, sigmas, steps, memory, cuts)

    def _report_no_step(self, sigmas: torch.Tensor) -> None:
        text = (
            f"No step of this run is guided: it begins at sigma {float(sigmas[0]):.3f}, after end_percent "
            f"{self.config.end_percent:g}, which counts from pure noise. Set preset to custom and raise end_percent, "
            "or guide the sampler that begins with pure noise (of Wan 2.2's two, the high-noise model's)."
        )
        logging.warning("FastVMT: %s", text)
        show_text(self.node_id, text)
        # The panel, which keeps it where a node's own text comes later.
        self.send("settings", {"node": self.node_id, "text": text})

    def _fitted_to(self, grid: TokenGrid) -> MotionGuidance:
        """The same guidance with its motion at the latent's size and length."""
        if grid == self.motion.grid:
            return self
        log = logging.warning if size_change(self.motion, grid) > LARGE_CHANGE else logging.info
        log(
            "FastVMT: the motion was read at %s and is resampled to %s; the larger the change, the less of it is kept. "
            "Read it again at this size for the best result.",
            self.motion.grid,
            grid,
        )
        return dataclasses.replace(self, motion=for_guidance(self.motion, grid))


def _cuts_to_part_at(motion: MotionEmbedding, guider: CFGGuider, denoise_mask: torch.Tensor | None) -> tuple[int, ...]:
    """Where shots are kept from seeing each other: at the motion's cuts, unless the model is given frames.

    A start image is the appearance of all shots, and reaches the others only through what they see of the first.
    """
    if not motion.cuts or denoise_mask is not None:
        return ()
    given = any("concat_latent_image" in condition for condition in itertools.chain(*guider.conds.values()))
    return () if given else motion.cuts
