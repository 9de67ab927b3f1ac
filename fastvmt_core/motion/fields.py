"""What a motion's fields say of its reference's things, and the bounds that they keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from einops import rearrange
from torch import Tensor

from ..attention.flow import AttentionMotionFlow
from ..attention.windows import Tiling
from ..config import TrackConfig
from ..grid import TokenGrid
from .embedding import MotionEmbedding
from .trajectories import camera_path, latent_steps, places, tracks, with_surroundings
from .transport import splat

WAY = TrackConfig()
"""How the ways of a reference's things are found wherever its motion is changed."""


def frame_flow_of(motion: MotionEmbedding) -> Tensor:
    """(2, F - 1, H, W, 2): the steps that the motion keeps, or those of its reference, or else of its vectors."""
    if motion.frame_flow is not None:
        return motion.frame_flow
    if motion.reference is not None:
        return shot_by_shot(latent_steps(motion.reference, motion.grid, WAY), motion.cuts)
    return shot_by_shot(_steps_of_vectors(motion), motion.cuts)


def shot_by_shot(steps: Tensor, cuts: Sequence[int]) -> Tensor:
    """Steps (2, F - 1, H, W, 2) without those across a cut: what another shot shows is no movement."""
    kept = torch.ones(steps.shape[1])
    kept[[cut - 1 for cut in cuts]] = 0
    return steps * rearrange(kept, "t -> t 1 1 1")


def ways(motion: MotionEmbedding) -> Tensor:
    """(F, F, H, W, 2): tracks of everything in the reference, its surroundings taken along (`tracks.tracks`)."""
    return with_surroundings(tracks(frame_flow_of(motion)), WAY)


def camera_of(motion: MotionEmbedding) -> Tensor:
    """(F, 2): the camera's way in tokens since frame 0, as what most of the picture does."""
    return camera_path(frame_flow_of(motion))


def beyond_static_bias(motion: MotionEmbedding, number: int = 0) -> Tensor:
    """(P, H, W, 2): what flow `number` says beyond the model's rest."""
    return without_static_bias(motion.flows[number], motion, number).displacement


def without_static_bias(flow: AttentionMotionFlow, motion: MotionEmbedding, number: int = 0) -> AttentionMotionFlow:
    """A flow of the motion's grid and pairs, less what the model says of a clip at rest at noise level `number`."""
    if not motion.static_bias:
        return flow
    return replace(flow, displacement=flow.displacement - motion.static_bias[number].to(flow.displacement))


def _steps_of_vectors(motion: MotionEmbedding) -> Tensor:
    vectors, pairs = beyond_static_bias(motion), motion.flows[0].pairs
    frames, height, width = motion.grid.as_tuple
    neighbours = [pairs.index((t, t + 1)) for t in range(frames - 1)] if motion.flows[0].span > 1 else []
    if not neighbours:
        return torch.zeros(2, frames - 1, height, width, 2)
    forward = vectors[neighbours]
    own, back = places(height, width), []
    for step in forward:
        cover, _, summed = splat(-step, own + step, torch.ones(height, width))
        common = rearrange(-step, "h w xy -> (h w) xy").median(0).values
        back.append(torch.where(cover > 0.25, summed / cover.clamp(min=0.25), common))
    return torch.stack((forward, torch.stack(back)))


def within(flows: Sequence[AttentionMotionFlow], grid: TokenGrid) -> tuple[AttentionMotionFlow, ...]:
    """Flows whose displacements and centres a motion can hold."""
    last = torch.tensor((grid.width - 1, grid.height - 1), dtype=torch.float32)
    return tuple(
        replace(
            flow,
            displacement=bounded(flow.displacement, grid),
            centres=torch.minimum(flow.centres.clamp(min=0), last),
        )
        for flow in flows
    )


def bounded(field: Tensor, grid: TokenGrid) -> Tensor:
    """Displacements (..., 2) no longer than the frame."""
    last = torch.tensor((grid.width - 1, grid.height - 1), dtype=torch.float32)
    return torch.minimum(torch.maximum(field.float(), -last), last)


def own_centres(grid: TokenGrid, motion: MotionEmbedding) -> Tensor:
    """(tiles, 2): each tile's own place."""
    return Tiling(grid.height, grid.width, motion.config.tile).representatives().float()


def tokens_of_tiles(motion: MotionEmbedding) -> Callable[[Tensor], Tensor]:
    """(P, tiles, C) -> (P, H, W, C): each token has its tile's."""
    owners = Tiling(motion.grid.height, motion.grid.width, motion.config.tile).tile_of_token()
    return lambda values: values[:, owners]


def reversed_centres(flow: AttentionMotionFlow, tiling: Tiling) -> Tensor:
    """(P, tiles, 2): window centres of the reversed clip, as far to the other side of each tile's own place."""
    own = tiling.representatives().float()
    return own - (flow.centres - own)[opposite_pairs(flow)]


def opposite_pairs(flow: AttentionMotionFlow) -> list[int]:
    """For each pair (a, b) of the reversed clip, the index of the motion's pair of the same two frames."""
    last, pairs = flow.grid.frames - 1, flow.pairs
    index = {pair: position for position, pair in enumerate(pairs)}
    return [index[last - b, last - a] for a, b in pairs]


def marked(motion: MotionEmbedding, said: str) -> str:
    """The reference's hash with what was done; long chains keep their beginning."""
    return f"{motion.reference_hash}|{said}"[:400]


def require_number(name: str, value: float, low: float, high: float = math.inf) -> None:
    if not isinstance(value, (int, float)) or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{name}: expected a finite number from {low:g} to {high:g}, got {value!r}.")
