"""Guidance in the host's context windows. Trap: the handler alone knows which frames, conditions and weights a window
has, so that it is handed gradients as if they were predictions, and joins them as it joins those."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import comfy.model_patcher
import torch

from ....fastvmt_core.grid import TokenGrid
from ....fastvmt_core.guidance.gradient_source import LossScale
from ....fastvmt_core.objectives.protocol import MotionLoss
from ....fastvmt_core.video.cuts import carried_cuts
from ..attention.shots import TokenShots
from ..models.video_model import positive_conditions
from ..page.progress import raise_if_cancelled
from .objective import LatentLoss

if TYPE_CHECKING:
    from comfy.context_windows import ContextHandlerABC, ContextWindowABC
    from comfy.model_base import BaseModel
    from comfy.samplers import CFGGuider, KSamplerX0Inpaint

    from ..models.family import Condition

HANDLER = "context_handler"
"""The model option that holds the handler."""
FRAMES_AXIS = 2
"""Of a video latent (B, C, F, h, w)."""
TAKE_OUT = "take out the context windows, or generate a clip that is no longer than one window"


@dataclass(frozen=True, eq=False)
class ContextWindows:
    """The windows in time by which a model is evaluated where a latent is longer than one of them."""

    handler: ContextHandlerABC
    """The host's, or another pack's with the same interface."""
    frames: int
    """F of the whole latent."""
    longest: int
    """Latent frames of the longest window."""
    count: int
    """Windows of the first step; schedules may have another number at later ones."""

    @classmethod
    def of_run(
        cls, guider: CFGGuider, noise: torch.Tensor, sigmas: torch.Tensor, leading: int
    ) -> ContextWindows | None:
        """The windows of a run; None where the model is evaluated on the whole latent at once.

        Raises:
            ValueError: they cannot be guided.
        """
        options, base = guider.model_options, guider.inner_model
        handler = options.get(HANDLER)
        conditions = [positive_conditions(guider)]
        if handler is None or not handler.should_use_context(base, conditions, noise, sigmas[:1], options):
            return None
        axis, frames = getattr(handler, "dim", FRAMES_AXIS), noise.shape[FRAMES_AXIS]
        if axis != FRAMES_AXIS:
            raise ValueError(
                f"dim: expected context windows over the frames of a video, {FRAMES_AXIS}, got {axis}; set dim to "
                f"{FRAMES_AXIS}, or take the context windows node for Wan."
            )
        if len(noise) > 1:
            raise ValueError(
                f"batch_size: expected 1 with context windows, which ComfyUI takes one clip at a time, got "
                f"{len(noise)}; lower batch_size."
            )
        if leading:
            raise ValueError(
                f"model: expected no context windows beside a reference image in the latent's first {leading} frames, "
                f"which only the first window would see; take the reference image out, or {TAKE_OUT}."
            )
        if getattr(handler, "latent_retain_index_list", None):
            raise ValueError(
                "latent_retain_index_list: expected none under motion guidance, as a frame in another's place has no "
                f"motion there, got {handler.latent_retain_index_list}; leave it empty."
            )
        lengths = [handler.context_length]
        if hasattr(handler, "get_context_windows"):
            lengths = [len(frames_of(window, frames)) for window in _windows(handler, base, noise, options)]
        # Newer hosts put the frame before a window in front of it.
        longest = max(lengths) + bool(getattr(handler, "causal_window_fix", False))
        return cls(handler, frames, min(longest, frames), max(len(lengths), -(-frames // max(lengths))))


def _windows(
    handler: ContextHandlerABC, base: BaseModel, noise: torch.Tensor, options: dict[str, Any]
) -> Sequence[ContextWindowABC]:
    """The handler's windows over a latent.

    Raises:
        ValueError: there are none, as each would begin where the one before it does, or earlier.
    """
    length, overlap = handler.context_length, getattr(handler, "context_overlap", None)
    try:
        windows = handler.get_context_windows(base, noise, options)
    except ValueError:
        if overlap != length:
            raise
        windows = ()
    if not windows:
        raise ValueError(
            f"context_overlap: expected less than context_length, which is {length} frames of the latent, got "
            f"{overlap}; lower context_overlap. The context windows node for Wan counts frames of the video, 4 to each "
            "of the latent."
        )
    return windows


def frames_of(window: ContextWindowABC, count: int) -> tuple[int, ...]:
    """Which of a latent's `count` frames a window shows, in its order."""
    numbers = window.get_tensor(torch.arange(count).view(1, 1, -1, 1, 1))
    return tuple(numbers.flatten().tolist())


@dataclass(eq=False)
class WindowedLoss:
    """loss(latent) of one guided step, one window after the other; only one has its graph in memory.

    The gradient at a frame is the mean of its windows' by the handler's weights, and each window counts by its share of
    the frames, as in a mean over the whole clip. A window's loss is a mean over its pairs of frames: none leads out of
    it.
    """

    windows: ContextWindows
    loss_of: Callable[[tuple[int, ...], KSamplerX0Inpaint, dict[str, Any]], LatentLoss | None]
    """The loss of a window by its frames, what the host gives a sampler function, and that one's arguments; None where
    nothing of the motion is to be followed there."""
    scale: LossScale
    model: KSamplerX0Inpaint
    """What the host gives a sampler function."""
    sigma: torch.Tensor
    """(B,)."""
    extra_args: dict[str, Any]
    """The sampler function's."""
    steps: torch.Tensor | None = field(default=None, init=False)
    """(F - 1, H, W, 2) tokens: as `LatentLoss.steps`, of the whole clip."""
    _terms: list[str] = field(default_factory=list, init=False)

    def __call__(self, latent: torch.Tensor) -> MotionLoss:
        """The loss of a latent (B, C, F, h, w); its gradient is known by then."""
        guider, handler = self.model.inner_model, self.windows.handler
        x = self._as_evaluated(latent)
        options = comfy.model_patcher.create_model_options_clone(self.extra_args["model_options"])
        options.pop(HANDLER)
        conditions = [positive_conditions(guider), None]
        gradient, numbers = handler.execute(
            self._differentiated, guider.inner_model, conditions, x.detach(), self.sigma, options
        )
        # Frames of a window share its numbers.
        clips = numbers.mean((2, 3, 4))
        total, terms = clips[:, 0].mean(), clips[:, 2 : 2 + len(self._terms)].mean(0)
        named = dict(zip(self._terms, terms, strict=True))
        return MotionLoss(_Differentiated.apply(x, total, gradient), named, clips[:, 1])

    def _as_evaluated(self, latent: torch.Tensor) -> torch.Tensor:
        """The latent as the model sees it, once the host's inpaint mask is applied."""
        seen: list[torch.Tensor] = []

        def note(x: torch.Tensor, sigma: torch.Tensor, **_: object) -> torch.Tensor:
            del sigma
            seen.append(x)
            return x

        model = copy.copy(self.model)
        model.inner_model = _Calls(self.model.inner_model, note)
        model(latent, self.sigma, **self.extra_args)
        return seen[0]

    def _differentiated(
        self,
        base: object,
        conditions: Sequence[Sequence[Condition] | None],
        x: torch.Tensor,
        sigma: torch.Tensor,
        options: dict[str, Any],
    ) -> list[torch.Tensor]:
        """Called by the handler in place of the host's evaluation of one window.

        Returns:
            The gradient of the window's loss, and its numbers, each in all places of one channel: the loss, the part of
            it that can fall to 0, the terms.
        """
        del base, sigma
        raise_if_cancelled()
        frames = frames_of(options["transformer_options"]["context_window"], self.windows.frames)
        numbers = torch.zeros_like(x)
        model = copy.copy(self.model)
        model.inner_model = _WindowGuider(self.model.inner_model, conditions[0])
        # The inpaint mask has been applied.
        extra_args = {**self.extra_args, "model_options": options, "denoise_mask": None}
        window_loss = self.loss_of(frames, model, extra_args)
        if window_loss is None:
            return [torch.zeros_like(x), numbers]
        with torch.enable_grad():
            point = x.detach().clone().requires_grad_(True)
            loss = window_loss(point)
            (gradient,) = torch.autograd.grad(loss.total * self.scale.value, point)
        self._terms = list(loss.terms)
        numbers[:, 0] = loss.total.detach()
        numbers[:, 1] = loss.clips_reducible.detach().view(-1, 1, 1, 1)
        for channel, term in enumerate(loss.terms.values(), start=2):
            numbers[:, channel] = term.detach()
        self._note_steps(frames, window_loss.steps)
        return [gradient * (len(frames) / self.windows.frames / self.scale.value), numbers]

    def _note_steps(self, frames: Sequence[int], steps: torch.Tensor | None) -> None:
        if steps is None:
            return
        if self.steps is None:
            self.steps = steps.new_zeros(self.windows.frames - 1, *steps.shape[1:])
        for place, (frame, later) in enumerate(zip(frames, frames[1:], strict=False)):
            if later == frame + 1:
                self.steps[frame] = steps[place]


class _Differentiated(torch.autograd.Function):
    """A loss whose gradient is known."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, loss: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        del x
        ctx.save_for_backward(gradient)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, factor: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401
        (gradient,) = ctx.saved_tensors
        return factor * gradient, None, None


class _Calls:
    """Stands where the guider stands, and calls another function in its place."""

    def __init__(self, guider: CFGGuider, function: Callable[..., torch.Tensor]) -> None:
        self._guider, self._function = guider, function

    def __getattr__(self, name: str) -> object:
        return getattr(self._guider, name)

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, **how: object) -> torch.Tensor:
        return self._function(x, sigma, **how)


class _WindowGuider:
    """The guider with the conditions of one window."""

    def __init__(self, guider: CFGGuider, conditions: Sequence[Condition]) -> None:
        self._guider = guider
        self.conds = {"positive": conditions}

    def __getattr__(self, name: str) -> object:
        return getattr(self._guider, name)


@dataclass(frozen=True, eq=False)
class WindowedShots:
    """Self-attention within shots where the model is evaluated window by window; stands in for `TokenShots`."""

    whole: TokenShots
    """Of the whole clip."""

    def attend(self, attention: Callable[..., torch.Tensor], *tokens: object, **how: object) -> torch.Tensor:
        """`attention` of the window's tokens, shot by shot."""
        window = (how.get("transformer_options") or {}).get("context_window")
        if window is None:
            return self.whole.attend(attention, *tokens, **how)
        grid = self.whole.grid
        frames = frames_of(window, grid.frames)
        cuts = carried_cuts(self.whole.cuts, frames)
        part = TokenGrid(len(frames), grid.height, grid.width)
        # Counted from the end, the first token is the nearer the fewer frames there are.
        first = self.whole.first + (grid.tokens - part.tokens if self.whole.first < 0 else 0)
        within = TokenShots(part, cuts, first)
        return within.attend(attention, *tokens, **how)
