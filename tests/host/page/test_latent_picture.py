"""A latent's frames as one small picture: the host's colours, the video's frames alone, formats without colours."""

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

WAN, HALF = torch.eye(3, 16).T.tolist(), [0.0, 0.0, 0.5]


@pytest.fixture
def picture(pack):
    """The pixels of a latent's picture, (H, W, 3), or None."""
    latent_picture = pack("nodes.host.page.latent_picture").latent_picture

    def make(latent, frames, **latent_format):
        address = latent_picture(SimpleNamespace(**latent_format), latent, frames)
        return address and np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))

    return make


def test_the_frames_stand_one_below_the_other_in_the_hosts_colours(picture):
    latent = torch.zeros(2, 16, 3, 16, 24)
    latent[0, 0, 1] = 1.0
    latent[0, 1, 2], latent[0, 2, 2] = -1.0, float("nan")
    pixels = picture(latent, 3, latent_rgb_factors=WAN, latent_rgb_factors_bias=HALF)
    assert pixels.shape == (48, 24, 3)
    shown = pixels.reshape(3, 16, 24, 3).mean((1, 2))
    # A JPEG is right to a few of 255.
    assert np.allclose(shown[:2], [[127, 127, 191], [255, 127, 191]], atol=4) and np.allclose(shown[2, 1], 0, atol=4)


def test_frames_before_the_video_are_left_out(picture):
    latent = torch.zeros(1, 16, 4, 8, 8)
    latent[:, :, 0] = 1.0
    pixels = picture(latent, 3, latent_rgb_factors=WAN)
    assert pixels.shape == (24, 8, 3) and np.allclose(pixels, 127, atol=4)


def test_packed_pixels_are_unpacked_as_the_host_does(picture):
    def unpack(latent):
        return latent.repeat_interleave(2, -1).repeat_interleave(2, -2)

    pixels = picture(torch.zeros(1, 16, 2, 8, 8), 2, latent_rgb_factors=WAN, latent_rgb_factors_reshape=unpack)
    assert pixels.shape == (32, 16, 3)


def test_a_format_without_colours_has_no_picture(picture):
    assert picture(torch.zeros(1, 16, 2, 8, 8), 2, latent_rgb_factors=None) is None
