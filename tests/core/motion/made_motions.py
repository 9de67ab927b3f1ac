"""Motions whose movement is known, for the tests of edits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch

from fastvmt_core.attention.flow import AttentionMotionFlow
from fastvmt_core.attention.windows import Tiling, frame_pairs, token_positions
from fastvmt_core.config import AMFConfig
from fastvmt_core.grid import TokenGrid
from fastvmt_core.motion.about import About
from fastvmt_core.motion.embedding import MotionEmbedding
from fastvmt_core.motion.fingerprint import ModelFingerprint

GRID = TokenGrid(5, 9, 10)
CONFIG = AMFConfig(temporal_span=3, window=5, tile=(3, 5))
FINGERPRINT = ModelFingerprint("WAN21", dim=256, heads=2, depth=6, block=3, latent_channels=16)
# Sums of a few float32 of order 10.
CLOSE = {"atol": 1e-5, "rtol": 0}
# A disc of seven tokens, sampled between tokens: its motion is known to a few hundredths of its length.
NEAR = {"atol": 0.1, "rtol": 0.04}


def made(displacement, grid=GRID, config=CONFIG, **more):
    """A motion of one flow; window centres lie on the tiles."""
    pairs = frame_pairs(grid.frames, config.temporal_span)
    own = Tiling(grid.height, grid.width, config.tile).representatives().float()
    flow = AttentionMotionFlow(
        pairs, displacement, own.expand(len(pairs), -1, -1).clone(), temporal_span=config.temporal_span
    )
    return MotionEmbedding((flow,), (0.3,), grid, config, 0, FINGERPRINT, None, "made", **more)


def steps_of_path(path, radius=1.5, grid=GRID):
    """(2, F - 1, H, W, 2): a disc on `path` (F, 2) over a still background."""
    own, steps = token_positions(grid.height, grid.width), torch.zeros(2, grid.frames - 1, grid.height, grid.width, 2)
    for time in range(grid.frames - 1):
        for side, (start, end) in enumerate(((time, time + 1), (time + 1, time))):
            on = torch.linalg.vector_norm(own - path[start], dim=-1) <= radius
            steps[side, time][on] = path[end] - path[start]
    return steps


def flow_of_path(path, radius=1.5, grid=GRID, config=CONFIG):
    """(P, H, W, 2): the disc's tokens move with it."""
    own, fields = token_positions(grid.height, grid.width), []
    for i, j in frame_pairs(grid.frames, config.temporal_span):
        on = torch.linalg.vector_norm(own - path[i], dim=-1) <= radius
        fields.append(torch.where(on[..., None], path[j] - path[i], 0))
    return torch.stack(fields)


PATH = torch.tensor([[3.0, 4], [4, 4], [5, 4], [6, 4], [7, 4]])


def disc(path=PATH, **more):
    return made(flow_of_path(path), frame_flow=steps_of_path(path), **more)


def noisy(seed=0, **more):
    """A motion of small random vectors that holds everything that a motion can hold."""
    generator = torch.Generator().manual_seed(seed)
    shape = len(frame_pairs(GRID.frames, 3)), GRID.height, GRID.width, 2

    def random(*size):
        return torch.rand(size, generator=generator) - 0.5

    fields = {
        "static_bias": (random(*shape),),
        "backward": (random(*shape),),
        "frame_flow": random(2, 4, 9, 10, 2),
        "mask": random(5, 9, 10) + 0.5,
        "thumbnail": (256 * (random(4, 6, 3) + 0.5)).to(torch.uint8),
        "about": About("walk", "left to right", 832, 480, 16.0),
        "cuts": (2,),
    }
    motion = made(random(*shape), **{**fields, **more})
    flow = motion.flows[0]
    centres = (flow.centres + 2 * random(*flow.centres.shape)).clamp(min=0)
    flow = replace(flow, centres=torch.minimum(centres, torch.tensor((9.0, 8.0))))
    return replace(motion, flows=(flow,))


def tensors_of(motion):
    flow = motion.flows[0]
    of_flows = [flow.displacement, flow.centres, *motion.static_bias, *motion.backward]
    return [*of_flows, motion.frame_flow, motion.mask, motion.thumbnail.float()]


def panned(step=(0.5, 0.25)):
    """A disc that moves to the left before a background that moves by `step` a frame."""
    step, grid = torch.tensor(step), GRID
    path = torch.tensor([[6.0, 4], [5.5, 4], [5, 4], [4.5, 4], [4, 4]])
    on = [torch.linalg.vector_norm(token_positions(9, 10) - centre, dim=-1) <= 1.5 for centre in path]
    fields = [torch.where(on[i][..., None], path[j] - path[i], (j - i) * step) for i, j in frame_pairs(grid.frames, 3)]
    steps = torch.stack(
        (
            torch.stack([torch.where(on[t][..., None], path[t + 1] - path[t], step) for t in range(4)]),
            torch.stack([torch.where(on[t + 1][..., None], path[t] - path[t + 1], -step) for t in range(4)]),
        )
    )
    return made(torch.stack(fields), frame_flow=steps), step


@cache
def filmed(start=(5.0, 8.0), step=(2.0, 1.0)):
    """A motion that keeps its latent: a disc on a line before a textured background; and the disc's path on it."""
    generator = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(torch.arange(18), torch.arange(20), indexing="ij")
    path = torch.tensor(start) + torch.arange(5)[:, None] * torch.tensor(step)
    back = 0.3 * torch.randn(16, 1, 18, 20, generator=generator).expand(-1, 5, -1, -1)
    appearance = torch.randn(16, generator=generator)[:, None, None, None]
    inside = torch.stack([(x - px) ** 2 + (y - py) ** 2 <= 6 for px, py in path])
    latent = torch.where(inside, appearance, back)[None].contiguous()
    return replace(made(torch.zeros(12, 9, 10, 2)), reference=latent), path, appearance


def seen_path(latent, appearance):
    """(F, 2): where a latent shows the disc, as the centre of its appearance."""
    likeness = (-(latent[0] - appearance).square().mean(0) / 0.1).exp()
    y, x = torch.meshgrid(torch.arange(latent.shape[3]), torch.arange(latent.shape[4]), indexing="ij")
    total = likeness.sum((1, 2))
    return torch.stack(((likeness * x).sum((1, 2)) / total, (likeness * y).sum((1, 2)) / total), 1)
