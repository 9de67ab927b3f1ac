"""A published method to follow a motion: an objective that also says what a reference is read by, and its schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from ..attention.flow import AttentionMotionFlow, attention_motion_flow
from ..config import AMFConfig, GuidanceConfig, LossWeights
from ..motion.embedding import MotionEmbedding
from ..motion.frames import motion_of_frames
from .protocol import Needs, Signals, Target


class Method:
    """What nodes offer as an objective. A new one overrides `compares` and `target`, and `read` or `flow`.

    Every motion holds a flow, which pictures show and edits change. Where the objective compares that flow it overrides
    `flow`; where it compares something else, `read` returns it.
    """

    name: ClassVar[str]
    """What people choose it by; motion files hold it: a promise."""
    source: ClassVar[str]
    """Where it is published."""
    schedule: ClassVar[GuidanceConfig]
    """The published one: the preset `paper`."""
    whole_clip: ClassVar[bool] = False
    """Whether what it reads of a frame depends on all others, so that a clip cannot be read in chunks."""

    def compares(self, blocks: tuple[int, ...]) -> Needs:
        """The signals that `read`, `flow` and the loss compare, where `blocks` are read."""
        raise NotImplementedError

    def target(self, motion: MotionEmbedding, sigma: float, device: torch.device) -> Target:
        """The motion at noise level `sigma`, on `device`; see `protocol.Objective`."""
        raise NotImplementedError

    def read(self, signals: Signals) -> Mapping[str, Tensor]:
        """What it compares besides the flow, of a reference; a motion keeps it in its `targets`."""
        del signals
        return {}

    def flow_signals(self, blocks: tuple[int, ...]) -> Needs:
        """The signals that `flow` is made of."""
        return Needs(queries_and_keys=blocks)

    def flow_config(self, config: AMFConfig, frames: int) -> AMFConfig:
        """How the flow of so many latent frames is read where `config` is what the user chose."""
        del frames
        return config

    def flow(self, signals: Signals, config: AMFConfig, centres: Tensor | None = None) -> AttentionMotionFlow:
        """The flow of a reference; arguments as for `attention_motion_flow`."""
        return attention_motion_flow(signals.q, signals.k, config, centres, window_keys=False)

    def reads(self, blocks: tuple[int, ...]) -> Needs:
        """The signals that a reference is read by."""
        return self.flow_signals(blocks) | self.compares(blocks)

    def weighted(self, weights: LossWeights) -> Method:
        """The same with these weights; most have none, and of `weights` only the schedule and the curve count."""
        del weights
        return self

    def needs(self, motion: MotionEmbedding) -> Needs:
        """The signals that a guided pass must capture."""
        return self.compares(motion.fingerprint.blocks)

    def pulls(self, motion: MotionEmbedding) -> bool:
        """Whether the mask leaves anything to follow."""
        return motion.mask is None or bool(motion.mask.any())

    def of_frames(self, motion: MotionEmbedding, frames: Sequence[int]) -> MotionEmbedding:
        """The motion of these latent frames, in this order: of a part of the clip, or of a context window.

        Raises:
            ValueError: what the objective compares is of the whole clip.
        """
        targets = tuple(self.target_of_frames(target, frames) for target in motion.targets)
        return replace(motion_of_frames(replace(motion, targets=()), frames), targets=targets)

    def target_of_frames(self, target: Mapping[str, Tensor], frames: Sequence[int]) -> Mapping[str, Tensor]:
        """Of what `read` returned, that of these latent frames.

        Raises:
            ValueError: each frame's depends on all others.
        """
        del target, frames
        raise ValueError(
            f"motion: expected one read for an objective that can follow a part of the clip, got one read for "
            f"{self.name}, which compares each frame with all others; take out the context windows or start_frame, or "
            "read the motion for another objective."
        )

    def kept(self, motion: MotionEmbedding, sigma: float, device: torch.device, *names: str) -> list[Tensor]:
        """The tensors that `read` returned, of the noise level nearest to `sigma`.

        Raises:
            ValueError: the motion holds others.
        """
        target = motion.targets[motion.nearest(sigma)] if motion.targets else {}
        if set(target) != set(names):
            raise ValueError(
                f"motion: expected {self.name}'s {' and '.join(names)}, got {', '.join(target) or 'none of these'}; "
                "read the motion again with Invert Motion and this objective."
            )
        return [target[name].to(device) for name in names]
