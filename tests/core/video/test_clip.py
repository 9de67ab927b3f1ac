"""Fitting a reference clip: rate, length, size, and the report for the user."""

from dataclasses import replace

import pytest
import torch
from einops import rearrange
from kornia.geometry.transform import resize

from fastvmt_core.config import ClipConfig, CutConfig
from fastvmt_core.video import clip as module
from fastvmt_core.video.clip import fit_clip
from fastvmt_core.video.cuts import find_cuts_in_video
from tests.core.video.allocations import allocated


def clip(frames=17, height=32, width=32):
    """Frame t is grey of t / frames, so that a frame is known by its colour."""
    return (torch.arange(frames) / frames).reshape(-1, 1, 1, 1).expand(frames, height, width, 3).clone()


def config(**settings):
    return ClipConfig(**{"width": 32, "height": 32, "length": 17, **settings})


def test_a_clip_that_fits_keeps_every_pixel():
    frames = torch.rand(17, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    fitted = fit_clip(frames, config())
    assert torch.equal(fitted.frames, frames)
    assert fitted.report.endswith("Nothing had to be changed.")


@pytest.mark.parametrize(
    ("frames", "asked", "length"), [(17, 17, 17), (16, 81, 13), (40, 20, 17), (9, 0, 9), (1, 81, 1)]
)
def test_the_length_is_4n_plus_1_of_what_the_clip_has_and_what_is_asked_for(frames, asked, length):
    assert fit_clip(clip(frames), config(length=asked)).length == length


@pytest.mark.parametrize(
    ("source", "target", "taken"),
    [(32, 16, [0, 2, 4, 6, 8]), (8, 16, [0, 1, 1, 2, 2]), (0, 16, [0, 1, 2, 3, 4])],
)
def test_frames_are_those_nearest_to_the_targets_moments(source, target, taken):
    fitted = fit_clip(clip(20), config(source_fps=float(source), target_fps=float(target), length=5))
    assert (fitted.frames[:, 0, 0, 0] * 20).round().int().tolist() == taken


def test_a_rate_by_mistake_makes_no_endless_clip():
    with pytest.raises(ValueError, match=r"^source_fps: expected .* got 0.001, at which its 9 frames become 144000"):
        fit_clip(clip(9), config(source_fps=0.001, length=0))
    # With a length it is a still, as asked for.
    still = fit_clip(clip(9), config(source_fps=0.001, length=17))
    assert still.length == 17 and torch.equal(still.frames, still.frames[:1].expand(17, -1, -1, -1))
    with pytest.raises(ValueError, match="^source_fps: expected 0 or at least 0.001 frames per second"):
        config(source_fps=1e-300)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize(("height", "width"), [(48, 100), (100, 48), (33, 35)])
def test_every_fit_gives_the_size_asked_for(fit, height, width):
    fitted = fit_clip(clip(5, height, width), config(fit=fit, length=5))
    assert (fitted.height, fitted.width) == (32, 32)
    assert f"{width} x {height} pixels" in fitted.report


@pytest.mark.parametrize(("fit", "word"), [("crop", "cropped to fill"), ("pad", "padded"), ("stretch", "stretched to")])
def test_the_report_names_what_the_fit_did_and_a_clip_of_the_same_shape_was_only_scaled(fit, word):
    assert word in fit_clip(clip(5, 48, 100), config(fit=fit, length=5)).report
    assert "64 x 64 pixels were scaled to 32 x 32." in fit_clip(clip(5, 64, 64), config(fit=fit, length=5)).report


def test_a_long_clip_is_resized_in_parts_as_it_would_be_whole(monkeypatch):
    frames = torch.rand(19, 40, 56, 3, generator=torch.Generator().manual_seed(0))
    whole = rearrange(resize(rearrange(frames, "t h w c -> t c h w"), (20, 28), antialias=True), "t c h w -> t h w c")
    seen = []

    def noted(part, *size, **how):
        seen.append(len(part))
        return resize(part, *size, **how)

    monkeypatch.setattr(module, "resize", noted)
    torch.testing.assert_close(module.resized_frames(frames, (20, 28)), whole.clamp(0, 1))
    assert max(seen) <= module.FRAMES_AT_ONCE and sum(seen) == 19


def test_a_clip_that_there_is_no_room_for_is_refused_before_it_is_made():
    with pytest.raises(
        ValueError, match="width, height, length: expected .* 0.5 GB of free memory, got 9 frames of 8192"
    ):
        fit_clip(clip(9, 64, 64), config(width=8192, height=8192, length=9), room=5e8)
    # A clip that fits already is not copied; one that is only resampled is.
    fitting = config(width=32, height=32, length=9, source_fps=0.0)
    assert fit_clip(clip(9, 32, 32), fitting, room=0).length == 9
    with pytest.raises(ValueError, match="width, height, length: expected a clip that fits"):
        fit_clip(clip(9, 32, 32), replace(fitting, source_fps=8.0, target_fps=16.0), room=1000)


def test_large_frames_are_resized_fewer_at_a_time(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", 3000)
    monkeypatch.setattr(
        module, "resize", lambda part, *size, **how: seen.append(len(part)) or resize(part, *size, **how)
    )
    module.resized_frames(clip(5, 40, 30), (20, 28))
    assert seen == [2, 2, 1]


def test_crop_keeps_the_middle_and_pad_keeps_all():
    wide = torch.zeros(1, 32, 96, 3)
    wide[:, :, 32:64] = 1.0
    assert fit_clip(wide, config(fit="crop", length=1)).frames.min() > 0.99
    padded = fit_clip(torch.ones(1, 32, 96, 3), config(fit="pad", length=1)).frames[0, :, :, 0]
    assert padded[:10].max() == 0 and padded[-10:].max() == 0
    assert padded[12:-12].min() > 0.99


def test_0_takes_the_clips_own_size_in_whole_tokens():
    fitted = fit_clip(clip(5, 50, 70), config(width=0, height=0, length=0))
    assert (fitted.height, fitted.width, fitted.length) == (48, 64, 5)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(5, 32, 32), "expected a clip of shape"),
        (torch.zeros(0, 32, 32, 3), "expected a clip of shape"),
        (torch.full((5, 32, 32, 3), torch.nan), "finite pixel values"),
    ],
)
def test_frames_that_are_no_clip_are_refused(frames, message):
    with pytest.raises(ValueError, match=message):
        fit_clip(frames, config())


def test_a_clip_smaller_than_a_token_is_refused_at_its_own_size():
    with pytest.raises(ValueError, match="at least 16 x 16 pixels"):
        fit_clip(clip(5, 10, 40), config(width=0, height=0))


LONG = 96
"""Frames: parts of a few frames are far less than a quarter of them."""


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_nothing_but_the_result_is_as_large_as_a_long_clip(fit):
    """300 frames of 540p are 1.9 GB; each whole copy of them beside the result is as much again."""
    frames = clip(LONG, 64, 80)
    quarter = frames.nbytes // 4
    assert allocated(lambda: fit_clip(frames, config(width=80, height=64, length=0)), quarter) == []
    resized = 93 * 48 * 48 * 3 * 4
    assert allocated(lambda: fit_clip(frames, config(width=48, height=48, length=0, fit=fit)), quarter) == [resized]
    assert allocated(lambda: find_cuts_in_video(frames, CutConfig()), quarter) == []


def test_an_error_names_the_input_that_is_connected():
    with pytest.raises(ValueError, match="^video: expected finite pixel values"):
        fit_clip(torch.full((5, 32, 32, 3), torch.nan), config(), name="video")
    with pytest.raises(ValueError, match="^reference: expected at least 16 x 16 pixels"):
        fit_clip(clip(5, 10, 40), config(width=0, height=0), name="reference")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("place", [0, 8, 16])
def test_a_value_that_is_not_finite_is_found_in_any_frame(value, place):
    frames = clip()
    frames[place, 3, 5, 1] = value
    with pytest.raises(ValueError, match="^frames: expected finite pixel values"):
        fit_clip(frames, config())
