"""A motion at other times: each frame shows the content of another moment of it, or of one between two frames."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .embedding import MotionEmbedding
from .plan import Scene, apply_plan


def retimed(motion: MotionEmbedding, times: Sequence[float], edit_label: str) -> MotionEmbedding:
    """The motion whose frame a shows time `times[a]` of this one, in frames; it may lie between two."""

    def plan(scene: Scene) -> Tensor:
        at = [(math.floor(time), math.ceil(time), time - math.floor(time)) for time in times]
        return torch.stack(
            [torch.lerp(scene.tracked[:, low], scene.tracked[:, high], part) for low, high, part in at], 1
        )

    return apply_plan(motion, plan, nearest_frames(times), edit_label)


def nearest_frames(times: Sequence[float]) -> list[int]:
    """The whole frame nearest to each time; the later one if two are equally near."""
    return [math.floor(time + 0.5) for time in times]
