"""What Apply Motion hangs onto a model. Trap: the sampler object belongs to another node, which may hand it to
several, so that a copy of it is guided and the model's clone holds settings only.

The calls of a guided run, from the host's to the gradient and back:

    KSampler -> guider.sample -> MotionGuidance.wrap_sampler      the host's SAMPLER_SAMPLE wrapper (here)
      -> a copy of the sampler whose function is GuidedRun.sample      (run.py; samplers.py for those begun as euler)
        -> the sampler function, step by step, evaluates GuidedModel   (run.py)
          -> GuidedRun.guide: optimize_latent                          (fastvmt_core.guidance)
            -> LatentLoss: signals_of the latent                       (objective.py, ../attention)
              -> Target.loss of the signals                               (fastvmt_core.objectives)
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
from ....fastvmt_core.grid import TokenGrid, first_video_frame
from ....fastvmt_core.guidance.schedule import at_half_size, guided_steps, step_weight
from ....fastvmt_core.motion.embedding import MotionEmbedding
from ....fastvmt_core.motion.half_size import motion_at_half_size
from ....fastvmt_core.motion.resize import for_guidance, size_change
from ....fastvmt_core.objectives.method import Method
from ....fastvmt_core.objectives.registry import method_for
from ..gradient.memory import GuidedMemory
from ..models.half_size import require_half_size
from ..models.noise_levels import sigma_at
from ..models.video_model import VideoModel, positive_conditions, require_video_latent
from ..models.video_part import VideoPart
from ..page.progress import SendMessage, send, show_text
from ..reading.reader import ReadingSampler
from .run import GuidedRun, GuidedStep
from .samplers import evaluates, require_whole_clips, supports_in_place_edits
from .windows import ContextWindows

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import CFGGuider, KSamplerX0Inpaint, Sampler

WRAPPER_KEY = "fastvmt"
FRAMES = frozenset(("concat_latent_image", "time_dim_replace"))
"""Conditions that give the model frames of the video; the second of Kandinsky 5."""

LARGE_CHANGE = 1.5
"""Ratio of a motion's size, length or shape to the latent's above which resampling is warned of."""


def apply_motion(
    model: ModelPatcher,
    motion: MotionEmbedding,
    weights: LossWeights,
    config: GuidanceConfig,
    node_id: str | None,
    send_message: SendMessage = send,
    objective: Method | None = None,
    first_frame: int = 0,
) -> ModelPatcher:
    """A clone of `model` that follows `motion` in every sampler; the user's model stays as it is.

    Messages of the run go out as those of `node_id`, to the page where `send_message` is not given. Without `objective`
    it is the one that the motion was read for. With `first_frame`, a latent frame, the motion is followed from there
    on, at its own speed.

    Raises:
        ValueError: the motion was taken from another kind of model, read for another objective or has no such frame, or
            the model follows one already.
    """
    VideoModel.of(model).require_motion(motion)
    method = method_for(motion, objective).weighted(weights)
    if config.strength == 0:
        return model.clone()
    if first_frame >= motion.grid.frames:
        raise ValueError(
            "start_frame: expected a frame of the motion, up to "
            f"{first_video_frame(motion.grid.frames, motion.fingerprint.temporal_stride) - 1}, got one after its end; "
            "lower it, or read a longer clip."
        )
    if model.get_wrappers(WrappersMP.SAMPLER_SAMPLE, WRAPPER_KEY):
        raise ValueError(
            "model: expected one that follows no motion yet, got one from another Apply Motion; wire the model "
            "from before that node, and make two motions into one with Blend Motion."
        )
    guided = model.clone()
    guidance = MotionGuidance(motion, method, weights, config, node_id, send_message, first_frame)
    guided.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, WRAPPER_KEY, guidance.wrap_sampler)
    return guided


@dataclass(frozen=True, eq=False)
class MotionGuidance:
    """What Apply Motion attaches to a model: settings only, nothing that a run changes."""

    motion: MotionEmbedding
    objective: Method
    weights: LossWeights
    config: GuidanceConfig
    node_id: str | None
    send: SendMessage = send
    first_frame: int = 0
    """Latent frame of the motion from which it is followed; 0: all of it is fitted to the latent."""

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
        steps = {} if isinstance(sampler, ReadingSampler) else self._steps(guider, sigmas)
        if steps:
            sampler = self._guided(sampler, guider, steps, noise, latent_image, denoise_mask)
        inner = WrapperExecutor.new_class_executor(sampler.sample, sampler, executor.wrappers, executor.idx + 1)
        return inner.execute(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar)

    def _steps(self, guider: CFGGuider, sigmas: torch.Tensor) -> dict[int, GuidedStep]:
        """The guided steps by their number; none, with a report, where nothing guides."""
        if len(sigmas) < 2:
            return {}
        sampling, end = guider.inner_model.model_sampling, self.config.end_percent
        steps = {}
        for step in guided_steps(sigmas, sigma_at(sampling, end))[:: self.config.every]:
            # The same however a run is cut up.
            position = min(1.0, _percent(sampling, float(sigmas[step])) / end)
            weight = step_weight(self.weights.schedule, position, self.weights.curve)
            steps[step] = GuidedStep(weight, at_half_size(self.config.resolution, position))
        pulls = self.objective.pulls(self.motion)
        guided = {number: step for number, step in steps.items() if pulls and step.weight > 0}
        if not guided:
            self._report(f"No step of this run is guided: {self._why_none(sigmas, pulls, steps)}")
        elif bool((sigmas.diff() > 0).any()):
            logging.warning("FastVMT: the noise of this run rises again later; from there on it is not guided.")
        return guided

    def _why_none(self, sigmas: torch.Tensor, pulls: bool, steps: dict[int, GuidedStep]) -> str:
        first, then = (float(sigma) for sigma in sigmas[:2])
        if not pulls:
            return (
                "the weights, or an empty mask, leave nothing to follow. Raise motion weight (amf) in Loss Weights, or "
                "draw the mask where the motion is."
            )
        if first < then:
            return (
                f"its noise rises, from sigma {first:.3f} to {then:.3f}, so that it does not denoise. Guide the "
                "sampler that denoises afterwards."
            )
        if not steps:
            return (
                f"it begins at sigma {first:.3f}, after end_percent {self.config.end_percent:g}, which counts from "
                "pure noise. Set preset to custom and raise end_percent, or guide the sampler that begins with pure "
                "noise (of Wan 2.2's two, the high-noise model's)."
            )
        return "the curve of Loss Weights is 0 at all of its steps above end_percent. Raise its points."

    def _report(self, text: str) -> None:
        logging.warning("FastVMT: %s", text)
        show_text(self.node_id, text)
        # The panel, which keeps it where a node's own text comes later.
        self.send("settings", {"node": self.node_id, "text": text})

    def _guided(
        self,
        sampler: Sampler,
        guider: CFGGuider,
        steps: dict[int, GuidedStep],
        noise: torch.Tensor,
        latent_image: torch.Tensor | None,
        denoise_mask: torch.Tensor | None,
    ) -> KSAMPLER:
        """A copy of the sampler whose function is guided at `steps`.

        Raises:
            ValueError: the sampler cannot be guided.
        """
        if not isinstance(sampler, KSAMPLER):
            raise ValueError(
                f"sampler: expected one of the host's samplers (Select Sampler), got {type(sampler).__name__}, which "
                "motion guidance cannot step through."
            )
        function = sampler.sampler_function
        require_whole_clips(function)

        def sample(
            model: KSamplerX0Inpaint, x: torch.Tensor, sigmas: torch.Tensor, extra_args: dict[str, Any], **how: object
        ) -> torch.Tensor:
            options = {name: how[name] for name in how.keys() - {"callback", "disable"}}
            in_place = supports_in_place_edits(function, options)
            if in_place or evaluates(function, model, x, sigmas, extra_args, **options):
                run = self._run_of(guider, sigmas, steps, noise, latent_image, denoise_mask)
                return run.sample(function, model, x, sigmas, extra_args, **how)
            return function(model, x, sigmas, extra_args=extra_args, **how)

        guided = copy.copy(sampler)
        guided.sampler_function = sample
        return guided

    def _run_of(
        self,
        guider: CFGGuider,
        sigmas: torch.Tensor,
        steps: dict[int, GuidedStep],
        noise: torch.Tensor,
        latent_image: torch.Tensor | None,
        denoise_mask: torch.Tensor | None,
    ) -> GuidedRun:
        """The guided run.

        Raises:
            ValueError: a latent or the model cannot be guided; the message names the input.
        """
        video = VideoPart.of_run(guider)
        guider, noise = video.guider(guider), video.of(noise)
        latent_image, denoise_mask = video.of(latent_image), video.mask(denoise_mask)
        video_model = VideoModel.of_run(guider)
        for name, latent in (("latent_image", latent_image), ("noise", noise)):
            if latent is not None:
                require_video_latent(name, latent, video_model.latent_channels)
        grid = video_model.grid(noise)
        leading = video_model.leading_frames(positive_conditions(guider))
        of_video = dataclasses.replace(grid, frames=grid.frames - leading)
        half = None
        if any(step.half for step in steps.values()):
            require_half_size(guider, noise, of_video, self.objective.needs(self.motion), denoise_mask)
            half = for_guidance(motion_at_half_size(self._followed(of_video.frames).motion), of_video.halved)
        windows = ContextWindows.of_run(guider, noise, sigmas, leading)
        at_once = grid if windows is None else dataclasses.replace(grid, frames=windows.longest)
        fitted = self._followed(of_video.frames)._fitted_to(of_video)
        needs = self.objective.needs(fitted.motion)
        memory = GuidedMemory(
            guider,
            noise,
            at_once,
            needs.whole_blocks,
            self.config.memory,
            needs.velocity,
            self.config.resolution,
            1 if windows is None else windows.count,
        )
        cuts = _cuts_to_part_at(fitted.motion, guider, denoise_mask)
        return GuidedRun(fitted, steps, sigmas, memory, cuts, half, windows, video)

    def _followed(self, frames: int) -> MotionGuidance:
        """The same guidance with the part of its motion that a video of so many latent frames follows.

        Raises:
            ValueError: the motion ends before the video.
        """
        if not self.first_frame:
            return self
        left = self.motion.grid.frames - self.first_frame
        if left < frames:
            stride = self.motion.fingerprint.temporal_stride
            raise ValueError(
                f"start_frame: expected a motion of at least {first_video_frame(frames, stride)} frames from there on, "
                f"as the video has, got {first_video_frame(left, stride)}; lower start_frame or the video's length, or "
                "read a longer clip."
            )
        span = range(self.first_frame, self.first_frame + frames)
        return dataclasses.replace(self, motion=self.objective.of_frames(self.motion, span), first_frame=0)

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
    given = any(FRAMES & condition.keys() for condition in itertools.chain(*guider.conds.values()))
    return () if given else motion.cuts


def _percent(model_sampling: object, sigma: float) -> float:
    """The percent at which `sigma_at`, which falls from 0 to 1, is `sigma`; bisected to 1e-6."""
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        if sigma_at(model_sampling, middle) > sigma:
            low = middle
        else:
            high = middle
    return low
