"""A reference with a cut: Encode Reference sees it, Invert Motion knows it, Decode Shots keeps the shots apart."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from tools.train.clips import cut, make_clip
from tools.train.track import track

CUT = 5
"""Frame of the latent that begins the second shot, which is frame 17 of the video."""
FIRST = 17
LOOK = ("red", "circle", "plain")


@pytest.fixture(scope="module")
def decode(pack):
    return pack("nodes.decode").FastVMTDecodeShots


@pytest.fixture(scope="module")
def motion(pack, tiny_model, vae, empty_prompt):
    """A motion of 33 frames without a cut."""
    frames = torch.from_numpy(make_clip(3, *LOOK, size=64, frames=33).frames)
    config = pack("fastvmt_core.config").AMFConfig(temporal_span=2, window=3, tile=(2, 2))
    given = {"config": config, "blocks": (3,), "sigmas": (0.3,), "seed": 0, "cuts": "ignore"}
    with torch.inference_mode():
        latent = pack("nodes.host.files.vae").encode_video(vae, frames, tiled=False)
        return pack("nodes.host.reading.inversion").invert_motion(tiny_model, latent, empty_prompt, **given)


@pytest.fixture(scope="module")
def two_shots(pack, vae):
    """(latent, true path): two shots encoded one by one, as a model that was led across a cut makes them."""
    encode = pack("nodes.host.files.vae").encode_video
    first, then = (make_clip(seed, *LOOK, frames=33) for seed in (1000, 501000))
    shown, later = (torch.from_numpy(frames) for frames in (first.frames[:FIRST], then.frames[FIRST:]))
    held = torch.cat([later[:1], later])
    with torch.inference_mode():
        latent = torch.cat([encode(vae, shown, tiled=False), encode(vae, held, tiled=False)[:, :, 1:]], 2)
    return {"samples": latent}, np.concatenate([first.path[:FIRST], then.path[FIRST:]])


def whole(vae, samples):
    from nodes import VAEDecode

    return VAEDecode().decode(vae, samples)[0]


def test_the_first_frame_of_a_shot_shows_nothing_of_the_one_before(decode, vae, motion, two_shots):
    samples, path = two_shots
    with torch.inference_mode():
        made, report = decode.execute(samples, vae, dataclasses.replace(motion, cuts=(CUT,)), False).args
        plain = whole(vae, samples)
    off, before = (np.linalg.norm(track(frames, LOOK[0]) - path, axis=1) for frames in (made, plain))
    assert made.shape == plain.shape
    # The shots' sprites are tens of pixels apart; a sprite is 16 to 21 in radius, and drawn to a few pixels.
    assert before[FIRST] > 15
    assert off.max() < 8
    torch.testing.assert_close(made[:FIRST], plain[:FIRST], atol=1e-5, rtol=0)
    assert report == "2 shots, each decoded by itself: frames 0-16, 17-32."


def test_without_a_cut_it_is_the_hosts_own_decoding(decode, vae, motion, two_shots):
    with torch.inference_mode():
        made, report = decode.execute(two_shots[0], vae, motion, False).args
        assert torch.equal(made, whole(vae, two_shots[0]))
    assert report == "One shot: decoded as a whole."


def test_the_cuts_follow_a_video_of_another_length(decode, vae, motion):
    """9 frames of the latent cut at 4, in the middle, make 5 cut at 2: frame 5 of the video."""
    samples = {"samples": torch.zeros(1, 16, 5, 8, 8)}
    with torch.inference_mode():
        made, report = decode.execute(samples, vae, dataclasses.replace(motion, cuts=(4,)), False).args
    assert made.shape[0] == 17
    assert report == "2 shots, each decoded by itself: frames 0-4, 5-16."


@pytest.mark.parametrize("cuts", [(1,), (8,), (4, 5)])
def test_a_shot_of_one_frame_of_the_latent_keeps_its_frames(decode, vae, motion, cuts):
    samples = {"samples": torch.zeros(1, 16, 9, 8, 8)}
    with torch.inference_mode():
        assert decode.execute(samples, vae, dataclasses.replace(motion, cuts=cuts), False).args[0].shape[0] == 33


def test_in_tiles_it_makes_the_same_video(decode, vae, motion, two_shots):
    samples, path = two_shots
    with torch.inference_mode():
        made = decode.execute(samples, vae, dataclasses.replace(motion, cuts=(CUT,)), True).args[0]
    assert np.linalg.norm(track(made, LOOK[0]) - path, axis=1).max() < 8


@pytest.mark.slow
@pytest.mark.parametrize("tiled", [False, True])
def test_a_batch_keeps_each_video_together(decode, vae, motion, two_shots, tiled):
    latent = two_shots[0]["samples"]
    cuts = dataclasses.replace(motion, cuts=(CUT,))
    with torch.inference_mode():
        both = decode.execute({"samples": torch.cat([latent, latent.flip(-1)])}, vae, cuts, tiled).args[0]
        each = [decode.execute({"samples": one}, vae, cuts, tiled).args[0] for one in (latent, latent.flip(-1))]
    # PyTorch computes differently for a batch of two: rounding.
    torch.testing.assert_close(both, torch.cat(each), atol=1e-3, rtol=0)


def test_a_latent_of_another_kind_is_refused(decode, vae, motion):
    for shape in ((1, 4, 64, 64), (1, 48, 9, 4, 4)):
        with pytest.raises(ValueError, match="samples: expected a video latent .batch, 16"):
            decode.execute({"samples": torch.zeros(shape)}, vae, motion, False)


def test_a_picture_vae_is_refused(decode, motion):
    class PictureVAE:
        latent_dim = 2

    with pytest.raises(ValueError, match="vae: expected the VAE of a video model"):
        decode.execute({"samples": torch.zeros(1, 16, 9, 8, 8)}, PictureVAE(), motion, False)


@pytest.fixture(scope="module")
def cut_reference(pack, vae):
    """The latent that Encode Reference makes of a clip that shows another scene from FIRST on, and its report."""
    looks = (1005, *LOOK), (501005, "green", "star", "stripes")
    frames = cut(*(make_clip(*look, size=64, frames=33) for look in looks), FIRST)
    node = pack("nodes.reference").FastVMTEncodeReference
    with torch.inference_mode():
        result = node.execute(vae, 0, 0, 0, "crop", 16.0, 16.0, False, frames=torch.from_numpy(frames))
    return result.args[0], result.args[4]


def test_a_cut_that_encode_reference_sees_is_the_motions(pack, tiny_model, empty_prompt, cut_reference):
    def inverted(cuts):
        read = {"block": 3, "window": 3, "temporal_span": 2, "tile_height": 2, "tile_width": 2}
        given = {"seed": 0, "reference_sigma": 0.3, **read, "sharpness": 1.0, "centre": "self", "cuts": cuts}
        node = pack("nodes.inversion").FastVMTInvertMotion
        with torch.inference_mode():
            return node.execute(tiny_model, latent, empty_prompt, **given).args[0]

    latent, report = cut_reference
    assert "A new shot seems to begin near frame 17 of these" in report
    assert inverted("detect").cuts == (CUT,)
    assert inverted("ignore").cuts == ()


def test_the_cuts_of_a_latent_that_was_changed_since_are_not_taken(pack, cut_reference):
    known = functools.partial(pack("nodes.inversion")._known, entry="fastvmt_cuts")
    latent = cut_reference[0]
    samples = latent["samples"]
    assert known(latent) == known({**latent, "samples": samples.clone()}) == (CUT,)
    # As the host's nodes do it: they put other samples into a copy.
    for changed in (samples.flip(2), samples[:, :, :CUT], samples + 1):
        assert known({**latent, "samples": changed}) is None


def test_a_clip_without_a_cut_carries_none(pack, vae):
    frames = torch.from_numpy(make_clip(3, *LOOK, size=64, frames=33).frames)
    with torch.inference_mode():
        node = pack("nodes.reference").FastVMTEncodeReference
        result = node.execute(vae, 0, 0, 0, "crop", 16.0, 16.0, False, frames=frames)
    assert pack("nodes.inversion")._known(result.args[0], "fastvmt_cuts") == ()
    assert "shot" not in result.args[4]


def test_matching_the_frames_moves_a_bar_and_stops_when_the_user_cancels(pack, vae, monkeypatch):
    import comfy.model_management as host
    import comfy.utils

    moments = []

    def hook(value, total, *_, **__):
        moments.append((value, total))
        if cancels and 1 < value and total == 16:
            host.interrupt_current_processing(True)

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    frames = torch.from_numpy(make_clip(3, *LOOK, size=64, frames=17).frames)

    def encode():
        with torch.inference_mode():
            pack("nodes.reference").FastVMTEncodeReference.execute(
                vae, 0, 0, 0, "crop", 16.0, 16.0, False, frames=frames
            )

    cancels = False
    encode()
    done = [value for value, total in moments if total == 16]
    # Newer hosts leave out some of those between.
    assert done[0] == 1 and done[-1] == 16 and len(done) > 2 and done == sorted(set(done))
    moments.clear()
    cancels = True
    with pytest.raises(host.InterruptProcessingException):
        encode()
    assert 1 < moments[-1][0] < 16
