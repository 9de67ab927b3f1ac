"""Apply a plan to a motion: everything in it is moved to where the plan puts it, its mask and its latent too.

Axes: P pairs of latent frames, F frames of the motion, F' frames after the edit, H and W rows and columns of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..attention.flow import AttentionMotionFlow
from ..attention.windows import Pair, frame_pairs, token_positions
from ..grid import TokenGrid
from ..video.cuts import carried_cuts
from .bounds import bounded, bounded_flows, bounded_positions
from .embedding import MotionEmbedding
from .fields import (
    TRAJECTORY,
    beyond_static_bias,
    edited_hash,
    frame_flow_of,
    on_tokens,
    own_centres,
    shot_by_shot,
    static_bias_of,
)
from .half_size import WITHOUT_HALF_SIZE
from .trajectories import camera_path, latent_steps, trajectories, with_surroundings
from .transport import Course, carry_latent, carry_scalar, carry_vectors, edited_steps, shown_share


@dataclass(frozen=True, eq=False)
class Scene:
    """What a plan moves: the content of a clip, on its tokens or on its latent's pixels."""

    tracked: Tensor
    """(F, F, H, W, 2): trajectories of everything."""
    camera: Tensor
    """(F, 2): the camera's path since frame 0."""
    per_token: Tensor
    """(2,): units of these in a token, along x and y."""


Plan = Callable[[Scene], Tensor]
"""Where an edit puts everything: (F, F', H, W, 2), [i, a] for tokens of frame i in frame a of the edited motion."""


def apply_plan(motion: MotionEmbedding, plan: Plan, source_frames: Sequence[int], edit_label: str) -> MotionEmbedding:
    """The motion with everything where `plan` puts it.

    Args:
        motion: any.
        plan: called for the tokens, and for the latent's pixels if the motion keeps its latent.
        source_frames: F' of them, the frame of the motion that each edited frame shows.
        edit_label: what is done, for the reference's hash.

    Raises:
        ValueError: its objective compares more than its flow.
    """
    motion.require_flow_alone()
    steps = frame_flow_of(motion)
    alone = trajectories(steps)
    tracked = with_surroundings(alone, TRAJECTORY)
    edited_tracks = plan(Scene(tracked, camera_path(steps), torch.ones(2)))
    course = Course.of(alone, tracked, edited_tracks, source_frames, TRAJECTORY.moving)
    grid = TokenGrid(len(source_frames), motion.grid.height, motion.grid.width)
    old, new = motion.flows[0].pairs, frame_pairs(grid.frames, motion.config.temporal_span)
    own = token_positions(grid.height, grid.width)
    sources = [old.index(course.source(pair)) for pair in new]

    def carried(displacement: Tensor, number: int, of_direction: Course) -> Tensor:
        bias = static_bias_of(motion, number)
        gain = shown_share(beyond_static_bias(motion, number), old, alone, TRAJECTORY.moving)
        field = carry_vectors(displacement - bias, old, new, of_direction, gain) + bias[sources]
        return bounded_positions(own + field, grid) - own

    flows = [
        replace(
            flow,
            pairs=new,
            displacement=carried(flow.displacement, number, course),
            centres=_carried_centres(motion, flow, course, new),
        )
        for number, flow in enumerate(motion.flows)
    ]
    return replace(
        motion,
        flows=bounded_flows(flows, grid),
        **WITHOUT_HALF_SIZE,
        grid=grid,
        static_bias=tuple(bias[sources] for bias in motion.static_bias),
        backward=tuple(carried(field, number, course.reversed) for number, field in enumerate(motion.backward)),
        reference=_planned_latent(motion, plan, source_frames),
        reference_hash=edited_hash(motion, edit_label),
        frame_flow=bounded(edited_steps(course), grid),
        mask=None if motion.mask is None else carry_scalar(motion.mask, course).clamp(0, 1),
        cuts=carried_cuts(motion.cuts, source_frames),
    )


def _planned_latent(motion: MotionEmbedding, plan: Plan, source_frames: Sequence[int]) -> Tensor | None:
    """The reference's latent with everything where `plan` puts it, to be read again; None if it was not kept."""
    latent = motion.reference
    if latent is None:
        return None
    pixels = TokenGrid(*latent.shape[2:])
    per_token = torch.tensor((pixels.width / motion.grid.width, pixels.height / motion.grid.height))
    ratio = float(per_token.max())
    # On a grid whose tokens are latent pixels, lengths in tokens are so many times as large.
    config = replace(TRAJECTORY, reach=TRAJECTORY.reach * ratio, moving=TRAJECTORY.moving * ratio)
    steps = shot_by_shot(latent_steps(latent, pixels, config), motion.cuts)
    tracked = trajectories(steps)
    edited_tracks = plan(Scene(tracked, camera_path(steps), per_token))
    course = Course.of(tracked, tracked, edited_tracks, source_frames, config.moving)
    return carry_latent(latent, course).to(latent.dtype)


def _carried_centres(
    motion: MotionEmbedding, flow: AttentionMotionFlow, course: Course, pairs: Sequence[Pair]
) -> Tensor:
    """(P', tiles, 2): window centres go with the objects that they are set for."""
    own = own_centres(motion)
    offset = flow.centres - own
    if not bool(offset.any()):
        return own.expand(len(pairs), -1, -1).clone()
    field = carry_vectors(on_tokens(offset, motion), flow.pairs, pairs, course, gain=1.0)
    at_own = own.long()
    return own + field[:, at_own[:, 1], at_own[:, 0]]
