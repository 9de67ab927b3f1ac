"""VAEs of other families than Wan: how many frames they take, and one that the host would show frames one by one."""

from types import SimpleNamespace

import pytest
import torch


class Vae:
    """The host's VAE as far as it is asked: of Hunyuan Video 1.5, which the host marks as one of images."""

    latent_dim, latent_channels, not_video = 3, 32, True

    def __init__(self):
        self.seen = []

    def temporal_compression_decode(self):
        return 4

    def encode(self, frames):
        self.seen.append(self.not_video)
        return torch.zeros(1, 32, 1 + (len(frames) - 1) // 4, 2, 2)


def test_a_video_vae_that_is_marked_as_one_of_images_is_shown_a_video(pack):
    vae = Vae()
    latent = pack("nodes.host.files.vae").encode_video(vae, torch.zeros(9, 32, 32, 3), tiled=False)
    assert latent.shape[2] == 3 and vae.seen == [False]
    assert vae.not_video is True and "not_video" not in vars(vae)


def test_a_vae_of_images_is_refused(pack):
    vae = Vae()
    vae.temporal_compression_decode = lambda: None
    with pytest.raises(ValueError, match="vae: expected the VAE of a video model"):
        pack("nodes.host.files.vae").encode_video(vae, torch.zeros(9, 32, 32, 3), tiled=False)


@pytest.mark.parametrize(("channels", "fps"), [(16, 16.0), (48, 24.0), (128, 25.0), (32, 24.0), (12, 30.0)])
def test_each_models_own_rate(pack, channels, fps):
    assert pack("nodes.host.files.vae").models_fps(SimpleNamespace(latent_channels=channels)) == fps


def test_a_clip_of_ltxv_has_8n_plus_1_frames(pack):
    frames, core = torch.rand(30, 64, 64, 3), pack("fastvmt_core.config")
    config = core.ClipConfig(64, 64, 0, source_fps=0.0)
    fitted = pack("fastvmt_core.video.clip").fit_clip(frames, config, stride=8)
    assert fitted.length == 25 and "takes 8n+1" in fitted.report
    steps = pack("fastvmt_core.motion.clip_flow").clip_steps(fitted.frames, (2, 2), stride=8)
    assert steps.shape == (2, 3, 2, 2, 2)
    cuts = pack("fastvmt_core.video.cuts").latent_cuts
    # Latent frame 2 holds frames 9 to 16.
    assert cuts((9, 12, 14), 25, 8) == (2, 3)
