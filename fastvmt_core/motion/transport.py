"""Carry a motion's vectors to where an edit puts the objects that they belong to.

A vector belongs to a token that shows an object: an edit moves the objects, and their vectors with them. The static
bias, what attention shows of a clip without motion, belongs to the position instead; it stays, and only what the flow
has beyond it is carried.

Indices: i, j are frames of the motion, a, b frames after the edit; tensors are indexed [i, t] or [i, a] by the frame
that a token belongs to and the frame that its position is in.

One worked pair, at twice the speed: edited frame a shows frame 2a, so `source_frames` = (0, 2, 4, ...). The edited pair
(a, b) = (1, 2) takes its vectors from the pair (i, j) = (2, 3): it starts at source_frames[1] = 2 and is as far apart.
A token of frame 2 at (6, 4) that moves by one token per frame is at tracked[2, 3] = (7, 4) in frame 3, so it went
(1, 0). After the edit it is at edited_tracks[2, 1] = (6, 4) in frame 1 and at edited_tracks[2, 2] = (8, 4) in frame 2,
so it goes (2, 0). Its vector gains (2, 0) - (1, 0) = (1, 0) and is put down at (6, 4) in the edited pair's field.

Axes: P pairs, F frames of the motion, F' frames after the edit, H and W rows and columns of tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ..attention.windows import Pair, token_positions
from .trajectories import extent

_BESIDE, _STILL = 0.1, 0.005
"""Weights of what is beside a moving object and of what stands still, if one lands on the other; the object's is 1."""
_LEAST = 1e-4
"""Weight below which nothing is known of a token."""


@dataclass(frozen=True, eq=False)
class Course:
    """Where everything is before and after an edit."""

    tracked: Tensor
    """(F, F, H, W, 2) tokens: [i, t] is the position in frame t of token p of frame i."""
    edited_tracks: Tensor
    """(F, F', H, W, 2) tokens: [i, a] is its position in frame a of the edited motion."""
    source_frames: tuple[int, ...]
    """(F',): the frame i of the motion that each edited frame a shows."""
    mover: Tensor
    """(F, H, W) in [0, 1]: 1 for tokens of moving objects, whose vectors change; 0 for those that are only carried."""
    carried: Tensor
    """(F, H, W) in [0, 1]: 1 for tokens that an object takes along, itself included; 0 for those that stand still."""

    @classmethod
    def of(
        cls, alone: Tensor, tracked: Tensor, edited_tracks: Tensor, source_frames: Sequence[int], moving: float
    ) -> Course:
        """The course of an edit.

        Args:
            alone: (F, F, H, W, 2), trajectories.
            tracked: the same with what their objects take along (`trajectories.with_surroundings`), or the same.
            edited_tracks: where the edit puts `tracked`.
            source_frames: the frame that each edited frame shows.
            moving: tokens, how far a trajectory of a moving object extends.
        """
        mover, carried = ((extent(positions) / moving).clamp(max=1) for positions in (alone, tracked))
        return cls(tracked, edited_tracks, tuple(source_frames), mover, carried)

    @property
    def reversed(self) -> Course:
        """The same edit of the reversed clip."""
        last = len(self.tracked) - 1
        return Course(
            tracked=self.tracked.flip(0, 1),
            edited_tracks=self.edited_tracks.flip(0, 1),
            source_frames=tuple(last - frame for frame in self.source_frames[::-1]),
            mover=self.mover.flip(0),
            carried=self.carried.flip(0),
        )

    def source(self, pair: Pair) -> Pair:
        """The pair (i, j) that an edited pair (a, b) takes its vectors from: as far apart, if there are such frames."""
        last = len(self.tracked) - 1
        apart = min(pair[1] - pair[0], last)
        start = min(self.source_frames[pair[0]], last - apart)
        return start, start + apart


def carry_vectors(
    vectors: Tensor, pairs: Sequence[Pair], edited_pairs: Sequence[Pair], course: Course, gain: float
) -> Tensor:
    """(P', H, W, 2): the vectors of a motion's pairs after an edit.

    Args:
        vectors: (P, H, W, 2), tokens (dx, dy).
        pairs: the motion's P pairs.
        edited_pairs: the edited motion's P' pairs.
        course: where everything is before and after.
        gain: how much of an object's displacement its vectors show, 0 .. 1.
    """
    index = {pair: number for number, pair in enumerate(pairs)}
    background = _background(vectors, pairs, course.carried)
    edited = []
    for a, b in edited_pairs:
        i, j = course.source((a, b))
        field = vectors[index[i, j]].float().clone()
        if a != b:
            goes = course.edited_tracks[i, b] - course.edited_tracks[i, a]
            went = course.tracked[i, j] - token_positions(*field.shape[:2])
            field += gain * course.mover[i][..., None] * (goes - went)
        edited.append(_put_down(field, *_landing(course, (i, j), (a, b)), background[j - i]))
    return torch.stack(edited)


def carry_scalar(values: Tensor, course: Course) -> Tensor:
    """(F', H, W): numbers at a motion's tokens after an edit; they move and keep their values.

    Args:
        values: (F, H, W).
        course: where everything is before and after.
    """
    fields = values[..., None]
    background = _background(fields, [(frame, frame) for frame in range(len(values))], course.carried)[0]
    edited = []
    for frame in range(len(course.source_frames)):
        i, j = course.source((frame, frame))
        edited.append(_put_down(fields[i].float(), *_landing(course, (i, j), (frame, frame)), background)[..., 0])
    return torch.stack(edited)


def _landing(course: Course, source: Pair, edited: Pair) -> tuple[Tensor, Tensor]:
    """Where a pair's tokens land, (H, W, 2), and which of them hides which, (H, W).

    An object's own tokens go with it, and so do those around it. Those around its position in the other frame go where
    that goes, because attention from there is drawn to the object, or away from it.
    """
    (i, j), (a, b) = source, edited
    mover, beside, ahead = (field[..., None] for field in (course.mover[i], course.carried[i], course.carried[j]))
    with_either = torch.lerp(
        course.edited_tracks[i, a], course.edited_tracks[j, b], ahead / (beside + ahead).clamp(min=_LEAST)
    )
    around = torch.maximum(beside, ahead)[..., 0]
    weight = torch.maximum(course.mover[i], _BESIDE * around).clamp(min=_STILL)
    return torch.lerp(with_either, course.edited_tracks[i, a], mover), weight


def carry_latent(latent: Tensor, course: Course) -> Tensor:
    """(1, C, F', h, w): a reference's latent after an edit, a clip that the model can read again.

    What an edit uncovers shows what other frames show at that position while nothing moves.

    Args:
        latent: (1, C, F, h, w).
        course: where everything is before and after, in the latent's pixels.
    """
    frames = rearrange(latent.float(), "1 c f h w -> f h w c")
    still = (1 - course.mover)[..., None].clamp(min=_STILL)
    plate = (frames * still).sum(0) / still.sum(0)
    edited = []
    for frame, source in enumerate(course.source_frames):
        weight = course.mover[source].clamp(min=_STILL)
        cover, total, summed = splat(frames[source], course.edited_tracks[source, frame], weight)
        landed = summed / total.clamp(min=_LEAST)
        # An object that is thinned out by rounding still hides what is behind it.
        share = torch.where(total > _LEAST, (2 * cover).clamp(max=1), 0)
        edited.append(torch.lerp(plate, landed, share))
    return rearrange(torch.stack(edited), "f h w c -> 1 c f h w").contiguous()


def edited_steps(course: Course) -> Tensor:
    """(2, F' - 1, H, W, 2): the frame flow of the edited motion, for the edit after this one."""
    frames = len(course.source_frames)
    own = token_positions(*course.tracked.shape[2:4])
    if frames < 2:
        return torch.zeros(2, 0, *own.shape)
    forward = [(frame, frame + 1) for frame in range(frames - 1)]
    backward = [(b, a) for a, b in forward]
    unknown = torch.full_like(own, torch.nan)
    return torch.stack([torch.stack([_step(course, *pair, unknown) for pair in side]) for side in (forward, backward)])


def _step(course: Course, a: int, b: int, unknown: Tensor) -> Tensor:
    """(H, W, 2): the step from edited frame a to edited frame b."""
    i = course.source_frames[a]
    step = course.mover[i][..., None] * (course.edited_tracks[i, b] - course.edited_tracks[i, a])
    return _put_down(step, course.edited_tracks[i, a], course.mover[i].clamp(min=_STILL), unknown)


def shown_share(vectors: Tensor, pairs: Sequence[Pair], tracked: Tensor, moving: float) -> float:
    """How much of an object's displacement its vectors show, 0 .. 1: the slope of one on the other at moving tokens.

    Args:
        vectors: (P, H, W, 2), tokens, beyond the static bias.
        pairs: its P pairs.
        tracked: (F, F, H, W, 2), trajectories, without surroundings.
        moving: tokens, how far a trajectory of a moving object extends.
    """
    along, length = 0.0, 0.0
    own = token_positions(*vectors.shape[1:3])
    movers = extent(tracked) > moving
    for field, (i, j) in zip(vectors, pairs, strict=True):
        if i != j and bool(movers[i].any()):
            went = (tracked[i, j] - own)[movers[i]]
            along += float((field[movers[i]].float() * went).sum())
            length += float(went.square().sum())
    return min(1.0, max(0.0, along / length)) if length > _LEAST else 1.0


def _background(fields: Tensor, pairs: Sequence[Pair], carried: Tensor) -> dict[int, Tensor]:
    """For each frame distance, (H, W, C): the mean field of what stands still; NaN at tokens that always move.

    Args:
        fields: (P, H, W, C).
        pairs: its P pairs.
        carried: (F, H, W) in [0, 1], as a course has it.
    """
    means = {}
    for apart in sorted({j - i for i, j in pairs}):
        chosen = [number for number, (i, j) in enumerate(pairs) if j - i == apart]
        still = 1 - torch.stack([torch.maximum(carried[pairs[n][0]], carried[pairs[n][1]]) for n in chosen])[..., None]
        total = still.sum(0)
        mean = (fields[chosen].float() * still).sum(0) / total.clamp(min=_LEAST)
        means[apart] = torch.where(total > _LEAST, mean, torch.nan)
    return means


def _put_down(field: Tensor, landing: Tensor, weight: Tensor, background: Tensor) -> Tensor:
    """(H, W, C): `field` put down at `landing` (H, W, 2), bilinear; what that uncovers shows the background.

    What moves hides what stands still. A background that is unknown (NaN) is the field's median.
    """
    cover, total, summed = splat(field, landing, weight)
    landed = summed / total.clamp(min=_LEAST)
    if bool(background.isnan().any()):
        common = rearrange(field, "h w c -> (h w) c").median(0).values
        background = torch.where(background.isnan(), common, background)
    share = torch.where(total > _LEAST, cover.clamp(max=1), 0)
    return landed * share + background * (1 - share)


def splat(field: Tensor, landing: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Put each token down on the four tokens around `landing`: (cover (H, W, 1), weights (H, W, 1), sum (H, W, C)).

    Args:
        field: (H, W, C).
        landing: (H, W, 2) tokens (x, y); what lies outside the frame is dropped.
        weight: (H, W).
    """
    height, width, channels = field.shape
    low = landing.floor()
    part = landing - low
    cover, total, summed = (torch.zeros(height * width, size) for size in (1, 1, channels))
    flat = rearrange(field, "h w c -> (h w) c")
    for right in (0, 1):
        for below in (0, 1):
            x, y = low[..., 0] + right, low[..., 1] + below
            share = (part[..., 0] if right else 1 - part[..., 0]) * (part[..., 1] if below else 1 - part[..., 1])
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            target = torch.where(inside, y * width + x, 0).long().flatten()
            share = torch.where(inside, share, 0).flatten()[:, None]
            heavy = share * weight.flatten()[:, None]
            cover.index_add_(0, target, share)
            total.index_add_(0, target, heavy)
            summed.index_add_(0, target, heavy * flat)
    grid = {"h": height, "w": width}
    return tuple(rearrange(each, "(h w) c -> h w c", **grid) for each in (cover, total, summed))


def turned_round(vectors: Tensor, landing: Tensor) -> Tensor:
    """(H, W, 2): the opposite of `vectors` (H, W, 2), put down where they point to.

    Args:
        vectors: tokens (dx, dy).
        landing: (H, W, 2), where they point to; tokens that nothing lands on get the median.
    """
    opposite = -vectors
    cover, _, summed = splat(opposite, landing, torch.ones(vectors.shape[:2]))
    common = rearrange(opposite, "h w xy -> (h w) xy").median(0).values
    return torch.where(cover > 0.25, summed / cover.clamp(min=0.25), common)
