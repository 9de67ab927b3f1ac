"""A number in a clip's pixels: read back, faint, not found where there is none, refused where it cannot be."""

import hashlib

import pytest
import torch

from fastvmt_core.provenance.mark import MOST, _spectra, read_mark, with_mark
from tools.train.clips import make_clip

NUMBERS = (0, 1, 2**31 + 12345, MOST)


@pytest.fixture(scope="module")
def clip():
    return torch.from_numpy(make_clip(3001, camera=True).frames)


def in_eight_bits(frames):
    return (frames * 255).byte() / 255.0


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_read_back(clip, number):
    found = read_mark(in_eight_bits(with_mark(clip, number)))
    assert found.found and found.number == number and found.kept == 1.0


def test_the_mark_is_faint(clip):
    changed = with_mark(clip, NUMBERS[2])
    assert changed.shape == clip.shape and changed.dtype == clip.dtype
    assert float(changed.min()) >= 0 and float(changed.max()) <= 1
    # 40 dB: a hundredth of full brightness, of which most people see nothing in a moving picture.
    assert float(-10 * (changed - clip).square().mean().log10()) > 40


@pytest.mark.parametrize("shade", [0.0, 0.5, 1.0])
def test_black_grey_and_white_hold_a_mark(shade):
    frames = torch.full((5, 128, 160, 3), shade)
    assert read_mark(in_eight_bits(with_mark(frames, NUMBERS[2]))).number == NUMBERS[2]


@pytest.mark.parametrize(("rows", "columns"), [(slice(0, 116), slice(12, 128)), (slice(7, 122), slice(5, 120))])
def test_a_crop_is_read_and_measured(clip, rows, columns):
    found = read_mark(with_mark(clip, NUMBERS[2])[:, rows, columns])
    assert found.found and found.number == NUMBERS[2] and found.kept == pytest.approx(0.9, abs=0.015)


def test_one_frame_of_many_is_enough(clip):
    assert read_mark(with_mark(clip, NUMBERS[2])[-1:]).number == NUMBERS[2]


def test_nothing_is_found_where_nothing_is():
    for seed in range(8):
        found = read_mark(torch.from_numpy(make_clip(seed).frames))
        assert not found.found and found.doubt > 0.01
    assert not read_mark(torch.zeros(3, 128, 128, 3)).found


@pytest.mark.parametrize("number", [-2, MOST + 1])
def test_a_number_of_more_bits_is_refused(clip, number):
    with pytest.raises(ValueError, match="mark: expected a number from 0 to 4294967295, or -1 for none, got"):
        with_mark(clip, number)


def test_a_frame_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match=r"video: expected frames of 96 pixels or more a side.*\(5, 64, 128, 3\)"):
        with_mark(torch.zeros(5, 64, 128, 3), 1)


def test_the_patterns_stay_what_they_are():
    """Marks that are out in the world are read by these."""
    steps = (_spectra().angle() * 256 / (2 * torch.pi)).round().long().remainder(256) * (_spectra().abs() > 0.5)
    assert hashlib.sha256(steps.byte().numpy().tobytes()).hexdigest().startswith("f20857bcc2980fb1")
