"""The loss of a latent: one forward pass up to what the objective reads last. Trap: clips of a batch do not see each
other, and frames of the latent that are references are not the video's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ....fastvmt_core.attention.values import value_steps
from ....fastvmt_core.objectives.protocol import MotionLoss, Needs, Target
from ..attention.signals import signals_of
from ..gradient.memory import GuidedMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comfy.samplers import KSamplerX0Inpaint

    from ....fastvmt_core.grid import TokenGrid


@dataclass(eq=False)
class LatentLoss:
    """loss(latent) of one guided step, differentiable in the latent."""

    target: Target
    """The reference's motion at this step's noise level."""
    needs: Needs
    """What the objective reads."""
    grid: TokenGrid
    """Token grid of the video, the last frames of the latent; with `half` at half its height and width."""
    memory: GuidedMemory
    """Its plan may change from one evaluation to the next."""
    model: KSamplerX0Inpaint
    """What the host gives a sampler function."""
    sigma: torch.Tensor
    """(B,)."""
    extra_args: dict[str, Any]
    """The sampler function's."""
    cuts: Sequence[int]
    """Latent frames that begin a shot which sees no other."""
    half: bool = False
    """Whether the pass runs at half the latent's height and width."""
    steps: torch.Tensor | None = field(default=None, init=False)
    """(F - 1, H, W, 2) tokens: how the batch's first clip moves at the last evaluation, by its values, to be drawn.
    None where no block is read."""

    def __call__(self, latent: torch.Tensor) -> MotionLoss:
        """The mean loss of the clips of a latent (B, C, F, h, w)."""
        # Leading frames that are references stay as they are: they get no gradient.
        leading = latent.shape[2] - self.grid.frames
        latent = torch.cat([latent[:, :, :leading].detach(), latent[:, :, leading:]], dim=2)
        clips = signals_of(
            model=self.model,
            x=latent,
            sigma=self.sigma,
            extra_args=self.extra_args,
            needs=self.needs,
            grid=self.grid,
            plan=self.memory.plan,
            cuts=self.cuts,
            on_values=self._note_steps,
            half=self.half,
        )
        return MotionLoss.mean([self.target.loss(signals) for signals in clips])

    def _note_steps(self, v: torch.Tensor) -> None:
        # Now, as v itself would fill memory until it is drawn.
        self.steps = value_steps(v[0])
