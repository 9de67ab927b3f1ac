"""A latent at half size is a sample of the same flow, and a motion that changed no longer holds what was read there."""

from dataclasses import replace

import pytest
import torch

from fastvmt_core.config import AMFConfig
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.blend import blend, masked
from fastvmt_core.motion.edit import EDITS, EditSettings
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.half_size import (
    half_config,
    halved,
    halved_level,
    level_to_halve,
    motion_at_half_size,
    onto_the_path,
    shows_motion,
)
from fastvmt_core.motion.resize import fit_to
from tests.core.motion.made_files import everything
from tests.core.motion.made_motions import disc


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.9, 1.0])
def test_a_halved_latent_lies_on_the_flows_path(sigma):
    clip, noise, level = random(1, 2, 2, 6, 8), random(1, 2, 2, 6, 8, seed=1), torch.tensor(sigma)
    smaller = onto_the_path(level) * halved((1 - level) * clip + level * noise)
    # The mean of four values of white noise has half their spread.
    expected = (1 - halved_level(level)) * halved(clip) + halved_level(level) * 2 * halved(noise)
    assert torch.allclose(smaller, expected, atol=1e-6)
    assert level_to_halve(float(halved_level(level))) == pytest.approx(sigma)


def test_the_mean_of_whole_pixels():
    picture = torch.arange(8.0).reshape(1, 2, 4)
    assert halved(picture).tolist() == [[[2.5, 4.5]]]


@pytest.mark.parametrize(("height", "width"), [(5, 8), (8, 5), (5, 7), (1, 2)])
def test_odd_sides_are_rounded_up(height, width):
    smaller = halved(random(2, 3, height, width))
    assert smaller.shape == (2, 3, -(-height // 2), -(-width // 2))


def test_the_last_row_of_an_odd_side_has_as_little_noise_as_the_others():
    rows = halved(random(4000, 5, 6)).std(dim=(0, 2))
    # A standard error of .5 / sqrt(2 * 12000), about .003.
    assert torch.allclose(rows, torch.full((3,), 0.5), atol=0.02)


def test_the_gradient_goes_back_through_the_mean():
    assert torch.autograd.gradcheck(halved, random(1, 2, 5, 7, dtype=torch.float64).requires_grad_(True))


def test_the_window_covers_as_much_of_the_frame():
    assert [half_config(AMFConfig(window=window)).window for window in (None, 21, 5, 1)] == [None, 11, 3, 1]


def test_grids_too_small_for_half_size():
    assert shows_motion(TokenGrid(3, 8, 7)) and not shows_motion(TokenGrid(3, 6, 8))


@pytest.fixture
def motion():
    """One that holds its flow at half size too, with a mask."""
    whole = disc()
    grid, pairs = whole.grid.halved, len(whole.flows[0].pairs)
    fields = tuple(torch.full((pairs, grid.height, grid.width, 2), 0.5) for _ in whole.flows)
    tiles = -(-grid.height // whole.config.tile[0]) * -(-grid.width // whole.config.tile[1])
    centres = tuple(torch.ones(pairs, tiles, 2) for _ in whole.flows)
    mask = torch.zeros(whole.grid.as_tuple)
    mask[:, :2, :2] = 1
    return replace(whole, half_displacement=fields, half_centres=centres, mask=mask)


def test_a_motion_at_half_size(motion):
    half = motion_at_half_size(motion)
    assert half.grid == motion.grid.halved and half.config == half_config(motion.config)
    for flow, field in zip(half.flows, motion.half_displacement, strict=True):
        assert torch.equal(flow.displacement, field)
    assert half.mask[:, 0, 0].eq(1).all() and half.mask[:, 1:].eq(0).all()


def test_a_changed_motion_is_refused_at_half_size(motion):
    # What trim keeps is as it was read.
    edits = [edit for name, edit in EDITS.items() if name != "trim"]
    changed = [edit(motion, EditSettings(amount=1.5, first=0, last=1)) for edit in edits]
    changed.append(blend(motion, motion, 0.5))
    changed.append(fit_to(motion, TokenGrid(motion.grid.frames, motion.grid.height + 1, motion.grid.width)))
    for each in changed:
        with pytest.raises(ValueError, match="read at half size too.*Refresh Motion.*resolution to full"):
            motion_at_half_size(each)


def test_a_trimmed_motion_keeps_its_half_size(motion):
    part = EDITS["trim"](motion, EditSettings(first=0, last=1))
    assert motion_at_half_size(part).grid == part.grid.halved


def test_a_mask_leaves_it(motion):
    assert motion_at_half_size(masked(motion, torch.ones(motion.grid.as_tuple))).flows


def test_it_is_kept_in_a_file(tmp_path):
    motion, path = everything(), tmp_path / "motion.safetensors"
    motion.save(path)
    loaded = MotionEmbedding.load(path)
    for name in ("half_displacement", "half_centres"):
        for kept, read in zip(getattr(motion, name), getattr(loaded, name), strict=True):
            assert torch.equal(kept, read)
