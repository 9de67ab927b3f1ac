"""Token grids and lengths, against the numbers of Wan's VAE and patchify."""

from __future__ import annotations

import pytest

from fastvmt_core.grid import TokenGrid, first_video_frame, latent_frame_of, latent_frames, video_length


def test_wan_480p_of_81_frames():
    grid = TokenGrid.of_latent((1, 16, latent_frames(81), 480 // 8, 832 // 8))
    assert grid.as_tuple == (21, 30, 52)
    assert grid.tokens == 32760


def test_sides_that_the_patch_does_not_divide_are_padded_up():
    assert TokenGrid.of_latent((3, 15, 9)).as_tuple == (3, 8, 5)
    assert TokenGrid.of_latent((3, 15, 9), patch=(2, 1, 4)).as_tuple == (2, 15, 3)


@pytest.mark.parametrize(("frames", "length"), [(1, 1), (4, 1), (5, 5), (16, 13), (17, 17), (81, 81), (84, 81)])
def test_video_length_is_the_largest_4n_plus_1(frames, length):
    assert video_length(frames) == length
    assert latent_frames(length) == (length + 3) // 4


@pytest.mark.parametrize("bad", [0, -1, 2.0, True])
def test_nonsense_is_refused(bad):
    for call in (lambda: TokenGrid(bad, 1, 1), lambda: video_length(bad), lambda: latent_frames(bad)):
        with pytest.raises(ValueError, match="expected a whole number of at least 1"):
            call()


def test_bad_shapes_and_lengths_say_what_to_change():
    with pytest.raises(ValueError, match="latent shape"):
        TokenGrid.of_latent((4, 4))
    with pytest.raises(ValueError, match="patch"):
        TokenGrid.of_latent((4, 4, 4), patch=(1, 0, 2))
    with pytest.raises(ValueError, match="use 17 frames"):
        latent_frames(20)


def test_frames_of_video_in_frames_of_the_latent():
    assert [latent_frame_of(frame) for frame in (0, 1, 4, 5, 8, 9)] == [0, 1, 1, 2, 2, 3]
    for latent_frame in range(6):
        assert latent_frame_of(first_video_frame(latent_frame)) == latent_frame
    with pytest.raises(ValueError, match="frame: expected a whole number of at least 0, got -1"):
        latent_frame_of(-1)
