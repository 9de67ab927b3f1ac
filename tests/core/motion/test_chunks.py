"""Chunks of a long clip: where they begin, and that their motions joined are those of the clip."""

from dataclasses import replace

import pytest
import torch

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.config import AMFConfig
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.chunks import chunk_starts, joined
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.fingerprint import hash_of_reference
from fastvmt_core.motion.trim import part_of
from tests.core.motion.made_motions import CLOSE, FINGERPRINT, made

GRID = TokenGrid(12, 4, 6)
CONFIG = AMFConfig(temporal_span=3, window=5, tile=(2, 3))


def test_chunks_cover_the_clip_and_share_frames():
    assert chunk_starts(9, 9, 3) == (0,)
    assert chunk_starts(12, 6, 3) == (0, 3, 6)
    assert chunk_starts(13, 6, 3) == (0, 3, 6, 7)
    for start, later in zip(chunk_starts(65, 21, 4), chunk_starts(65, 21, 4)[1:], strict=False):
        assert 0 < later - start <= 17
    with pytest.raises(ValueError, match="longer than their overlap of 4, got 4"):
        chunk_starts(10, 4, 4)


def whole():
    """A motion that holds all that a reading makes."""
    generator = torch.Generator().manual_seed(0)

    def random(*size):
        return torch.rand(size, generator=generator) - 0.5

    pairs = 12 + 11 + 10
    latent = random(1, 16, 12, 8, 12)
    return replace(
        made(random(pairs, 4, 6, 2), GRID, CONFIG),
        static_bias=(random(pairs, 4, 6, 2),),
        backward=(random(pairs, 4, 6, 2),),
        half_displacement=(random(pairs, 2, 3, 2),),
        half_centres=(random(pairs, 1, 2) + 0.5,),
        reference=latent,
        reference_hash=hash_of_reference(latent),
        cuts=(4, 8),
    )


@pytest.mark.parametrize("length", [4, 5, 7, 12])
def test_chunks_of_a_motion_joined_are_the_motion(length):
    motion = whole()
    starts = chunk_starts(12, length, CONFIG.temporal_span)
    chunks = [part_of(motion, start, min(length, 12 - start)) for start in starts]
    again = joined(chunks, starts)
    assert (again.grid, again.cuts, again.reference_hash) == (motion.grid, motion.cuts, motion.reference_hash)
    assert again.flows[0].pairs == motion.flows[0].pairs
    for name in ("static_bias", "backward", "half_displacement", "half_centres"):
        assert torch.equal(getattr(again, name)[0], getattr(motion, name)[0]), name
    assert torch.equal(again.flows[0].displacement, motion.flows[0].displacement)
    assert torch.equal(again.flows[0].centres, motion.flows[0].centres)
    assert torch.equal(again.reference, motion.reference)


def test_constant_motion_stays_constant_across_a_seam():
    """A pattern that goes one token a frame, read in chunks: every pair of frames apart by d says d."""
    generator = torch.Generator().manual_seed(1)
    # So long that the softmax is all but hard: the expected position is the best match's.
    pattern = 30 * torch.nn.functional.normalize(torch.randn(4, 32, 1, 8, generator=generator), dim=-1)
    frames = torch.stack([pattern.roll(frame, 1) for frame in range(12)])
    grid, config = TokenGrid(12, 4, 32), AMFConfig(temporal_span=3, window=9, tile=(2, 2))

    def read(start, length):
        clip = frames[start : start + length]
        flow = attention_motion_flow(clip, clip, config, window_keys=False)
        latent = torch.zeros(1, 16, length, 8, 64)
        return MotionEmbedding((flow,), (0.3,), replace(grid, frames=length), config, 0, FINGERPRINT, latent, "made")

    starts = chunk_starts(12, 5, 3)
    motion = joined([read(start, 5) for start in starts], starts)
    flow = motion.flows[0]
    for (i, j), field in zip(flow.pairs, flow.displacement, strict=True):
        inside = field[:, 12:20]
        assert torch.allclose(inside[..., 0], torch.tensor(float(j - i)), atol=0.05, rtol=0)
        assert torch.allclose(inside[..., 1], torch.zeros(()), atol=0.05, rtol=0)


def test_of_two_chunks_the_one_whose_seam_is_farther_gives_a_pair():
    starts = (0, 3)

    def chunk(start):
        """Displacements that name their chunk."""
        field = torch.full((15, 4, 6, 2), float(start) / 10)
        return replace(made(field, replace(GRID, frames=6), CONFIG), reference=torch.zeros(1, 16, 6, 8, 12))

    flow = joined([chunk(start) for start in starts], starts).flows[0]
    named = dict(zip(flow.pairs, flow.displacement[:, 0, 0, 0].tolist(), strict=True))
    assert (named[3, 3], named[3, 4]) == (0, 0)
    assert (named[4, 5], named[5, 5]) == pytest.approx((0.3, 0.3), abs=CLOSE["atol"])
