"""The guided sampler function. Trap: samplers keep history and noise of their own, so the latent is edited in place at
the first evaluation of a step, which only samplers of one evaluation a step bear; the others begin as euler."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import comfy.k_diffusion.sampling
import torch
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from comfy.samplers import KSAMPLER

from ....fastvmt_core.attention.flow import AttentionMotionFlow, attention_motion_flow
from ....fastvmt_core.config import GuidanceConfig, LossWeights
from ....fastvmt_core.grid import TokenGrid
from ....fastvmt_core.guidance.optimizer import InnerStep, LossScale, optimize_latent
from ....fastvmt_core.guidance.schedule import guided_steps, step_weight
from ....fastvmt_core.motion.embedding import MotionEmbedding
from ....fastvmt_core.motion.resize import for_guidance, size_change
from ....fastvmt_core.objectives.fastvmt import MotionLoss, motion_loss
from ..attention.capture import capture_qk, first_token, leading_references
from ..attention.shots import TokenShots, within_shots
from ..gradient.memory import GuidedMemory, in_words
from ..gradient.scope import (
    clone_with_owned_weights,
    computes_in_float32,
    float32_pass,
    gradient_scope,
    require_patches_in_place,
)
from ..models.video_model import WanModel, require_video_latent
from ..page.progress import StepBar, raise_if_cancelled, send, show_text
from ..page.report import GuidanceReport, Tell
from ..reading.inversion import ReadingSampler

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import CFGGuider, KSamplerX0Inpaint, Sampler

WRAPPER_KEY = "fastvmt"

LARGE_CHANGE = 1.5
"""Ratio of a motion's size, length or shape to the latent's above which resampling is warned of."""

EDITED_IN_PLACE = frozenset(
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


def apply_motion(
    model: ModelPatcher,
    motion: MotionEmbedding,
    weights: LossWeights,
    config: GuidanceConfig,
    node_id: str | None,
    tell: Tell = send,
) -> ModelPatcher:
    """A clone of `model` that follows `motion` in every sampler; the user's model stays as it is.

    What happens is told as messages of `node_id`, to the page where `tell` is not given.

    Raises:
        ValueError: the motion was taken from another kind of model, or the model follows one already, or is streamed by
            the host and cannot be loaded otherwise.
    """
    wan = WanModel.of(model)
    wan.require_motion(motion)
    if config.strength == 0:
        return model.clone()
    if model.get_wrappers(WrappersMP.SAMPLER_SAMPLE, WRAPPER_KEY):
        raise ValueError(
            "model: expected one that follows no motion yet, got one from another Apply Motion; wire the model "
            "from before that node, and make two motions into one with Blend Motion."
        )
    guided = clone_with_owned_weights(model)
    guidance = MotionGuidance(motion, weights, config, wan, node_id, tell)
    guided.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, WRAPPER_KEY, guidance.wrap_sampler)
    return guided


@dataclass(frozen=True, eq=False)
class MotionGuidance:
    """What Apply Motion attaches to a model: settings only, nothing that a run changes."""

    motion: MotionEmbedding
    weights: LossWeights
    config: GuidanceConfig
    wan: WanModel
    node_id: str | None
    tell: Tell = send

    def wrap_sampler(
        self,
        executor: WrapperExecutor,
        guider: object,
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
            # The sampler object belongs to another node, which may hand it to several: only a copy is changed.
            sampler = self._guided(sampler, guider, sigmas, noise, latent_image, denoise_mask)
        inner = WrapperExecutor.new_class_executor(sampler.sample, sampler, executor.wrappers, executor.idx + 1)
        return inner.execute(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar)

    def _guided(
        self,
        sampler: Sampler,
        guider: object,
        sigmas: torch.Tensor,
        noise: torch.Tensor,
        latent_image: torch.Tensor | None,
        denoise_mask: torch.Tensor | None,
    ) -> Sampler:
        if not isinstance(sampler, KSAMPLER):
            raise ValueError(
                f"sampler: expected one of the host's samplers (Select Sampler), got {type(sampler).__name__}, which "
                "motion guidance cannot step through."
            )
        for name, latent in (("noise", noise), ("latent_image", latent_image)):
            if latent is not None:
                require_video_latent(name, latent, self.wan.latent_channels)
        require_patches_in_place(guider.model_patcher)
        grid = self.wan.grid(noise)
        references = leading_references(guider)
        fitted = self._fitted_to(dataclasses.replace(grid, frames=grid.frames - references))
        model_sampling = guider.inner_model.model_sampling
        end_sigma = float(model_sampling.percent_to_sigma(self.config.end_percent))
        # A run without noise of its own continues another one, which has had the first guided step.
        steps = guided_steps(sigmas, end_sigma, fresh_start=bool(torch.count_nonzero(noise)))
        if not steps:
            said = (
                f"No step of this run lies above sigma {end_sigma:.3f}, so none is guided: raise end_percent, or guide "
                "the sampler that begins with noise (of Wan 2.2's two, the high-noise model's)."
            )
            logging.warning("FastVMT: %s", said)
            show_text(self.node_id, said)
            return sampler
        if float(sigmas[steps[-1]]) <= end_sigma:
            logging.warning(
                "FastVMT: this run starts below sigma %.3f, where end_percent %.2f lies, so only its first step is "
                "guided; raise end_percent, which counts from pure noise.",
                end_sigma,
                self.config.end_percent,
            )
        memory = GuidedMemory(guider, noise, grid, self.motion.fingerprint.block, self.config.memory)
        cuts = _cuts_to_part_at(fitted.motion, guider, denoise_mask)
        run = _GuidedRun(fitted, model_sampling, sigmas, steps, memory, cuts)
        guided = copy.copy(sampler)
        guided.sampler_function = run.wrap(sampler.sampler_function)
        return guided

    def _fitted_to(self, grid: TokenGrid) -> MotionGuidance:
        """The same guidance with its motion at the latent's size and length."""
        if grid == self.motion.grid:
            return self
        say = logging.warning if size_change(self.motion, grid) > LARGE_CHANGE else logging.info
        say(
            "FastVMT: the motion was read at %s and is resampled to %s; the larger the change, the less of it is kept. "
            "Extract it again at this size for the best result.",
            self.motion.grid,
            grid,
        )
        return dataclasses.replace(self, motion=for_guidance(self.motion, grid))


class _GuidedRun:
    """One sampler run under guidance."""

    def __init__(
        self,
        guidance: MotionGuidance,
        model_sampling: object,
        sigmas: torch.Tensor,
        steps: tuple[int, ...],
        memory: GuidedMemory,
        cuts: tuple[int, ...],
    ) -> None:
        self._guidance = guidance
        self._memory = memory
        self._cuts = cuts
        self._sampling = model_sampling
        self._levels = [float(sigma) for sigma in sigmas]
        self._steps = steps
        self._scale = LossScale()
        self._warn_once = functools.cache(logging.warning)
        self._bar = StepBar(len(sigmas) - 1, guidance.config.inner_steps)
        self._report = GuidanceReport(
            guidance.node_id, guidance.motion, self._levels, steps, guidance.config.inner_steps, guidance.tell
        )

    def wrap(self, function: Callable) -> Callable:
        """The k-diffusion sampler function, guided."""
        whole = _bears_edits(function)
        if not whole:
            logging.info("FastVMT: this sampler evaluates more than once a step; its guided steps are run as euler.")

        def sample(
            model: KSamplerX0Inpaint,
            x: torch.Tensor,
            sigmas: torch.Tensor,
            extra_args: dict[str, Any],
            callback: Callable | None = None,
            disable: bool | None = None,
            **options: object,
        ) -> torch.Tensor:
            self._report.begins(self._estimate())
            guided = _GuidedModel(model, self)
            run = {"extra_args": extra_args, "callback": callback, "disable": disable}
            if whole:
                x = function(guided, x, sigmas, **run, **options)
                self._report.sampled()
                return x
            ends = self._steps[-1] + 1
            # Some samplers need two steps to move at all (uni_pc), so a single one left is euler's too.
            ends = len(sigmas) - 1 if ends >= len(sigmas) - 2 else ends
            x = comfy.k_diffusion.sampling.sample_euler(guided, x, sigmas[: ends + 1], **run)
            if ends < len(sigmas) - 1:
                self._report.step_begins(ends)
                run["callback"] = _counting_from(ends, self._telling(callback))
                x = function(model, x, sigmas[ends:], **run, **options)
            self._report.sampled()
            return x

        return sample

    def _telling(self, callback: Callable | None) -> Callable:
        """The host's callback, which also tells of the next step: after the hand-over nobody else sees one begin."""

        def tell(state: dict[str, Any]) -> None:
            if callback is not None:
                callback(state)
            if state["i"] + 1 < len(self._levels) - 1:
                self._report.step_begins(state["i"] + 1)

        return tell

    def begins(self, step: int) -> bool:
        """Take note that a step begins; returns whether it is a guided one."""
        self._report.step_begins(step)
        return step in self._steps

    def with_shots_apart(self, model: KSamplerX0Inpaint, x: torch.Tensor, extra_args: dict[str, Any]) -> dict[str, Any]:
        """An evaluation's arguments with which no shot looks at another; as they are where there is nothing to part.

        Shots that see each other move their things to where the other has them.
        """
        if not self._cuts:
            return extra_args
        grid = self._guidance.motion.grid
        network = model.inner_model.inner_model.diffusion_model
        conditions = itertools.chain(*model.inner_model.conds.values())
        first = {first_token(network, condition, x, grid) for condition in conditions}
        if len(first) > 1:
            self._warn_once(
                "FastVMT: some of the prompts (positive, negative) have a reference image, others none, so the shots "
                "are drawn together; give it to all of them if they pull at each other."
            )
            return extra_args
        shots = TokenShots(grid, self._cuts, first.pop())
        options = within_shots(extra_args["model_options"], shots, len(network.blocks), self._warn_once)
        return {**extra_args, "model_options": options}

    def guide(
        self, step: int, model: KSamplerX0Inpaint, x: torch.Tensor, sigma: torch.Tensor, extra_args: dict[str, Any]
    ) -> None:
        """Move x towards the reference's motion, in place."""
        guidance, base = self._guidance, model.inner_model.inner_model
        with torch.inference_mode(False):
            # The inpaint mask multiplies the latent, so that autograd keeps it: it must be an ordinary tensor.
            extra_args = {key: v.clone() if torch.is_tensor(v) else v for key, v in extra_args.items()}
        loss = _MotionLossOf(guidance, self._memory, model, sigma, extra_args, x, self._cuts)

        inner_steps = itertools.count()

        def show(inner: InnerStep) -> None:
            number = next(inner_steps)
            self._bar.inner_step_done(step, number)
            self._report.inner_step(step, number, inner, loss.seen)
            if inner.loss is not None:
                show_text(guidance.node_id, f"step {step + 1}, nudge {number + 1}: loss {inner.loss:.4g}")
            raise_if_cancelled()

        weight = step_weight(guidance.weights.schedule, self._position(step), guidance.weights.curve)
        with ExitStack() as scopes:
            beside = model.inner_model.model_patcher.model_patches_models()
            scopes.enter_context(gradient_scope(base.diffusion_model, *(patcher.model for patcher in beside)))

            def in_float32(latent: torch.Tensor) -> MotionLoss:
                logging.warning(
                    "FastVMT: step %d: no finite gradient in half precision, so float32 from here.", step + 1
                )
                # To the end of the step: backward computes blocks again, and must find what forward found.
                scopes.enter_context(float32_pass(base))
                return loss(latent)

            how = {
                "attempt": self._memory.attempt,
                "scale": self._scale,
                "where": _guided_part(guidance.motion, x),
                "retry_loss_fn": None if computes_in_float32(base) else in_float32,
            }
            guided, log = optimize_latent(x, loss, guidance.config, weight, show, **how)
        x.copy_(guided)
        if log.stopped is not None:
            logging.warning("FastVMT: guidance of step %d ended early: %s.", step + 1, log.stopped)
        self._report.guided(step, log, loss.seen)

    def _estimate(self) -> dict[str, Any]:
        """What the gradients will cost; said before the first of them is taken."""
        config = self._guidance.config
        interval = config.adaptive.shortest if config.adaptive else config.gradient_interval
        gradients = len(self._steps) * math.ceil(config.inner_steps / interval)
        estimate = self._memory.run_estimate(gradients, len(self._levels) - 1)
        said = in_words(estimate)
        logging.info("FastVMT: guiding %d of %d steps with %s.", len(self._steps), len(self._levels) - 1, said)
        show_text(self._guidance.node_id, said)
        return estimate

    def _position(self, step: int) -> float:
        """Share of the way from the model's first sigma to end_percent; the same however the run is cut up.

        0 for the step that is guided though it lies beyond the end: a run's only one gets its full strength.
        """
        end = self._guidance.config.end_percent
        percent = _percent(self._sampling, self._levels[step])
        return percent / end if percent < end else 0.0


class _GuidedModel:
    """Stands where the sampler function sees the model; guides the latent before it is evaluated."""

    def __init__(self, model: KSamplerX0Inpaint, run: _GuidedRun) -> None:
        self._model = model
        self._run = run
        self._evaluations = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, **extra_args: object) -> torch.Tensor:
        # Samplers that come here evaluate once a step, so that evaluations count steps.
        step, self._evaluations = self._evaluations, self._evaluations + 1
        if self._run.begins(step):
            self._run.guide(step, self._model, x, sigma, extra_args)
            extra_args = self._run.with_shots_apart(self._model, x, extra_args)
        return self._model(x, sigma, **extra_args)


class _MotionLossOf:
    """loss(latent): one guided forward up to the motion's block, compared with the reference's flow."""

    def __init__(
        self,
        guidance: MotionGuidance,
        memory: GuidedMemory,
        model: KSamplerX0Inpaint,
        sigma: torch.Tensor,
        extra_args: dict[str, Any],
        x: torch.Tensor,
        cuts: tuple[int, ...],
    ) -> None:
        motion = guidance.motion
        self.seen: AttentionMotionFlow | None = None
        """The flow of the batch's first clip at the last evaluation, without gradient."""
        self._motion, self._weights, self._memory = motion, guidance.weights, memory
        self._flow = motion.flow_at(float(sigma.max())).to(x.device)
        self._capture = {
            "model": model,
            "sigma": sigma,
            "extra_args": extra_args,
            "blocks": motion.fingerprint.blocks,
            "grid": motion.grid,
            "cuts": cuts,
        }

    def __call__(self, latent: torch.Tensor) -> MotionLoss:
        """The mean over the clips of a batch, which do not see each other."""
        # Frames of the latent that are references, not the video's, stay as they are: they get no gradient.
        references = latent.shape[2] - self._motion.grid.frames
        latent = torch.cat([latent[:, :, :references].detach(), latent[:, :, references:]], dim=2)
        q, k = capture_qk(x=latent, plan=self._memory.plan, **self._capture)
        flows = [self._generated(*clip) for clip in zip(q, k, strict=True)]
        self.seen = dataclasses.replace(flows[0], displacement=flows[0].displacement.detach(), window_keys=None)
        where = {"cuts": self._motion.cuts, "mask": self._motion.mask, "tile": self._motion.config.tile}
        losses = [motion_loss(self._flow, flow, self._weights, **where) for flow in flows]
        return MotionLoss(
            *(torch.stack([getattr(loss, part) for loss in losses]).mean() for part in ("total", "amf", "consistency"))
        )

    def _generated(self, q: torch.Tensor, k: torch.Tensor) -> AttentionMotionFlow:
        return attention_motion_flow(
            q, k, self._motion.config, self._flow.centres, window_keys=self._weights.consistency > 0
        )


def _cuts_to_part_at(motion: MotionEmbedding, guider: CFGGuider, denoise_mask: torch.Tensor | None) -> tuple[int, ...]:
    """Where shots are kept from seeing each other: at the motion's cuts, unless the model is given frames.

    A start image is the look of all shots, and reaches the others only through what they see of the first.
    """
    if not motion.cuts or denoise_mask is not None:
        return ()
    given = any("concat_latent_image" in condition for condition in itertools.chain(*guider.conds.values()))
    return () if given else motion.cuts


def _guided_part(motion: MotionEmbedding, latent: torch.Tensor) -> torch.Tensor | None:
    """The motion's mask on a latent's pixels, (1, 1, F, h, w), 0 on frames before the video's; None without a mask."""
    if motion.mask is None:
        return None
    frames, height, width = latent.shape[2:]
    part = motion.mask
    for side, pixels in ((1, height), (2, width)):
        # Whole patches: a latent of odd sides is padded to them.
        part = part.repeat_interleave(math.ceil(pixels / part.shape[side]), dim=side)
    part = part[:, :height, :width]
    return torch.cat([part.new_zeros(frames - len(part), height, width), part])[None, None]


def _bears_edits(function: Callable) -> bool:
    """Whether this is one of the host's own samplers of the table; another pack's may share its name."""
    name = getattr(function, "__name__", "")
    return name in EDITED_IN_PLACE and getattr(comfy.k_diffusion.sampling, name, None) is function


def _counting_from(first: int, callback: Callable) -> Callable:
    """The callback of a run that goes on at step `first`."""
    return lambda state: callback({**state, "i": state["i"] + first})


def _percent(model_sampling: object, sigma: float) -> float:
    """Invert the host's percent_to_sigma, which falls from 0 to 1, by bisection to 1e-6."""
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        if float(model_sampling.percent_to_sigma(middle)) > sigma:
            low = middle
        else:
            high = middle
    return low
