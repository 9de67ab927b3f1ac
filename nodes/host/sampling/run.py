"""One sampler run under guidance. Trap: a sampler function sees a model, not steps, so that only an evaluation's
noise level and size show which step it begins, if any."""

from __future__ import annotations

import functools
import itertools
import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ....fastvmt_core.guidance.gradient_source import LossScale
from ....fastvmt_core.guidance.optimizer import InnerStep, optimize_latent
from ....fastvmt_core.guidance.schedule import gradients_per_step
from ....fastvmt_core.motion.embedding import MotionEmbedding
from ....fastvmt_core.motion.frames import spacing
from ....fastvmt_core.objectives.protocol import MotionLoss
from ....fastvmt_core.video.cuts import carried_cuts
from ..attention.blocks import within_shots
from ..attention.shots import TokenShots
from ..gradient.memory import GuidedMemory, estimate_text
from ..gradient.precision import computing_dtype, float32_pass
from ..gradient.scope import gradient_scope, networks_of, patches_of
from ..models.noise_levels import level_of, size_of
from ..models.video_model import VideoModel
from ..models.video_part import VIDEO_ALONE, VideoPart
from ..page.progress import StepBar, raise_if_cancelled, show_text
from ..page.report import GuidanceReport
from .objective import LatentLoss
from .samplers import EulerThenSampler, SamplerFunction, supports_in_place_edits
from .windows import ContextWindows, WindowedLoss, WindowedShots

if TYPE_CHECKING:
    from comfy.samplers import KSamplerX0Inpaint

    from .wrapper import MotionGuidance


@dataclass(frozen=True)
class GuidedStep:
    """How one step of a run is guided."""

    weight: float
    """The factor on the learning rate."""
    half: bool
    """Whether its gradients are evaluated at half the latent's height and width."""


class GuidedRun:
    """The state of one run; gone with it.

    Args:
        guidance: the settings, with the motion at the latent's own size and length.
        steps: the guided ones by their number.
        sigmas: noise levels of the run, one more than its steps.
        memory: the plan by which gradients are evaluated.
        cuts: latent frames at which shots are kept apart.
        half_size: the motion at half the latent's height and width, where a step is guided there.
        windows: context windows, where the latent is longer than one.
        video: where in the run's latents the video is.
    """

    def __init__(
        self,
        guidance: MotionGuidance,
        steps: dict[int, GuidedStep],
        sigmas: torch.Tensor,
        memory: GuidedMemory,
        cuts: tuple[int, ...],
        half_size: MotionEmbedding | None = None,
        windows: ContextWindows | None = None,
        video: VideoPart = VIDEO_ALONE,
    ) -> None:
        self._guidance, self._memory, self._cuts = guidance, memory, cuts
        self._guided, self._steps, self._half_size = steps, tuple(steps), half_size
        self._video, self._windows = video, windows
        self._levels = [float(sigma) for sigma in sigmas]
        self._scale = LossScale()
        self._warn_once = functools.cache(logging.warning)
        inner_steps = guidance.config.inner_steps
        self._bar = StepBar(len(sigmas) - 1, inner_steps)
        self._report = GuidanceReport(
            guidance.node_id, guidance.motion, self._levels, self._steps, inner_steps, guidance.send
        )

    def sample(
        self,
        function: SamplerFunction,
        model: KSamplerX0Inpaint,
        x: torch.Tensor,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Callable | None = None,
        disable: bool | None = None,
        **options: object,
    ) -> torch.Tensor:
        """What a k-diffusion sampler function makes of its arguments, guided."""
        guided = GuidedModel(model, self, x.shape)
        how = {"extra_args": extra_args, "callback": callback, "disable": disable, **options}
        try:
            self._report.run_begins(self._estimate())
            if supports_in_place_edits(function, options):
                x = function(guided, x, sigmas, **how)
            else:
                begun_as_euler = EulerThenSampler(function, self._steps[-1] + 1, self._report.step_begins)
                x = begun_as_euler(guided, model, x, sigmas, **how)
        finally:
            self._memory.release()
        self._report.run_ends()
        return x

    def step_at(self, sigma: float, present: int | None) -> int:
        """The step that begins at a noise level, which some samplers change a little; never before `present`."""
        later = range(present or 0, len(self._levels) - 1)
        return min(later, key=lambda step: (abs(self._levels[step] - sigma), step == present))

    def step_begins(self, step: int) -> bool:
        """Take note that a step begins; returns whether it is a guided one."""
        self._report.step_begins(step)
        return step in self._steps

    def is_before_the_last_guided(self, step: int) -> bool:
        """Whether a step is in the part of the run that is guided, if only at every n-th step."""
        return step <= self._steps[-1]

    def with_shots_apart(self, model: KSamplerX0Inpaint, x: torch.Tensor, extra_args: dict[str, Any]) -> dict[str, Any]:
        """An evaluation's arguments with which no shot looks at another; unchanged where there is nothing to part.

        Shots that see each other move their objects to where the other has them.
        """
        if not self._cuts:
            return extra_args
        grid, guider = self._guidance.motion.grid, model.inner_model
        video_model = VideoModel.of_run(guider)
        conditions = itertools.chain(*guider.conds.values())
        first = {video_model.first_token(condition, self._video.of(x), grid) for condition in conditions}
        if len(first) > 1:
            self._warn_once(
                "FastVMT: some of the prompts (positive, negative) have a reference image, others none, so the shots "
                "are drawn together; give it to all of them if they pull at each other."
            )
            return extra_args
        shots = TokenShots(grid, self._cuts, first.pop())
        shots = shots if self._windows is None else WindowedShots(shots)
        options = within_shots(extra_args["model_options"], shots, video_model.blocks(), self._warn_once)
        return {**extra_args, "model_options": options}

    def show(self, model: KSamplerX0Inpaint, denoised: torch.Tensor) -> None:
        """Send what an evaluation predicts of the video."""
        self._report.denoised(model.inner_model.inner_model.latent_format, self._video.of(denoised))

    def guide(
        self, step: int, model: KSamplerX0Inpaint, x: torch.Tensor, sigma: torch.Tensor, extra_args: dict[str, Any]
    ) -> None:
        """Move x towards the reference's motion, in place; of what it holds the video alone."""
        x, model, extra_args = self._video.of(x), self._video.model(model), self._video.arguments(extra_args)
        guidance, base = self._guidance, model.inner_model.inner_model
        loss = self._loss_at(step, model, x, sigma, extra_args)
        patches = patches_of(extra_args["model_options"])
        with ExitStack() as scopes:
            scopes.enter_context(gradient_scope(*networks_of(model.inner_model), patches=patches))
            # Learning rates are for a flow model's latent; others' is larger the more noise it holds.
            size = size_of(base.model_sampling, sigma)

            def at_its_size(latent: torch.Tensor) -> MotionLoss:
                return loss(latent * size)

            def in_float32(latent: torch.Tensor) -> MotionLoss:
                logging.warning(
                    "FastVMT: step %d: no finite gradient in half precision, so float32 from here.", step + 1
                )
                # To the end of the step: backward computes blocks again, and must find what forward found.
                scopes.enter_context(float32_pass(base))
                return at_its_size(latent)

            guided, log = optimize_latent(
                latent=x / size,
                loss_fn=at_its_size,
                config=guidance.config,
                step_weight=self._guided[step].weight,
                on_inner_step=self._inner_step_reporter(step, loss),
                retry_loss_fn=None if computing_dtype(base) == torch.float32 else in_float32,
                attempt=self._memory.attempt,
                scale=self._scale,
                step_share=_step_share(guidance.motion, x),
            )
            # Read in the scope that it was made in.
            moves = None if loss.steps is None else loss.steps.cpu()
        x.copy_(guided * size)
        if step == self._steps[-1]:
            # The ordinary steps that follow run with the weights where the host had them.
            self._memory.release()
        if log.stopped is not None:
            logging.warning("FastVMT: guidance of step %d ended early: %s.", step + 1, log.stopped)
        self._report.step_guided(step, log, moves)

    def _loss_at(
        self, step: int, model: KSamplerX0Inpaint, x: torch.Tensor, sigma: torch.Tensor, extra_args: dict[str, Any]
    ) -> LatentLoss | WindowedLoss:
        objective, half = self._guidance.objective, self._guided[step].half
        level = float(level_of(model.inner_model.inner_model.model_sampling, sigma).max())
        with torch.inference_mode(False):
            # The inpaint mask multiplies the latent, so that autograd keeps it: it must be an ordinary tensor.
            extra_args = {key: v.clone() if torch.is_tensor(v) else v for key, v in extra_args.items()}

        def loss_of(
            motion: MotionEmbedding, cuts: tuple[int, ...], model: KSamplerX0Inpaint, extra_args: dict[str, Any]
        ) -> LatentLoss:
            with torch.inference_mode(False):
                # So must what the latent is compared with.
                target = objective.target(motion, level, x.device)
            needs, grid = objective.needs(motion), motion.grid
            return LatentLoss(target, needs, grid, self._memory, model, sigma, extra_args, cuts, half)

        # For this step alone: the windows of some schedules differ from step to step.
        part_of = functools.cache(self._part_of)

        def loss_of_window(frames: tuple[int, ...], *run: Any) -> LatentLoss | None:  # noqa: ANN401  (the last two)
            part = part_of(frames, half)
            return loss_of(part, carried_cuts(self._cuts, frames), *run) if objective.pulls(part) else None

        if self._windows is None:
            return loss_of(self._motion(half), self._cuts, model, extra_args)
        return WindowedLoss(self._windows, loss_of_window, self._scale, model, sigma, extra_args)

    def _motion(self, half: bool) -> MotionEmbedding:
        return self._half_size if half else self._guidance.motion

    def _part_of(self, frames: tuple[int, ...], half: bool) -> MotionEmbedding:
        """The motion of a context window."""
        if half and spacing(frames) != 1:
            raise ValueError(
                f"resolution: expected full with context windows whose frames lie {spacing(frames)} apart, as the "
                "motion at half the size was read from each frame to the next; set resolution to full, or "
                "context_stride to 1."
            )
        with torch.inference_mode(False):
            return self._guidance.objective.of_frames(self._motion(half), frames)

    def _inner_step_reporter(self, step: int, loss: LatentLoss | WindowedLoss) -> Callable[[InnerStep], None]:
        """Called after each inner step: moves the bar, sends the messages, and raises when the user cancelled."""
        numbers = itertools.count()

        def report(inner: InnerStep) -> None:
            number = next(numbers)
            self._bar.inner_step_done(step, number)
            self._report.inner_step(step, number, inner, loss.steps)
            if inner.loss is not None:
                text = f"step {step + 1}, inner step {number + 1}: loss {inner.loss:.4g}"
                show_text(self._guidance.node_id, text)
            raise_if_cancelled()

        return report

    def _estimate(self) -> dict[str, Any]:
        """What the gradients will cost; shown before the first of them is evaluated."""
        per_step = gradients_per_step(self._guidance.config)
        halves = sum(step.half for step in self._guided.values())
        whole = len(self._steps) - halves
        estimate = self._memory.run_estimate(whole * per_step, len(self._levels) - 1, halves * per_step)
        text = estimate_text(estimate)
        logging.info("FastVMT: guiding %d of %d steps with %s.", len(self._steps), len(self._levels) - 1, text)
        show_text(self._guidance.node_id, text)
        return estimate


class GuidedModel:
    """Stands where the sampler function sees the model; guides the latent before it is evaluated.

    An evaluation of another size than the run's, or a second one at a step, is no step: it is evaluated as it is.
    """

    def __init__(self, model: KSamplerX0Inpaint, run: GuidedRun, shape: torch.Size) -> None:
        self._model, self._run, self._shape = model, run, shape
        self._step: int | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, **extra_args: object) -> torch.Tensor:
        if x.shape == self._shape:
            step = self._run.step_at(float(sigma.max()), self._step)
            if step != self._step and self._run.step_begins(step):
                self._run.guide(step, self._model, x, sigma, extra_args)
            self._step = step
            if self._run.is_before_the_last_guided(step):
                extra_args = self._run.with_shots_apart(self._model, x, extra_args)
        denoised = self._model(x, sigma, **extra_args)
        if x.shape == self._shape:
            self._run.show(self._model, denoised)
        return denoised


def _step_share(motion: MotionEmbedding, latent: torch.Tensor) -> torch.Tensor | None:
    """The motion's mask on a latent's pixels, (1, 1, F, h, w), 0 on frames before the video's; None without a mask."""
    if motion.mask is None:
        return None
    frames, height, width = latent.shape[2:]
    share = motion.mask
    for side, pixels in ((1, height), (2, width)):
        # Whole patches: a latent of odd sides is padded to them.
        share = share.repeat_interleave(math.ceil(pixels / share.shape[side]), dim=side)
    share = share[:, :height, :width]
    return torch.cat([share.new_zeros(frames - len(share), height, width), share])[None, None]
