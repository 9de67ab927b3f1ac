"""What every objective is: settings that name the signals they need, and a loss of those signals against a motion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..motion.embedding import MotionEmbedding


@dataclass(frozen=True)
class MotionLoss:
    """The loss of one generated clip against a reference's motion."""

    total: Tensor
    """The weighted sum of the terms, a scalar; the one to differentiate."""
    terms: Mapping[str, Tensor]
    """Each term before its weight, a scalar, by its name in the paper."""
    reducible: Tensor | None = None
    """The part of the total whose least value is 0, a scalar, or (clips,) of a batch; None where all of it is."""

    @property
    def clips_reducible(self) -> Tensor:
        """(clips,), `reducible` of each clip."""
        return (self.total if self.reducible is None else self.reducible).reshape(-1)

    @classmethod
    def mean(cls, losses: list[MotionLoss]) -> MotionLoss:
        """The mean loss of the clips of a batch, which do not see each other."""
        total = torch.stack([loss.total for loss in losses]).mean()
        names = losses[0].terms
        terms = {name: torch.stack([loss.terms[name] for loss in losses]).mean() for name in names}
        return cls(total, terms, torch.cat([loss.clips_reducible for loss in losses]))


@dataclass(frozen=True)
class Needs:
    """Signals of a forward pass that an objective reads; the pass ends with the last of them."""

    queries_and_keys: tuple[int, ...]
    """Blocks, from 0 and in rising order, whose self-attention's q and k are read."""


@dataclass(frozen=True, eq=False)
class Signals:
    """What one forward pass of one clip hands to an objective, differentiable in the latent."""

    q: Tensor
    """(F, H, W, heads, d), after q/k norm and RoPE; the heads of several blocks stand side by side."""
    k: Tensor
    """The same shape."""


class Target(Protocol):
    """A reference's motion at one noise level, ready to be compared with any number of clips."""

    def loss(self, signals: Signals) -> MotionLoss:
        """The loss of one clip."""
        ...


class Objective(Protocol):
    """What pulls the latent of a guided step. Holds settings only, so that nodes and runs may share one."""

    def needs(self, motion: MotionEmbedding) -> Needs:
        """The signals that a forward pass must capture to follow `motion`."""
        ...

    def pulls(self, motion: MotionEmbedding) -> bool:
        """Whether the settings leave anything of `motion` to follow; if not, its loss has no gradient."""
        ...

    def target(self, motion: MotionEmbedding, sigma: float, device: torch.device) -> Target:
        """The motion at noise level `sigma`, on `device`: all state of a guided step, gone with it."""
        ...
