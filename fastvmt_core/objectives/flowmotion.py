"""FlowMotion's objective: the clip that the model predicts, against the reference's (arXiv 2603.06289, section 4).

Axes: C channels of the latent, F latent frames, h w rows and columns of the latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import interpolate

from ..config import GuidanceConfig
from ..motion.embedding import MotionEmbedding
from .method import Method
from .protocol import MotionLoss, Needs, Signals


@dataclass(frozen=True)
class FlowMotion(Method):
    """alpha MSE(x0, reference) + beta MSE(change of x0 from frame to frame, the reference's).

    x0 = x_t - sigma v, whose v is a constant: nothing is back-propagated through the model. The reference is its
    latent (`clean_latent` of the released code, where the default is the model's prediction of it). The regularisation
    of the velocity, which needs the run's first noise, is left out, and the prompt is used without CFG.
    """

    alpha: float = 20.0
    """Weight of the frames themselves, which copies layout too."""
    beta: float = 5.0
    """Weight of their changes."""

    name = "FlowMotion"
    source = "FlowMotion, arXiv 2603.06289"
    schedule = GuidanceConfig(inner_steps=3, lr_start=0.003, lr_end=0.003, gradient_interval=1, end_percent=0.2)

    def compares(self, blocks: tuple[int, ...]) -> Needs:
        """What the whole model predicts."""
        del blocks
        return Needs(velocity=True)

    def reads(self, blocks: tuple[int, ...]) -> Needs:
        """Only what the flow is made of: the motion's latent is what is followed."""
        return self.flow_signals(blocks)

    def target(self, motion: MotionEmbedding, sigma: float, device: torch.device) -> FlowMotionTarget:
        """The reference's latent, the same at every noise level.

        Raises:
            ValueError: the motion holds none.
        """
        del sigma
        if motion.reference is None:
            raise ValueError(
                "motion: expected one that holds its reference's latent, which FlowMotion follows, got one without; "
                "save it with keep_reference, or read it again with Invert Motion."
            )
        mask = None if motion.mask is None else motion.mask.to(device)
        return FlowMotionTarget(motion.reference[0].to(device), mask, motion.cuts, self.alpha, self.beta)


@dataclass(frozen=True, eq=False)
class FlowMotionTarget:
    """The latent that generated clips are compared with."""

    reference: Tensor
    """(C, F, h, w)."""
    mask: Tensor | None
    """(F, H, W) in [0, 1], how much each token counts."""
    cuts: tuple[int, ...]
    """Latent frames that begin a new shot; the change to them is no motion."""
    alpha: float
    beta: float

    def loss(self, signals: Signals) -> MotionLoss:
        """The loss of one clip.

        Raises:
            ValueError: the clip has another size.
        """
        clip = signals.latent - signals.sigma * signals.velocity
        if clip.shape != self.reference.shape:
            raise ValueError(
                f"latent: expected the reference's {tuple(self.reference.shape)}, got {tuple(clip.shape)}; generate at "
                "its size, or read the motion again at this one."
            )
        reference = self.reference.to(clip)
        counts = self._counts(clip)
        kept = [frame for frame in range(clip.shape[1] - 1) if frame + 1 not in self.cuts]
        frames = _mean((clip - reference).square(), counts)
        changes = _mean((clip - reference).diff(dim=1)[:, kept].square(), counts[:, :-1][:, kept])
        total = self.alpha * frames + self.beta * changes
        return MotionLoss(total, {"frames": frames, "changes": changes})

    def _counts(self, clip: Tensor) -> Tensor:
        """(1, F, h, w): how much each place of the latent counts."""
        if self.mask is None:
            return torch.ones_like(clip[:1])
        mask = rearrange(self.mask.to(clip), "f h w -> f 1 h w")
        return rearrange(interpolate(mask, clip.shape[2:], mode="nearest"), "f 1 h w -> 1 f h w")


def _mean(squares: Tensor, counts: Tensor) -> Tensor:
    """The mean of squares (C, F, h, w) that count by (1, F, h, w)."""
    total = counts.sum() * squares.shape[0]
    return (squares * counts).sum() / total.clamp(min=torch.finfo(squares.dtype).tiny)
