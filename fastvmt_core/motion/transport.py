"""Carry a motion's vectors to where an edit puts the things that they belong to.

A vector lives where the thing was: an edit moves carriers and vectors together. What attention says of a clip in which
nothing moves, the rest, belongs to the place instead, so it stays; only what is left over is carried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ..attention.flow import Pair
from ..config import TrackConfig
from .trajectories import extent, places

_AROUND, _STILL = 0.1, 0.005
"""Weights of what is beside a moving thing and of what stands still, where one lands on the other; the thing's is 1."""
_SEEN = 1e-4
"""Weight below which nothing is known."""


@dataclass(frozen=True, eq=False)
class Course:
    """Where an edit puts everything."""

    now: Tensor
    """(F, F, H, W, 2) tokens: tracks of the motion as it is, [i, t] the place in frame t of token p of frame i."""
    then: Tensor
    """(F, F', H, W, 2) tokens: [i, a] its place in frame a of the edited motion."""
    sources: tuple[int, ...]
    """(F',): the frame of the motion that each edited frame looks like."""
    itself: Tensor
    """(F, H, W) in [0, 1]: 1 for what moves itself, whose vectors change; 0 for what is only taken along."""

    @property
    def reversed(self) -> Course:
        """The same edit as the reversed clip sees it."""
        last = len(self.now) - 1
        sources = tuple(last - source for source in self.sources[::-1])
        return Course(self.now.flip(0, 1), self.then.flip(0, 1), sources, self.itself.flip(0))

    def source(self, pair: Pair) -> Pair:
        """The pair of the motion that stands for an edited pair: as far apart, or as far as there are frames."""
        last = len(self.now) - 1
        apart = min(pair[1] - pair[0], last)
        start = min(self.sources[pair[0]], last - apart)
        return start, start + apart


def carry(
    values: Tensor,
    pairs: Sequence[Pair],
    edited_pairs: Sequence[Pair],
    course: Course,
    gain: float,
    config: TrackConfig,
) -> Tensor:
    """(P', H, W, C): fields of a motion's pairs after an edit.

    Args:
        values: (P, H, W, C), of which the first two channels are vectors (dx, dy) that change with the movement; the
            others are only carried.
        pairs: the motion's P pairs.
        edited_pairs: the edited motion's P' pairs.
        course: where the edit puts everything.
        gain: how much of a true movement the vectors show, 0 .. 1.
        config: what counts as moving.
    """
    index = {pair: position for position, pair in enumerate(pairs)}
    moves = (extent(course.now) / config.moving).clamp(max=1)
    resting = _resting(values, pairs, moves)
    carried = []
    for a, b in edited_pairs:
        i, j = course.source((a, b))
        goes, went = course.then[i, b] - course.then[i, a], course.now[i, j] - places(*values.shape[1:3])
        field = values[index[i, j]].float().clone()
        if a != b:
            field[..., :2] += gain * course.itself[i][..., None] * (goes - went)
        where, weight = _landing(course, (i, j), (a, b), moves)
        carried.append(_landed(field, where, weight, resting[j - i]))
    return torch.stack(carried)


def _landing(course: Course, source: Pair, edited: Pair, moves: Tensor) -> tuple[Tensor, Tensor]:
    """Where a pair's tokens go, (H, W, 2), and what hides what there, (H, W).

    A thing's own tokens go with it. Those around it do so too, and those around its place in the other frame go where
    that goes: attention is drawn to a thing, or away from it, from all sides of where it looks for it.
    """
    (i, j), (a, b) = source, edited
    itself, beside, ahead = (field[..., None] for field in (course.itself[i], moves[i], moves[j]))
    there = torch.lerp(course.then[i, a], course.then[j, b], ahead / (beside + ahead).clamp(min=_SEEN))
    around = torch.maximum(beside, ahead)[..., 0]
    weight = torch.maximum(course.itself[i], _AROUND * around).clamp(min=_STILL)
    return torch.lerp(there, course.then[i, a], itself), weight


def carry_latent(latent: Tensor, course: Course) -> Tensor:
    """(1, C, F', h, w): a reference's latent after an edit, a clip to be read again by the model.

    What an edit leaves bare shows what other frames show there while nothing moves.

    Args:
        latent: (1, C, F, h, w).
        course: where the edit puts everything, in the latent's pixels.
    """
    frames = rearrange(latent.float(), "1 c f h w -> f h w c")
    still = (1 - course.itself)[..., None].clamp(min=_STILL)
    plate = (frames * still).sum(0) / still.sum(0)
    edited = []
    for frame, source in enumerate(course.sources):
        weight = course.itself[source].clamp(min=_STILL)
        cover, total, summed = splat(frames[source], course.then[source, frame], weight)
        landed = summed / total.clamp(min=_SEEN)
        # A thing that is thinned out by rounding still hides what is behind it.
        share = torch.where(total > _SEEN, (2 * cover).clamp(max=1), 0)
        edited.append(torch.lerp(plate, landed, share))
    return rearrange(torch.stack(edited), "f h w c -> 1 c f h w").contiguous()


def moved_steps(course: Course, config: TrackConfig) -> Tensor:
    """(2, F' - 1, H, W, 2): the steps of the edited motion, for the edit after this one."""
    frames = len(course.sources)
    forward = tuple((frame, frame + 1) for frame in range(frames - 1))
    own = places(*course.now.shape[2:4])
    weight = course.itself.clamp(min=_STILL)
    sides = [[], []]
    for side, found in enumerate(sides):
        for a, b in forward if side == 0 else [pair[::-1] for pair in forward]:
            i = course.sources[a]
            step = course.itself[i][..., None] * (course.then[i, b] - course.then[i, a])
            found.append(_landed(step, course.then[i, a], weight[i], torch.full_like(own, torch.nan)))
    if frames < 2:
        return torch.zeros(2, 0, *own.shape)
    return torch.stack([torch.stack(side) for side in sides])


def shown_share(displacement: Tensor, pairs: Sequence[Pair], now: Tensor, config: TrackConfig) -> float:
    """How much of a thing's true movement the vectors show, 0 .. 1: the slope of one on the other where things move.

    Args:
        displacement: (P, H, W, 2), tokens, less the rest.
        pairs: its P pairs.
        now: (F, F, H, W, 2), tracks, without surroundings.
    """
    along, length = 0.0, 0.0
    own = places(*displacement.shape[1:3])
    moving = extent(now) > config.moving
    for field, (i, j) in zip(displacement, pairs, strict=True):
        if i != j and bool(moving[i].any()):
            went = (now[i, j] - own)[moving[i]]
            along += float((field[moving[i]].float() * went).sum())
            length += float(went.square().sum())
    return min(1.0, max(0.0, along / length)) if length > _SEEN else 1.0


def _resting(values: Tensor, pairs: Sequence[Pair], moves: Tensor) -> dict[int, Tensor]:
    """For each distance, (H, W, C): the mean field of what stands still there; NaN where something always moves.

    Args:
        values: (P, H, W, C).
        pairs: its P pairs.
        moves: (F, H, W) in [0, 1], 1 where a frame shows something that moves.
    """
    found = {}
    for apart in sorted({j - i for i, j in pairs}):
        chosen = [position for position, (i, j) in enumerate(pairs) if j - i == apart]
        still = 1 - torch.stack([torch.maximum(moves[pairs[p][0]], moves[pairs[p][1]]) for p in chosen])[..., None]
        total = still.sum(0)
        mean = (values[chosen].float() * still).sum(0) / total.clamp(min=_SEEN)
        found[apart] = torch.where(total > _SEEN, mean, torch.nan)
    return found


def _landed(field: Tensor, where: Tensor, weight: Tensor, resting: Tensor) -> Tensor:
    """(H, W, C): `field` put down at `where` (H, W, 2), bilinear; places left bare show the rest of the clip.

    What moves hides what stands still. Where the rest is unknown (NaN), the pair's median.
    """
    cover, total, summed = splat(field, where, weight)
    landed = summed / total.clamp(min=_SEEN)
    bare = resting
    if bool(bare.isnan().any()):
        common = rearrange(field, "h w c -> (h w) c").median(0).values
        bare = torch.where(bare.isnan(), common, bare)
    share = torch.where(total > _SEEN, cover.clamp(max=1), 0)
    return landed * share + bare * (1 - share)


def splat(field: Tensor, where: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Put each token down on the four tokens around `where`: (cover (H, W, 1), weights (H, W, 1), sum (H, W, C)).

    Args:
        field: (H, W, C).
        where: (H, W, 2) tokens (x, y); what lies outside the frame is dropped.
        weight: (H, W).
    """
    height, width, channels = field.shape
    low = where.floor()
    part = where - low
    cover, total, summed = (torch.zeros(height * width, size) for size in (1, 1, channels))
    flat = rearrange(field, "h w c -> (h w) c")
    for right in (0, 1):
        for below in (0, 1):
            x, y = low[..., 0] + right, low[..., 1] + below
            share = (part[..., 0] if right else 1 - part[..., 0]) * (part[..., 1] if below else 1 - part[..., 1])
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            place = torch.where(inside, y * width + x, 0).long().flatten()
            share = torch.where(inside, share, 0).flatten()[:, None]
            heavy = share * weight.flatten()[:, None]
            cover.index_add_(0, place, share)
            total.index_add_(0, place, heavy)
            summed.index_add_(0, place, heavy * flat)
    grid = {"h": height, "w": width}
    return tuple(rearrange(each, "(h w) c -> h w c", **grid) for each in (cover, total, summed))
