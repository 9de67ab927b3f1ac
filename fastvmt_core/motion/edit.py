"""Edits of a motion, each a function from one motion to another; the clip is not needed again.

The static bias stays at its position; what the flow has beyond it is carried to where the edit puts the reference's
objects (`plan.apply_plan`). A new edit is one function: where it puts everything, or what it does to every vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from ..attention.windows import Tiling
from ..checks import is_number, require_number
from .bounds import bounded, bounded_flows
from .embedding import MotionEmbedding
from .fields import edited_hash, frame_flow_of, own_centres, reversed_centres, reversed_vectors, static_bias_of
from .half_size import WITHOUT_HALF_SIZE
from .plan import Scene, apply_plan
from .retime import retimed
from .trim import part_of

Axis = Literal["horizontal", "vertical"]


def mirror(motion: MotionEmbedding, axis: Axis = "horizontal") -> MotionEmbedding:
    """The motion of the mirrored reference: left and right (or up and down) exchanged. Twice is the identity."""
    motion.require_flow_alone()
    side, sign = (2, (-1.0, 1.0)) if axis == "horizontal" else (1, (1.0, -1.0))

    def flip(field: Tensor) -> Tensor:
        return field.flip(side) * torch.tensor(sign)

    return replace(
        _with_vectors(motion, vectors=flip, offsets=flip),
        reference=None if motion.reference is None else motion.reference.flip(side + 2),
        reference_hash=edited_hash(motion, f"mirror {axis}"),
        frame_flow=torch.stack([flip(steps) for steps in frame_flow_of(motion)]),
        mask=None if motion.mask is None else motion.mask.flip(side),
        thumbnail=None if motion.thumbnail is None else motion.thumbnail.flip(side - 1),
    )


def reverse(motion: MotionEmbedding) -> MotionEmbedding:
    """The motion of the reference played backwards. Twice is the identity.

    A motion that has both directions of time exchanges them; in one that does not, vectors are turned round and put
    down where they pointed to.
    """
    motion.require_flow_alone()
    tiling = Tiling(motion.grid.height, motion.grid.width, motion.config.tile)
    backward = motion.backward or tuple(reversed_vectors(motion, number) for number in range(len(motion.flows)))
    flows = [
        replace(flow, displacement=displacement, centres=reversed_centres(flow, tiling))
        for flow, displacement in zip(motion.flows, backward, strict=True)
    ]
    return replace(
        motion,
        flows=bounded_flows(flows, motion.grid),
        **WITHOUT_HALF_SIZE,
        backward=tuple(flow.displacement for flow in motion.flows),
        reference=None if motion.reference is None else motion.reference.flip(2),
        reference_hash=edited_hash(motion, "reverse"),
        frame_flow=frame_flow_of(motion).flip(0, 1),
        mask=None if motion.mask is None else motion.mask.flip(0),
        cuts=tuple(sorted(motion.grid.frames - cut for cut in motion.cuts)),
    )


def amplify(motion: MotionEmbedding, factor: float) -> MotionEmbedding:
    """Everything moves `factor` times as far about the middle of its own trajectory; below 1 damps, 0 stands still.

    Raises:
        ValueError: the factor is negative or not finite.
    """
    require_number("amount", factor)

    def plan(scene: Scene) -> Tensor:
        middle = scene.tracked.mean(1, keepdim=True)
        return middle + factor * (scene.tracked - middle)

    return apply_plan(motion, plan, range(motion.grid.frames), f"amplify {factor:g}")


def change_speed(motion: MotionEmbedding, factor: float) -> MotionEmbedding:
    """The motion `factor` times as fast, in as many frames: faster ends early and holds, slower shows its beginning.

    Raises:
        ValueError: the factor is not above 0.
    """
    if not is_number(factor) or factor == 0:
        raise ValueError(f"amount: expected a finite number above 0, got {factor!r}; to hold a frame, freeze it.")
    times = [min(factor * frame, motion.grid.frames - 1.0) for frame in range(motion.grid.frames)]
    return retimed(motion, times, f"speed {factor:g}")


def freeze(motion: MotionEmbedding, first: int, last: int) -> MotionEmbedding:
    """Hold latent frame `first` up to frame `last`, then go on from there; what no longer fits at the end is left out.

    Raises:
        ValueError: the frames are not in the motion, or not in order.
    """
    frames = motion.grid.frames
    if not 0 <= first <= last < frames:
        raise ValueError(
            f"freeze: expected frames of the latent in order, from 0 to {frames - 1}, got {first} to {last}; set "
            "freeze_from and freeze_to inside the clip."
        )
    times = [time if time < first else max(first, time - (last - first)) for time in range(frames)]
    return retimed(motion, times, f"freeze {first} {last}")


def without_camera(motion: MotionEmbedding) -> MotionEmbedding:
    """The motion under a camera that stands still: the common displacement of each pair of frames is taken out."""
    still = with_camera(motion, torch.zeros(motion.grid.frames, 2))
    moving = torch.tensor([i != j for i, j in still.flows[0].pairs])

    def centred(field: Tensor) -> Tensor:
        common = rearrange(field, "p h w xy -> p (h w) xy").median(1).values
        return field - rearrange(common * moving[:, None], "p xy -> p 1 1 xy")

    return replace(_with_vectors(still, vectors=centred), reference_hash=edited_hash(still, "still"))


def only_camera(motion: MotionEmbedding) -> MotionEmbedding:
    """The camera's motion alone: everything keeps its mean position in the scene, and the camera moves over it."""

    def plan(scene: Scene) -> Tensor:
        path = rearrange(scene.camera, "t xy -> t 1 1 xy")
        return (scene.tracked - path).mean(1, keepdim=True) + path

    return apply_plan(motion, plan, range(motion.grid.frames), "camera only")


def with_camera(motion: MotionEmbedding, path: Tensor) -> MotionEmbedding:
    """The motion with its own camera's path replaced by `path` (F, 2), tokens since frame 0.

    Raises:
        ValueError: the path has another number of frames.
    """
    if tuple(path.shape) != (motion.grid.frames, 2):
        raise ValueError(f"camera: expected a path of {motion.grid.frames} frames, got shape {tuple(path.shape)}.")

    def plan(scene: Scene) -> Tensor:
        return scene.tracked + rearrange(path * scene.per_token - scene.camera, "t xy -> t 1 1 xy")

    return apply_plan(motion, plan, range(motion.grid.frames), "camera")


def _with_vectors(
    motion: MotionEmbedding,
    vectors: Callable[[Tensor], Tensor],
    offsets: Callable[[Tensor], Tensor] = lambda field: field,
) -> MotionEmbedding:
    """The motion with its vectors changed beyond the static bias, in both directions of time; frames stay as they are.

    Args:
        motion: any.
        vectors: of a field (P, H, W, 2) what it becomes.
        offsets: the same for the window centres' offsets from their tiles, (P, rows of tiles, columns of tiles, 2).
    """
    own, rows = own_centres(motion), Tiling(motion.grid.height, motion.grid.width, motion.config.tile).rows

    def beyond_bias(field: Tensor, number: int) -> Tensor:
        bias = static_bias_of(motion, number)
        return bias + vectors(field - bias)

    flows = [
        replace(
            flow,
            displacement=beyond_bias(flow.displacement, number),
            centres=own
            + rearrange(
                offsets(rearrange(flow.centres - own, "p (r c) xy -> p r c xy", r=rows)), "p r c xy -> p (r c) xy"
            ),
        )
        for number, flow in enumerate(motion.flows)
    ]
    backward = (bounded(beyond_bias(field, number), motion.grid) for number, field in enumerate(motion.backward))
    return replace(motion, flows=bounded_flows(flows, motion.grid), backward=tuple(backward), **WITHOUT_HALF_SIZE)


@dataclass(frozen=True)
class EditSettings:
    """What an edit of the table is given; each takes what it needs."""

    amount: float = 1.0
    """Factor of amplify and speed."""
    first: int = 0
    """Latent frame from which freeze holds, or trim keeps."""
    last: int = 0
    """Latent frame until which it does."""


EDITS: Mapping[str, Callable[[MotionEmbedding, EditSettings], MotionEmbedding]] = {
    "amplify": lambda motion, settings: amplify(motion, settings.amount),
    "mirror left and right": lambda motion, settings: mirror(motion, "horizontal"),
    "mirror up and down": lambda motion, settings: mirror(motion, "vertical"),
    "reverse": lambda motion, settings: reverse(motion),
    "speed": lambda motion, settings: change_speed(motion, settings.amount),
    "freeze": lambda motion, settings: freeze(motion, settings.first, settings.last),
    "remove camera": lambda motion, settings: without_camera(motion),
    "only camera": lambda motion, settings: only_camera(motion),
    "trim": lambda motion, settings: part_of(motion, settings.first, settings.last - settings.first + 1),
}
"""Every edit by the name that users choose it by. Saved workflows hold these names: append, never rename."""
