"""What is derived from a motion: its frame flow, its trajectories, its camera, its vectors beyond the static bias.

Axes: P pairs of latent frames, F latent frames, H and W rows and columns of tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from ..attention.flow import AttentionMotionFlow
from ..attention.windows import Tiling, token_positions
from ..config import TrajectoryConfig
from .bounds import bounded
from .embedding import MotionEmbedding
from .trajectories import camera_path, latent_steps, trajectories, with_surroundings
from .transport import turned_round

TRAJECTORY = TrajectoryConfig()
"""How trajectories are estimated wherever a motion is edited."""


def frame_flow_of(motion: MotionEmbedding) -> Tensor:
    """(2, F - 1, H, W, 2) tokens: the frame flow that the motion keeps, or that of its reference, or of its vectors."""
    if motion.frame_flow is None and motion.reference is not None:
        return shot_by_shot(latent_steps(motion.reference, motion.grid, TRAJECTORY), motion.cuts)
    return cheap_frame_flow_of(motion)


def cheap_frame_flow_of(motion: MotionEmbedding) -> Tensor:
    """(2, F - 1, H, W, 2) tokens: the frame flow that the motion keeps, or that of its vectors; nothing is matched."""
    return shot_by_shot(_steps_of_vectors(motion), motion.cuts) if motion.frame_flow is None else motion.frame_flow


def shot_by_shot(steps: Tensor, cuts: Sequence[int]) -> Tensor:
    """A frame flow (2, F - 1, H, W, 2) that is 0 across cuts: another shot's content has not moved there."""
    kept = torch.ones(steps.shape[1])
    kept[[cut - 1 for cut in cuts]] = 0
    return steps * rearrange(kept, "t -> t 1 1 1")


def trajectories_of(motion: MotionEmbedding) -> Tensor:
    """(F, F, H, W, 2) tokens: trajectories of everything in the reference, what moves with its surroundings."""
    return with_surroundings(trajectories(frame_flow_of(motion)), TRAJECTORY)


def camera_of(motion: MotionEmbedding) -> Tensor:
    """(F, 2) tokens since frame 0: the camera's path, as the displacement of most of the frame."""
    return camera_path(frame_flow_of(motion))


def static_bias_of(motion: MotionEmbedding, number: int = 0) -> Tensor:
    """(P, H, W, 2) tokens: the static bias of flow `number`; zeros if the motion has none."""
    return motion.static_bias[number] if motion.static_bias else torch.zeros_like(motion.flows[number].displacement)


def beyond_static_bias(motion: MotionEmbedding, number: int = 0) -> Tensor:
    """(P, H, W, 2) tokens: the displacements of flow `number` less its static bias."""
    return motion.flows[number].displacement - static_bias_of(motion, number)


def _steps_of_vectors(motion: MotionEmbedding) -> Tensor:
    vectors, pairs = beyond_static_bias(motion), motion.flows[0].pairs
    frames, height, width = motion.grid.as_tuple
    neighbours = [pairs.index((t, t + 1)) for t in range(frames - 1)] if motion.flows[0].span > 1 else []
    if not neighbours:
        return torch.zeros(2, frames - 1, height, width, 2)
    forward, own = vectors[neighbours], token_positions(height, width)
    steps = torch.stack((forward, torch.stack([turned_round(step, own + step) for step in forward])))
    # Less their bias vectors may lead out of the frame.
    return bounded(steps, motion.grid)


def reversed_vectors(motion: MotionEmbedding, number: int) -> Tensor:
    """(P, H, W, 2) tokens: displacements of the reversed clip, estimated from the forward ones of flow `number`."""
    positions = trajectories_of(motion)
    vectors, pairs = beyond_static_bias(motion, number), motion.flows[number].pairs
    fields = []
    for (a, b), index in zip(pairs, opposite_pairs(motion.flows[number]), strict=True):
        early, late = pairs[index]
        fields.append(vectors[index] if a == b else turned_round(vectors[index], positions[early, late]))
    return torch.stack(fields) + static_bias_of(motion, number)


def own_centres(motion: MotionEmbedding) -> Tensor:
    """(tiles, 2) tokens: each tile's own position."""
    return Tiling(motion.grid.height, motion.grid.width, motion.config.tile).representatives().float()


def on_tokens(of_tiles: Tensor, motion: MotionEmbedding) -> Tensor:
    """(P, H, W, C): values of the motion's tiles (P, tiles, C), each token with its tile's."""
    return of_tiles[:, Tiling(motion.grid.height, motion.grid.width, motion.config.tile).tile_of_token()]


def reversed_centres(flow: AttentionMotionFlow, tiling: Tiling) -> Tensor:
    """(P, tiles, 2) tokens: window centres of the reversed clip, opposite to the motion's about each tile."""
    own = tiling.representatives().float()
    return own - (flow.centres - own)[opposite_pairs(flow)]


def opposite_pairs(flow: AttentionMotionFlow) -> list[int]:
    """For each pair (a, b) of the reversed clip, the index of the motion's pair of the same two frames."""
    last, pairs = flow.grid.frames - 1, flow.pairs
    index = {pair: number for number, pair in enumerate(pairs)}
    return [index[last - b, last - a] for a, b in pairs]


def edited_hash(motion: MotionEmbedding, edit_label: str) -> str:
    """The reference's hash with what was done to it; long chains keep their beginning."""
    return f"{motion.reference_hash}|{edit_label}"[:400]
