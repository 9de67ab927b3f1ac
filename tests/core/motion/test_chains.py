"""Edits, blends, masks and changes of size in chains, at and past their limits: a motion, or a named error."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastvmt_core.attention.windows import pair_count
from fastvmt_core.config import AMFConfig
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.blend import blend, masked, subject_and_camera, token_mask
from fastvmt_core.motion.edit import EDITS, EditSettings
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.resize import fit_to
from tests.core.motion.made_motions import made

NAMED = re.compile(r"^[a-z_, ]+[0-9]*( [a-z_]+)*: expected ")
"""How each of our errors begins: what to change, then what was expected."""
AMOUNTS = st.sampled_from([0.0, 0.05, 0.5, 1.0, 1.5, 10.0]) | st.floats(0, 10, width=32)
SHARES = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1, width=32)
SIDES = st.sampled_from([1, 2, 3, 5, 8])


@st.composite
def motions(draw, sizes=(0.0, 0.3, 1.0)):
    """A motion of random vectors with some of what a motion can hold, on a small grid; a size of 1 is the frame's."""
    grid = TokenGrid(draw(st.sampled_from([1, 2, 3, 4, 6])), draw(SIDES), draw(SIDES))
    config = AMFConfig(draw(st.integers(1, 4)), draw(st.sampled_from([None, 1, 2, 5])), (draw(SIDES), draw(SIDES)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    size = draw(st.sampled_from(sizes))
    farthest = torch.tensor((grid.width - 1, grid.height - 1)) * size

    def vectors(count):
        return (2 * torch.rand(count, grid.height, grid.width, 2, generator=generator) - 1) * farthest

    def sometimes(value):
        return value if draw(st.booleans()) else None

    pairs = pair_count(grid.frames, config.temporal_span)
    bias, back = sometimes(vectors(pairs)), sometimes(vectors(pairs))
    steps = vectors(2 * (grid.frames - 1)).reshape(2, grid.frames - 1, grid.height, grid.width, 2)
    latent = torch.randn(1, 16, grid.frames, 2 * grid.height, 2 * grid.width, generator=generator)
    return replace(
        made(vectors(pairs), grid, config),
        static_bias=() if bias is None else (bias,),
        backward=() if back is None else (back,),
        reference=sometimes(latent),
        frame_flow=sometimes(steps),
        mask=sometimes(torch.rand(grid.as_tuple, generator=generator)),
        cuts=(grid.frames // 2,) if grid.frames > 1 and draw(st.booleans()) else (),
    )


def edited(draw, motion):
    edit = EDITS[draw(st.sampled_from(sorted(set(EDITS) - {"trim"})))]
    frames = st.integers(0, motion.grid.frames)
    return edit(motion, EditSettings(draw(AMOUNTS), draw(frames), draw(frames)))


def trimmed(draw, motion):
    frames = st.integers(0, motion.grid.frames)
    return EDITS["trim"](motion, EditSettings(1.0, draw(frames), draw(frames)))


def blended(draw, motion):
    other = fit_to(draw(motions()), motion.grid) if draw(st.booleans()) else draw(motions())
    return blend(motion, replace(other, config=draw(st.sampled_from([motion.config, other.config]))), draw(SHARES))


def under_another_camera(draw, motion):
    return subject_and_camera(motion, draw(motions()))


def limited(draw, motion):
    images = torch.rand(draw(st.integers(1, 9)), draw(SIDES), draw(SIDES)).round() * draw(SHARES)
    return masked(motion, token_mask(images, motion.grid, draw(st.sampled_from([0.0, 0.5, 32.0]))))


def resized(draw, motion):
    return fit_to(motion, TokenGrid(draw(st.sampled_from([1, 2, 5, 9])), draw(SIDES), draw(SIDES)))


STEPS = (edited, edited, edited, blended, under_another_camera, limited, resized, trimmed)


# A chain takes as long as three to twelve draws of the other tests.
@given(st.data())
@settings(max_examples=settings().max_examples // 3)
def test_a_chain_ends_in_a_motion_or_in_a_named_error(data):
    motion = data.draw(motions())
    for _ in range(5):
        step = data.draw(st.sampled_from(STEPS))
        try:
            changed = step(data.draw, motion)
        except ValueError as error:
            assert NAMED.match(str(error)), str(error)
            continue
        # A motion checks its own shapes and limits; another edit than a trim keeps the size, and the
        # settings but for the window.
        assert step in (resized, trimmed) or changed.grid == motion.grid
        assert changed.fingerprint == motion.fingerprint and changed.config.tile == motion.config.tile
        motion = changed


# Three vectors in a sum, none of which leaves the frame, where it would be cut off.
@given(motions(sizes=(0.0, 0.3)))
def test_what_undoes_itself_gives_the_same_motion(motion):
    for edit in ("mirror left and right", "mirror up and down", "reverse"):
        once = EDITS[edit](motion, EditSettings())
        twice = EDITS[edit](once, EditSettings())
        # Vectors of up to seven tokens, beyond a bias and back, in float32.
        for name in ("displacement", "centres"):
            ours, theirs = (getattr(each.flows[0], name) for each in (twice, motion))
            if edit != "reverse" or motion.backward:
                torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
        assert twice.cuts == motion.cuts


@given(motions(), SHARES)
def test_a_motion_blended_with_itself_is_itself(motion, share):
    same = blend(motion, motion, share)
    torch.testing.assert_close(same.flows[0].displacement, motion.flows[0].displacement, atol=1e-5, rtol=0)
    torch.testing.assert_close(same.flows[0].centres, motion.flows[0].centres, atol=1e-5, rtol=0)
    assert same.cuts == motion.cuts
    assert motion.mask is None or torch.allclose(same.mask, motion.mask, atol=1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("motions")


@given(motion=motions())
def test_a_saved_motion_is_loaded_bit_for_bit(folder, motion):
    motion.save(folder / "any.safetensors")
    loaded = MotionEmbedding.load(folder / "any.safetensors")
    assert loaded.header == motion.header
    for ours, theirs in zip(held(loaded), held(motion), strict=True):
        assert torch.equal(ours, theirs)


def held(motion):
    """All tensors that a motion holds."""
    return motion.as_file().tensors.values()
