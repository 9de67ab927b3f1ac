"""Edits of a motion, each a function from one motion to another; the clip is not needed again.

What the model's attention says where nothing moves (`MotionEmbedding.static_bias`) stays in its place; what the flow has
beyond that is carried to where the edit puts the things of the reference (`rearrange.py`), whose ways `tracks.py`
finds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from ..attention.flow import AttentionMotionFlow
from ..attention.windows import Tiling, frame_pairs
from ..grid import TokenGrid
from ..video.cuts import carried_cuts
from .embedding import MotionEmbedding
from .fields import (
    WAY,
    beyond_static_bias,
    bounded,
    frame_flow_of,
    marked,
    opposite_pairs,
    own_centres,
    require_number,
    reversed_centres,
    shot_by_shot,
    tokens_of_tiles,
    ways,
    within,
)
from .trajectories import camera_path, extent, latent_steps, places, tracks, with_surroundings
from .transport import Course, carry, carry_latent, moved_steps, shown_share, splat

Axis = Literal["horizontal", "vertical"]


def mirror(motion: MotionEmbedding, axis: Axis = "horizontal") -> MotionEmbedding:
    """The motion of the mirrored reference: left and right (or up and down) exchanged. Twice is the identity."""
    side, sign = (2, (-1.0, 1.0)) if axis == "horizontal" else (1, (1.0, -1.0))

    def flip(field: Tensor) -> Tensor:
        return field.flip(side) * torch.tensor(sign)

    return _each_flow(
        motion,
        reference=None if motion.reference is None else motion.reference.flip(side + 2),
        vectors=lambda field, _: flip(field),
        offsets=flip,
        confidence=lambda field: field.flip(side),
        frame_flow=torch.stack([flip(steps) for steps in frame_flow_of(motion)]),
        mask=None if motion.mask is None else motion.mask.flip(side),
        thumbnail=None if motion.thumbnail is None else motion.thumbnail.flip(side - 1),
        cuts=motion.cuts,
        said=f"mirror {axis}",
    )


def reverse(motion: MotionEmbedding) -> MotionEmbedding:
    """The motion of the reference played backwards. Twice is the identity.

    A motion that holds both directions of time changes one for the other; one that does not gets its vectors turned
    round and put down where they pointed to.
    """
    steps = frame_flow_of(motion)
    frames = motion.grid.frames
    tiling = Tiling(motion.grid.height, motion.grid.width, motion.config.tile)
    backward = motion.backward or tuple(_turned_round(motion, number) for number in range(len(motion.flows)))
    flows = tuple(
        replace(
            flow,
            displacement=there,
            centres=reversed_centres(flow, tiling),
            confidence=None if flow.confidence is None else flow.confidence[opposite_pairs(flow)],
        )
        for flow, there in zip(motion.flows, backward, strict=True)
    )
    return replace(
        motion,
        flows=within(flows, motion.grid),
        backward=tuple(flow.displacement for flow in motion.flows),
        reference=None if motion.reference is None else motion.reference.flip(2),
        reference_hash=marked(motion, "reverse"),
        frame_flow=steps.flip(0, 1),
        mask=None if motion.mask is None else motion.mask.flip(0),
        cuts=tuple(sorted(frames - cut for cut in motion.cuts)),
    )


def amplify(motion: MotionEmbedding, factor: float) -> MotionEmbedding:
    """Everything moves `factor` times as far about the middle of its own way; below 1 damps, 0 stands still.

    Raises:
        ValueError: the factor is negative or not finite.
    """
    require_number("factor", factor, 0.0)

    def plan(seen: _Seen) -> Tensor:
        middle = seen.now.mean(1, keepdim=True)
        return middle + factor * (seen.now - middle)

    return _rearranged(motion, plan, range(motion.grid.frames), f"amplify {factor:g}")


def change_speed(motion: MotionEmbedding, factor: float) -> MotionEmbedding:
    """The motion `factor` times as fast, in as many frames: faster ends early and holds, slower shows its beginning.

    Raises:
        ValueError: the factor is not above 0.
    """
    require_number("factor", factor, 0.0)
    if factor == 0:
        raise ValueError("speed: expected a number above 0, got 0; to hold a frame, freeze it.")
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
    """The motion as a camera at rest sees it: the common movement of each pair of frames is taken out."""
    edited = with_camera(motion, torch.zeros(motion.grid.frames, 2))

    def centred(field: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
        common = rearrange(field, "p h w xy -> p (h w) xy").median(1).values
        moving = torch.tensor([i != j for i, j in pairs])
        return field - rearrange(common * moving[:, None], "p xy -> p 1 1 xy")

    return _each_flow(
        edited,
        reference=edited.reference,
        vectors=lambda field, _: centred(field, edited.flows[0].pairs),
        offsets=lambda field: field,
        confidence=lambda field: field,
        frame_flow=edited.frame_flow,
        mask=edited.mask,
        thumbnail=edited.thumbnail,
        cuts=edited.cuts,
        said="still",
    )


def only_camera(motion: MotionEmbedding) -> MotionEmbedding:
    """The camera's movement alone: everything keeps its mean place in the scene, and the camera moves over it."""

    def plan(seen: _Seen) -> Tensor:
        path = rearrange(seen.camera, "t xy -> t 1 1 xy")
        return (seen.now - path).mean(1, keepdim=True) + path

    return _rearranged(motion, plan, range(motion.grid.frames), "camera only")


def with_camera(motion: MotionEmbedding, path: Tensor) -> MotionEmbedding:
    """The motion with its own camera's way replaced by `path` (F, 2), tokens since frame 0.

    Raises:
        ValueError: the path has another number of frames.
    """
    if tuple(path.shape) != (motion.grid.frames, 2):
        raise ValueError(f"camera: expected a way of {motion.grid.frames} frames, got shape {tuple(path.shape)}.")

    def plan(seen: _Seen) -> Tensor:
        return seen.now + rearrange(path * seen.per_token - seen.camera, "t xy -> t 1 1 xy")

    return _rearranged(motion, plan, range(motion.grid.frames), "camera")


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a clip shows, on its tokens or on its latent's pixels."""

    now: Tensor
    """(F, F, H, W, 2): tracks of everything."""
    camera: Tensor
    """(F, 2): the camera's way since frame 0."""
    per_token: Tensor
    """(2,): units of these in a token."""


_Plan = Callable[[_Seen], Tensor]
"""Where an edit puts everything: (F, F', H, W, 2)."""


def _rearranged(motion: MotionEmbedding, plan: _Plan, sources: Sequence[int], said: str) -> MotionEmbedding:
    """The motion with everything where `plan` puts it, its latent too."""
    steps = frame_flow_of(motion)
    alone = tracks(steps)
    now = with_surroundings(alone, WAY)
    then = plan(_Seen(now, camera_path(steps), torch.ones(2)))
    course = Course(now, then, tuple(sources), (extent(alone) / WAY.moving).clamp(max=1))
    grid = TokenGrid(len(course.sources), motion.grid.height, motion.grid.width)
    old, new = motion.flows[0].pairs, frame_pairs(grid.frames, motion.config.temporal_span)
    target = replace(motion.flows[0], pairs=new)
    own = places(grid.height, grid.width)
    last = torch.tensor((grid.width - 1, grid.height - 1), dtype=torch.float32)
    start = [old.index(course.source(pair)) for pair in new]
    static_bias = tuple(held[start] for held in motion.static_bias)
    flows, backward = [], []
    for number, flow in enumerate(motion.flows):
        vectors = beyond_static_bias(motion, number)
        gain = shown_share(vectors, old, alone, WAY)
        sides = [(vectors, course)]
        if motion.backward:
            back = motion.backward[number] - (motion.static_bias[number] if motion.static_bias else 0)
            sides.append((back, course.reversed))
        found = []
        for held, way in sides:
            field = carry(held, old, new, way, gain, WAY) + (static_bias[number] if static_bias else 0)
            found.append(torch.minimum((own + field).clamp(min=0), last) - own)
        backward += found[1:]
        confidence = flow.confidence
        if confidence is not None:
            padded = torch.cat((torch.zeros(*confidence.shape, 2), confidence[..., None]), -1)
            confidence = carry(padded, old, new, course, 0.0, WAY)[..., 2].clamp(0, 1)
        flows.append(
            replace(
                target,
                displacement=found[0],
                centres=_carried_centres(motion, flow, course, new),
                confidence=confidence,
            )
        )
    mask = motion.mask
    if mask is not None:
        at = [(frame, frame) for frame in range(motion.grid.frames)]
        then_at = [(frame, frame) for frame in range(grid.frames)]
        mask = carry(mask[..., None], at, then_at, course, 0.0, WAY)[..., 0].clamp(0, 1)
    return replace(
        motion,
        flows=within(flows, grid),
        grid=grid,
        static_bias=static_bias,
        backward=tuple(backward),
        reference=_rearranged_latent(motion, plan, course.sources),
        reference_hash=marked(motion, said),
        frame_flow=bounded(moved_steps(course, WAY), grid),
        mask=mask,
        cuts=carried_cuts(motion.cuts, course.sources),
    )


def _rearranged_latent(motion: MotionEmbedding, plan: _Plan, sources: tuple[int, ...]) -> Tensor | None:
    """The reference's latent with everything where `plan` puts it, to be read again; None where it was not kept."""
    latent = motion.reference
    if latent is None:
        return None
    grid = TokenGrid(*latent.shape[2:])
    per_token = torch.tensor((grid.width / motion.grid.width, grid.height / motion.grid.height))
    ratio = float(per_token.max())
    config = replace(WAY, reach=WAY.reach * ratio, moving=WAY.moving * ratio)
    steps = shot_by_shot(latent_steps(latent, grid, config), motion.cuts)
    now = tracks(steps)
    then = plan(_Seen(now, camera_path(steps), per_token))
    course = Course(now, then, sources, (extent(now) / config.moving).clamp(max=1))
    return carry_latent(latent, course).to(latent.dtype)


def retimed(motion: MotionEmbedding, times: Sequence[float], said: str) -> MotionEmbedding:
    """The motion whose frame a is frame `times[a]` of this one, which may lie between two."""

    def plan(seen: _Seen) -> Tensor:
        at = [(math.floor(time), math.ceil(time), time - math.floor(time)) for time in times]
        return torch.stack([torch.lerp(seen.now[:, low], seen.now[:, high], part) for low, high, part in at], 1)

    return _rearranged(motion, plan, nearest_frames(times), said)


def nearest_frames(times: Sequence[float]) -> list[int]:
    """The whole frame next to each time; half-way the later one."""
    return [math.floor(time + 0.5) for time in times]


def _each_flow(
    motion: MotionEmbedding,
    reference: Tensor | None,
    vectors: Callable[[Tensor, int], Tensor],
    offsets: Callable[[Tensor], Tensor],
    confidence: Callable[[Tensor], Tensor],
    frame_flow: Tensor | None,
    mask: Tensor | None,
    thumbnail: Tensor | None,
    cuts: tuple[int, ...],
    said: str,
) -> MotionEmbedding:
    """Change what every flow says beyond its static_bias, in both directions of time; frames stay where they are."""
    own = own_centres(motion.grid, motion)
    shape = Tiling(motion.grid.height, motion.grid.width, motion.config.tile)
    flows, backward = [], []
    for number, flow in enumerate(motion.flows):
        static_bias = motion.static_bias[number] if motion.static_bias else torch.zeros_like(flow.displacement)
        tiles = rearrange(flow.centres - own, "p (r c) xy -> p r c xy", r=shape.rows)
        flows.append(
            replace(
                flow,
                displacement=static_bias + vectors(flow.displacement - static_bias, number),
                centres=own + rearrange(offsets(tiles), "p r c xy -> p (r c) xy"),
                confidence=None if flow.confidence is None else confidence(flow.confidence),
            )
        )
        if motion.backward:
            backward.append(bounded(static_bias + vectors(motion.backward[number] - static_bias, number), motion.grid))
    return replace(
        motion,
        flows=within(flows, motion.grid),
        backward=tuple(backward),
        reference=reference,
        reference_hash=marked(motion, said),
        frame_flow=frame_flow,
        mask=mask,
        thumbnail=thumbnail,
        cuts=cuts,
    )


def _carried_centres(
    motion: MotionEmbedding, flow: AttentionMotionFlow, course: Course, new: Sequence[tuple[int, int]]
) -> Tensor:
    """(P', tiles, 2): window centres go where the things go."""
    own = own_centres(motion.grid, motion)
    offset = flow.centres - own
    if not bool(offset.any()):
        return own.expand(len(new), -1, -1).clone()
    field = carry(tokens_of_tiles(motion)(offset), flow.pairs, new, course, 1.0, WAY)
    place = own.long()
    return own + field[:, place[:, 1], place[:, 0]]


def _turned_round(motion: MotionEmbedding, number: int) -> Tensor:
    """(P, H, W, 2): displacements of the reversed clip, from the forward ones alone."""
    found = ways(motion)
    vectors, pairs = beyond_static_bias(motion, number), motion.flows[number].pairs
    last, height, width = motion.grid.frames - 1, motion.grid.height, motion.grid.width
    index = {pair: position for position, pair in enumerate(pairs)}
    turned = []
    for a, b in pairs:
        early, late = last - b, last - a
        field = vectors[index[early, late]]
        if a != b:
            cover, _, summed = splat(-field, found[early, late], torch.ones(height, width))
            common = rearrange(-field, "h w xy -> (h w) xy").median(0).values
            field = torch.where(cover > 0.25, summed / cover.clamp(min=0.25), common)
        turned.append(field)
    turned = torch.stack(turned)
    return turned + motion.static_bias[number] if motion.static_bias else turned
