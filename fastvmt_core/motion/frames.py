"""The motion of chosen frames of a clip, in any order: those of a context window.

Axes: P pairs of latent frames, F latent frames, H and W rows and columns of tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from ..attention.windows import frame_pairs
from ..grid import TokenGrid
from .edit import reverse
from .embedding import MotionEmbedding
from .fields import own_centres
from .half_size import WITHOUT_HALF_SIZE
from .retime import retimed
from .trim import part_of


def motion_of_frames(motion: MotionEmbedding, frames: Sequence[int]) -> MotionEmbedding:
    """The motion of these latent frames, in this order: that of a context window.

    Frames that follow each other have the flow that was read; backwards, that of the reference played backwards. Frames
    that lie apart are retimed: their vectors are carried along the trajectories between them. Where the distance
    from one frame to the next changes, as where a loop begins again, nothing is compared: a cut is set.

    Raises:
        ValueError: the motion has no such frames, or its objective compares more than its flow.
    """
    pieces = [_evenly_spaced(motion, run) for run in _runs(frames)]
    chosen = list(frames)
    return replace(
        pieces[0] if len(pieces) == 1 else _one_after_the_other(pieces),
        reference=None if motion.reference is None else motion.reference[:, :, chosen],
        mask=None if motion.mask is None else motion.mask[chosen],
    )


def spacing(frames: Sequence[int]) -> int:
    """The distance from one of the frames to the next that occurs most often; 1 of a single frame."""
    distances = Counter(later - earlier for earlier, later in pairwise(frames))
    return distances.most_common(1)[0][0] if distances else 1


def _runs(frames: Sequence[int]) -> list[list[int]]:
    """The frames, parted where their distance is not the usual one."""
    usual, runs = spacing(frames), [[frames[0]]]
    for earlier, later in pairwise(frames):
        if later - earlier == usual:
            runs[-1].append(later)
        else:
            runs.append([later])
    return runs


def _evenly_spaced(motion: MotionEmbedding, run: Sequence[int]) -> MotionEmbedding:
    step = run[1] - run[0] if len(run) > 1 else 1
    part = part_of(motion, min(run), max(run) - min(run) + 1)
    if step < 0:
        part = reverse(part)
    if abs(step) > 1:
        part = retimed(replace(part, reference=None), range(0, part.grid.frames, abs(step)), f"every {abs(step)}")
    return part


def _one_after_the_other(pieces: Sequence[MotionEmbedding]) -> MotionEmbedding:
    """Motions of one size, with a cut before each but the first."""
    lengths = [piece.grid.frames for piece in pieces]
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    first, grid = pieces[0], replace(pieces[0].grid, frames=sum(lengths))
    pairs = frame_pairs(grid.frames, first.config.temporal_span)
    number_of = {pair: number for number, pair in enumerate(pairs)}

    def placed(fields: Sequence[Tensor], elsewhere: Tensor) -> Tensor:
        """(P, ...): the pieces' fields at their pairs, `elsewhere` at those of frames of two pieces."""
        whole = elsewhere.expand(len(pairs), *fields[0].shape[1:]).clone()
        for start, piece, field in zip(starts, pieces, fields, strict=True):
            whole[[number_of[i + start, j + start] for i, j in piece.flows[0].pairs]] = field.to(whole)
        return whole

    own = own_centres(first)
    flows = tuple(
        replace(
            flow,
            pairs=pairs,
            displacement=placed([piece.flows[level].displacement for piece in pieces], torch.zeros(())),
            centres=placed([piece.flows[level].centres for piece in pieces], own),
        )
        for level, flow in enumerate(first.flows)
    )
    cuts = {start + cut for start, piece in zip(starts, pieces, strict=True) for cut in (0, *piece.cuts)}
    return replace(
        first,
        flows=flows,
        grid=grid,
        **WITHOUT_HALF_SIZE,
        static_bias=(),
        backward=(),
        frame_flow=_joined_steps(pieces, grid),
        reference=None,
        mask=None,
        cuts=tuple(sorted(cuts - {0})),
    )


def _joined_steps(pieces: Sequence[MotionEmbedding], grid: TokenGrid) -> Tensor | None:
    """(2, F - 1, H, W, 2): the pieces' frame flows, 0 between them; None where one has none."""
    if any(piece.frame_flow is None for piece in pieces):
        return None
    between = torch.zeros(2, 1, grid.height, grid.width, 2)
    steps = [part for piece in pieces for part in (between, piece.frame_flow)]
    return torch.cat(steps[1:], dim=1)
