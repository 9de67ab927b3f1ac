"""Signals and motions of made-up clips, for the tests of objectives."""

from __future__ import annotations

import torch

from fastvmt_core.config import AMFConfig
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.fingerprint import ModelFingerprint
from fastvmt_core.objectives.protocol import Signals

GRID = TokenGrid(3, 4, 5)
CONFIG = AMFConfig(temporal_span=3, window=3, tile=(2, 2), sharpness=4)
CPU = torch.device("cpu")
FINGERPRINT = ModelFingerprint("WanModel", dim=12, heads=2, depth=4, block=2, latent_channels=4)


def signals(seed, dtype=torch.float32, grid=GRID):
    """All that an objective may ask for, random, each with a gradient of its own."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    q, k, v = (random(*grid.as_tuple, 2, 6).requires_grad_() for _ in "qkv")
    latent = random(4, grid.frames, 2 * grid.height, 2 * grid.width)
    velocity = random(*latent.shape)
    hidden = random(*grid.as_tuple, 16).requires_grad_()
    return Signals(q, k, v, hidden, velocity, latent.requires_grad_(), 0.5)


def detached(clip):
    """The same signals without gradient, as reading a reference meets them."""
    return Signals(**{name: s.detach() if torch.is_tensor(s) else s for name, s in vars(clip).items()})


def motion_of(method, clip, grid=GRID, config=CONFIG, **more):
    """The motion of a clip, as reading it for an objective gives it; its latent is what `velocity` predicts."""
    clip = detached(clip)
    config = method.flow_config(config, grid.frames)
    target = {name: tensor.float() for name, tensor in method.read(clip).items()}
    return MotionEmbedding(
        flows=(method.flow(clip, config),),
        sigmas=(0.3,),
        grid=grid,
        config=config,
        seed=0,
        fingerprint=FINGERPRINT,
        reference=(clip.latent - clip.sigma * clip.velocity)[None].float(),
        reference_hash="made up",
        objective=method.name,
        targets=(target,) if target else (),
        **more,
    )


def compared(method, motion, clip, sigma=0.3):
    """The loss of a clip against a motion."""
    return method.target(motion, sigma, CPU).loss(clip)
