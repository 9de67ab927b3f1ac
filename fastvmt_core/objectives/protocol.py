"""What every objective is: settings that name the signals they need, and a loss of those signals against a motion.

Axes: F latent frames, H and W rows and columns of tokens, C channels, h and w rows and columns of the latent.
"""

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
    """Signals of a forward pass that an objective reads; the pass ends with the last of them.

    Blocks are counted from 0 and stand in rising order.
    """

    queries_and_keys: tuple[int, ...] = ()
    """Blocks whose self-attention's q and k are read."""
    values: tuple[int, ...] = ()
    """Blocks whose self-attention's v is read."""
    hidden: tuple[int, ...] = ()
    """Blocks whose output is read."""
    velocity: bool = False
    """Whether what the whole model predicts is read. It is taken as a constant: no gradient goes through the model."""

    def __or__(self, other: Needs) -> Needs:
        """What either needs."""

        def both(name: str) -> tuple[int, ...]:
            return tuple(sorted({*getattr(self, name), *getattr(other, name)}))

        return Needs(both("queries_and_keys"), both("values"), both("hidden"), velocity=self.velocity or other.velocity)

    @property
    def attended(self) -> tuple[int, ...]:
        """Blocks whose self-attention is looked into."""
        return tuple(sorted({*self.queries_and_keys, *self.values}))

    @property
    def whole_blocks(self) -> int:
        """How many blocks a gradient goes back through, besides the part of one that its q, k and v are made in."""
        return max([0, *self.attended, *(block + 1 for block in self.hidden)])


@dataclass(frozen=True, eq=False)
class Signals:
    """What one forward pass of one clip hands to an objective, differentiable in the latent; None: not asked for."""

    q: Tensor | None = None
    """(F, H, W, heads, d), after q/k norm and RoPE; the heads of several blocks stand side by side."""
    k: Tensor | None = None
    """The same shape."""
    v: Tensor | None = None
    """(F, H, W, heads, d), likewise."""
    hidden: Tensor | None = None
    """(F, H, W, C), the blocks' outputs; the channels of several blocks stand side by side."""
    velocity: Tensor | None = None
    """(C, F, h, w), noise less clip, as the model predicts it; without gradient."""
    latent: Tensor | None = None
    """(C, F, h, w), what the pass was given; with `velocity`."""
    sigma: float | None = None
    """Its noise level; with `velocity`."""

    def reversed(self) -> Signals:
        """The same of the clip played backwards, as far as a self-attention is asked."""
        q, k, v = (None if tokens is None else tokens.flip(0) for tokens in (self.q, self.k, self.v))
        return Signals(q, k, v)


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
