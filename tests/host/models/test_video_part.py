"""Where the video is in a run's latents, and which of its frames a mask keeps."""

import pytest
import torch


@pytest.fixture
def video_part(pack, comfyui):
    return pack("nodes.host.models.video_part").VideoPart


def test_a_row_that_holds_sound_too_begins_with_the_video(video_part):
    part = video_part(torch.Size((2, 3, 4, 5)), frozenset())
    row = torch.arange(150.0).reshape(1, 1, 150)
    assert torch.equal(part.of(row), torch.arange(120.0).reshape(1, 2, 3, 4, 5))
    assert part.of(row).data_ptr() == row.data_ptr() and part.of(None) is None


@pytest.mark.parametrize("shape", [None, torch.Size((1, 2, 2, 2))])
def test_a_mask_that_keeps_nothing_of_the_video_is_none(video_part, shape):
    """It keeps the sound, or nothing at all."""
    part, mask = video_part(shape, frozenset()), torch.ones(1, 1, 2, 2, 2)
    sound = torch.zeros(1, 1, 3)

    def given(video):
        return video if shape is None else torch.cat([video.reshape(1, 1, -1), sound], dim=-1)

    assert part.mask(None) is None and part.mask(given(mask)) is None
    mask[:, :, 0] = 0
    assert torch.equal(part.mask(given(mask)), mask)
