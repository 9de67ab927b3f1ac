"""A part of a motion in time: its clip's frames from one to another."""

from __future__ import annotations

from dataclasses import replace

from ..attention.windows import frame_pairs
from .embedding import MotionEmbedding
from .fields import edited_hash


def part_of(motion: MotionEmbedding, first: int, count: int) -> MotionEmbedding:
    """The motion of `count` latent frames from `first` on, as it was read.

    Raises:
        ValueError: the clip has no such frames, or the objective compares more than the flow.
    """
    motion.require_flow_alone()
    last, frames = first + count, motion.grid.frames
    if not 0 <= first < last <= frames:
        raise ValueError(f"frames: expected some of the motion's {frames} latent frames, got {first} to {last - 1}.")
    if count == frames:
        return motion
    old = {pair: number for number, pair in enumerate(motion.flows[0].pairs)}
    pairs = frame_pairs(count, motion.config.temporal_span)

    def of_pairs(since: int) -> list[int]:
        return [old[i + since, j + since] for i, j in pairs]

    own, ends = of_pairs(first), of_pairs(frames - last)
    # Played backwards, the clip begins with its last frame.
    rows = {"backward": ends, "static_bias": own, "half_displacement": own, "half_centres": own}
    return replace(
        motion,
        flows=tuple(
            replace(flow, pairs=pairs, displacement=flow.displacement[own], centres=flow.centres[own])
            for flow in motion.flows
        ),
        grid=replace(motion.grid, frames=count),
        **{name: tuple(field[index] for field in getattr(motion, name)) for name, index in rows.items()},
        reference=None if motion.reference is None else motion.reference[:, :, first:last],
        reference_hash=edited_hash(motion, f"frames {first} to {last - 1}"),
        frame_flow=None if motion.frame_flow is None else motion.frame_flow[:, first : last - 1],
        mask=None if motion.mask is None else motion.mask[first:last],
        cuts=tuple(cut - first for cut in motion.cuts if first < cut < last),
    )
