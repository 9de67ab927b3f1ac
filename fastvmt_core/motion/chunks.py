"""A long clip that is read in overlapping chunks: where these begin, and their motions joined to one.

Every pair of frames lies in some chunk whole, so that its flow is read, not estimated. Where it lies in two, the one
whose seam is farther away gives it.

Axes: P pairs of latent frames, F latent frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..attention.windows import Pair, frame_pairs
from .embedding import MotionEmbedding
from .fingerprint import hash_of_reference

Rows = Sequence[tuple[int, int]]
"""Of each pair of the whole clip: the chunk that gives it, and the pair's row there."""


def chunk_starts(frames: int, length: int, overlap: int) -> tuple[int, ...]:
    """The first latent frame of each chunk of a clip; all are `length` long, the last one ends with the clip.

    Args:
        frames: F of the clip.
        length: latent frames of a chunk.
        overlap: latent frames that neighbours share, at least.

    Raises:
        ValueError: the chunks would not move on.
    """
    if frames <= length:
        return (0,)
    if length <= overlap:
        raise ValueError(f"length: expected chunks longer than their overlap of {overlap}, got {length}.")
    return (*range(0, frames - length, length - overlap), frames - length)


def joined(chunks: Sequence[MotionEmbedding], starts: Sequence[int]) -> MotionEmbedding:
    """The motion of a clip from those of its chunks.

    Args:
        chunks: read alike, of one size, with their references' latents.
        starts: the first latent frame of each; each pair of frames that the motions compare lies in one of them.
    """
    if len(chunks) == 1:
        return chunks[0]
    first, frames = chunks[0], starts[-1] + chunks[-1].grid.frames
    pairs = frame_pairs(frames, first.config.temporal_span)
    of_pair = {pair: _chunk_of(pair, chunks, starts, frames) for pair in pairs}
    row_of = [{pair: row for row, pair in enumerate(chunk.flows[0].pairs)} for chunk in chunks]

    def forward(pair: Pair) -> tuple[int, int]:
        chunk = of_pair[pair]
        i, j = (frame - starts[chunk] for frame in pair)
        return chunk, row_of[chunk][i, j]

    def backward(pair: Pair) -> tuple[int, int]:
        # Pair (a, b) of the reversed clip is of its frames (F - 1 - b, F - 1 - a).
        a, b = pair
        chunk = of_pair[frames - 1 - b, frames - 1 - a]
        since = frames - starts[chunk] - chunks[chunk].grid.frames
        return chunk, row_of[chunk][a - since, b - since]

    own, ends = [forward(pair) for pair in pairs], [backward(pair) for pair in pairs]

    def fields(name: str, rows: Rows) -> tuple[Tensor, ...]:
        if not all(getattr(chunk, name) for chunk in chunks):
            return ()
        return tuple(
            _gathered(chunks, lambda chunk, level=level: getattr(chunk, name)[level], rows)
            for level in range(len(first.flows))
        )

    flows = tuple(
        replace(
            flow,
            pairs=pairs,
            displacement=_gathered(chunks, lambda chunk, level=level: chunk.flows[level].displacement, own),
            centres=_gathered(chunks, lambda chunk, level=level: chunk.flows[level].centres, own),
        )
        for level, flow in enumerate(first.flows)
    )
    until = (*starts[1:], frames)
    latent = torch.cat(
        [chunk.reference[:, :, : end - start] for chunk, start, end in zip(chunks, starts, until, strict=True)], dim=2
    )
    cuts = {start + cut for chunk, start in zip(chunks, starts, strict=True) for cut in chunk.cuts}
    return replace(
        first,
        flows=flows,
        grid=replace(first.grid, frames=frames),
        static_bias=fields("static_bias", own),
        backward=fields("backward", ends),
        half_displacement=fields("half_displacement", own),
        half_centres=fields("half_centres", own),
        reference=latent,
        reference_hash=hash_of_reference(latent),
        cuts=tuple(sorted(cuts)),
    )


def _chunk_of(pair: Pair, chunks: Sequence[MotionEmbedding], starts: Sequence[int], frames: int) -> int:
    """The chunk that holds both frames, farthest from a seam; the clip's own ends are none."""

    def from_seams(number: int) -> float:
        (i, j), start, end = pair, starts[number], starts[number] + chunks[number].grid.frames
        before = i - start if start else math.inf
        after = end - 1 - j if end < frames else math.inf
        return min(before, after)

    return max(range(len(chunks)), key=from_seams)


def _gathered(chunks: Sequence[MotionEmbedding], field_of: Callable[[MotionEmbedding], Tensor], rows: Rows) -> Tensor:
    """(P, ...): each pair's row of its chunk's field."""
    fields = [field_of(chunk) for chunk in chunks]
    return torch.stack([fields[chunk][row] for chunk, row in rows])
