"""Trajectories of everything in a clip, token by token: what an edit of a motion carries vectors along.

Attention is soft and has a static bias: it changes with the motion but does not measure it.
Trajectories come from the reference's latent instead, which is a small image of every frame: block matching from each
latent frame to the next gives the frame flow, and following the frame flow gives the trajectories.

Axes: F latent frames, H and W rows and columns of tokens, C channels of the latent, h and w its rows and columns. The
first axis of a frame flow is the direction in time: 0 forward, 1 backward. Positions and vectors are (x, y).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from einops import rearrange, reduce
from kornia.geometry.transform import resize
from torch import Tensor
from torch.nn.functional import grid_sample, max_pool2d, pad

from ..attention.windows import token_positions
from ..config import TrajectoryConfig
from ..grid import TokenGrid
from .bounds import bounded

_LEAST_STILLNESS = 1e-12


def latent_steps(
    latent: Tensor, grid: TokenGrid, config: TrajectoryConfig, on_pair: Callable[[], None] | None = None
) -> Tensor:
    """The frame flow: how far each token's content moves to the next frame and to the one before.

    Args:
        latent: (1, C, F, h, w), the reference, model space.
        grid: its token grid.
        config: search radius and size of a block.
        on_pair: called after each pair of neighbouring frames, F - 1 times.

    Returns:
        (2, F - 1, H, W, 2) float32, tokens (dx, dy): [0, t] from frame t to t + 1, [1, t] from frame t + 1 to t, each
        on the tokens of the frame that it starts from. 0 in areas without texture, which match everywhere. No step is
        longer than the frame.
    """
    frames = rearrange(latent.detach().float().cpu(), "1 c f h w -> f c h w")
    scale = torch.tensor((grid.width / frames.shape[3], grid.height / frames.shape[2]))
    radius = max(1, round(config.reach / float(scale.min())))
    if len(frames) < 2:
        return torch.zeros(2, 0, grid.height, grid.width, 2)
    pairs = []
    for now, later in itertools.pairwise(frames):
        pairs.append(torch.stack((_matched(now, later, radius, config), _matched(later, now, radius, config))))
        if on_pair is not None:
            on_pair()
    both = torch.stack(pairs, dim=1)
    fields = rearrange(both * scale, "side f h w xy -> (side f) xy h w")
    on_tokens = resize(fields, (grid.height, grid.width), antialias=True)
    return bounded(rearrange(on_tokens, "(side f) xy h w -> side f h w xy", side=2), grid).contiguous()


def _matched(first: Tensor, second: Tensor, radius: int, config: TrajectoryConfig) -> Tensor:
    """(h, w, 2) latent pixels: the displacement from `first` (C, h, w) to the best block of `second`.

    The displacement d is the one of least cost within `radius` latent pixels along each axis:
    cost(d) = error(d) + stillness (error(0) + variance) (|d| / radius)^2, with error(d) the mean squared difference of
    a block and the block d away, error(0) the same at d = 0 over the whole frame, and variance that of `first`. The
    second term keeps still what noise alone would move.
    """
    height, width = first.shape[1:]
    padded = pad(second[None], (radius,) * 4, mode="replicate")[0]
    side = 2 * radius + 1
    # Without any contrast all displacements would cost the same, and the first of them be the best.
    stillness = max(config.stillness * float((second - first).square().mean() + first.var()), _LEAST_STILLNESS)
    costs = torch.empty(side, side, height, width)
    columns_squared = rearrange((torch.arange(side) - radius) ** 2, "columns -> columns 1 1")
    of_block = _block_sums(torch.ones(1, height, width), config.block)
    for row in range(side):
        # A row of displacements at once, which torch computes in parallel.
        shifted = rearrange(padded[:, row : row + height].unfold(2, width, 1), "c h columns w -> columns c h w")
        error = reduce((shifted - first).square(), "columns c h w -> columns h w", "mean")
        distance_squared = (row - radius) ** 2 + columns_squared
        costs[row] = _block_sums(error, config.block) / of_block + stillness * distance_squared / radius**2
    # Faster than argmin, which goes through memory in strides.
    best = rearrange(costs, "a b h w -> (a b) h w").min(0).indices
    return _refined(costs, best // side, best % side) - radius


def _block_sums(field: Tensor, block: int) -> Tensor:
    """(N, h, w): the sum of `field` over the block around each place, as far as it is in the frame."""
    height, width = field.shape[1:]
    # Rows, then columns, of slices: far faster than pooling, which reads block^2 values one by one.
    rows = pad(field, (0, 0, block // 2, block // 2))
    columns = pad(sum(rows[:, start : start + height] for start in range(block)), (block // 2, block // 2))
    return sum(columns[..., start : start + width] for start in range(block))


def _refined(costs: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """(h, w, 2) (x, y) of the least cost, between the samples by a parabola through its neighbours."""
    last = len(costs) - 1
    y, x = torch.meshgrid(*(torch.arange(side) for side in row.shape), indexing="ij")

    def vertex(before: Tensor, at: Tensor, after: Tensor) -> Tensor:
        curvature = before - 2 * at + after
        offset = (before - after) / (2 * curvature.clamp(min=1e-12))
        return torch.where(curvature > 1e-12, offset, 0).clamp(-0.5, 0.5)

    least = costs[row, column, y, x]
    up, down = costs[(row - 1).clamp(min=0), column, y, x], costs[(row + 1).clamp(max=last), column, y, x]
    left, right = costs[row, (column - 1).clamp(min=0), y, x], costs[row, (column + 1).clamp(max=last), y, x]
    inside = (row > 0) & (row < last), (column > 0) & (column < last)
    dy = torch.where(inside[0], vertex(up, least, down), 0)
    dx = torch.where(inside[1], vertex(left, least, right), 0)
    return torch.stack((column + dx, row + dy), dim=-1)


def trajectories(steps: Tensor) -> Tensor:
    """(F, F, H, W, 2) tokens: [i, t] is the position in frame t of what token p of frame i shows.

    Args:
        steps: (2, F - 1, H, W, 2), a frame flow; its steps are followed one after the other.
    """
    count, height, width = steps.shape[1] + 1, steps.shape[2], steps.shape[3]
    own = token_positions(height, width)
    positions = own.expand(count, count, -1, -1, -1).clone()
    for start in range(count):
        for time in range(start, count - 1):
            positions[start, time + 1] = stepped(positions[start, time], steps[0, time])
        for time in range(start, 0, -1):
            positions[start, time - 1] = stepped(positions[start, time], steps[1, time - 1])
    return positions


def stepped(positions: Tensor, step: Tensor) -> Tensor:
    """`positions` (H, W, 2) moved by the field `step` (H, W, 2) sampled at them; they stay inside the frame."""
    height, width = step.shape[:2]
    last = torch.tensor((width - 1, height - 1), dtype=torch.float32)
    return torch.minimum((positions + sampled(step, positions)).clamp(min=0), last)


def sampled(field: Tensor, positions: Tensor) -> Tensor:
    """(H', W', C): `field` (H, W, C) at `positions` (H', W', 2) in tokens, bilinear, its border continued."""
    height, width = field.shape[:2]
    size = torch.tensor((max(1, width - 1), max(1, height - 1)), dtype=torch.float32)
    normalized = (positions / size * 2 - 1)[None]
    values = rearrange(field.float(), "h w c -> 1 c h w")
    samples = grid_sample(values, normalized, mode="bilinear", padding_mode="border", align_corners=True)
    return rearrange(samples, "1 c h w -> h w c")


def extent(positions: Tensor) -> Tensor:
    """(F, H, W) tokens: the largest distance of each trajectory from its own token.

    Args:
        positions: (F, F, H, W, 2), `trajectories`.
    """
    own = token_positions(*positions.shape[2:4])
    return torch.linalg.vector_norm(positions - own, dim=-1).amax(1)


def with_surroundings(positions: Tensor, config: TrajectoryConfig) -> Tensor:
    """(F, F, H, W, 2): trajectories of which those beside a moving object go with it.

    Attention beside an object refers to the object too. A token takes over the displacements of whichever token within
    `config.halo` moves farthest.

    Args:
        positions: (F, F, H, W, 2), `trajectories`.
        config: the halo.
    """
    height, width = positions.shape[2:4]
    side = 2 * config.halo + 1
    # Max pooling also returns the index of each window's maximum: torch has no other argmax over a neighbourhood.
    _, leaders = max_pool2d(extent(positions)[:, None], side, 1, config.halo, return_indices=True)
    leaders = rearrange(leaders, "f 1 h w -> f (h w)")
    own = token_positions(height, width)
    displacements = rearrange(positions - own, "f t h w xy -> f (h w) t xy")
    followed = torch.stack([frame[leader] for frame, leader in zip(displacements, leaders, strict=True)])
    return rearrange(followed, "f (h w) t xy -> f t h w xy", h=height) + own


def camera_path(steps: Tensor) -> Tensor:
    """(F, 2) tokens since frame 0: the median step of all tokens, which is the background's if that is the majority.

    Args:
        steps: (2, F - 1, H, W, 2), a frame flow.
    """
    medians = rearrange(steps[0], "f h w xy -> f (h w) xy").median(1).values
    return torch.cat((torch.zeros(1, 2), medians.cumsum(0)))
