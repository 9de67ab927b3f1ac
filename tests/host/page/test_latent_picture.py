"""A latent's frames as one small picture: the host's colours, the video's frames alone, formats without colours."""

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tools.train.clips import make_clip

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


def test_a_video_too_long_for_one_picture_has_none(picture):
    latent = torch.zeros(1, 1, 1, 90, 1).expand(1, 16, 728, 90, 1)
    assert picture(latent, 728, latent_rgb_factors=WAN) is None


def test_the_demos_model_is_shown_in_the_colours_of_its_own_vae(pack, tiny_model, vae):
    """Wan's colours are off by .8 of -1 .. 1 on its latents; a straight map of sixteen channels cannot be exact."""
    latent_picture, latent_format = pack("nodes.host.page.latent_picture"), tiny_model.model.latent_format
    clip = torch.from_numpy(make_clip(5, "red", "circle", "plain").frames)
    with torch.inference_mode():
        latent = latent_format.process_in(vae.encode(clip))
    address = latent_picture.latent_picture(latent_format, latent, 5)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))).reshape(5, 16, 16, 3)
    # Of the frames of each latent frame, the last.
    shown = clip[[0, 4, 8, 12, 16]].unflatten(2, (16, 8)).unflatten(1, (16, 8)).mean((2, 4))
    assert np.sqrt(np.mean((pixels / 127.5 - 2 * shown.numpy()) ** 2)) < 0.25
