"""A motion is read, saved, loaded and followed without a connection, another program, or a pickle."""

import sys

import pytest
import torch

from tests.host.runs import noise, run_sampler, small_motion

GRID = (2, 4, 4)
SIGMAS = [1.0, 0.9, 0.8]
FORBIDDEN = ("socket.", "subprocess.", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.", "pickle.find_class")
PROGRAMS = ("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pty.spawn")


@pytest.fixture
def asked():
    """What Python's own audit sees of that, as it happens. A hook stays in its process, so it is switched."""
    seen, on = [], [True]

    def note(event, arguments):
        if on[0] and event.startswith((*FORBIDDEN, *PROGRAMS)):
            seen.append((event, str(arguments)[:200]))

    sys.addaudithook(note)
    yield seen
    on[0] = False


def test_the_audit_sees_a_connection(asked):
    import socket

    with socket.socket() as one, pytest.raises(OSError):
        one.connect(("127.0.0.1", 1))
    assert "socket.connect" in {event for event, _ in asked}


def test_a_guided_run_connects_to_nothing_and_starts_nothing(pack, tiny_model, vae, prompt, tmp_path, asked):
    import comfy.k_diffusion.sampling

    core = pack("fastvmt_core.config")
    frames = torch.rand(5, 64, 64, 3, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        pack("nodes.host.files.vae").encode_video(vae, frames, tiled=False)
    motion = small_motion(pack, tiny_model, prompt, noise(1, GRID), 2)
    motion.save(tmp_path / "walk.safetensors")
    loaded = pack("fastvmt_core.motion.embedding").MotionEmbedding.load(tmp_path / "walk.safetensors")
    config = core.GuidanceConfig(inner_steps=1, end_percent=1)
    guided = pack("nodes.host.sampling.wrapper").apply_motion(tiny_model, loaded, core.LossWeights(), config, None)
    found = run_sampler(guided, prompt, comfy.k_diffusion.sampling.sample_euler, noise(2, GRID), SIGMAS)
    assert torch.isfinite(found).all()
    assert asked == []
