"""Where the things of a clip go, token by token: what an edit of a motion carries along.

Attention says where a model looks, softly and drawn to places of its own; it moves with the things but is no measure of
their way. The ways come from the reference's latent, which is a small picture: its frames are matched as pictures are.
"""

from __future__ import annotations

import torch
from einops import rearrange, reduce
from kornia.geometry.transform import resize
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, max_pool2d, pad

from ..config import TrackConfig
from ..grid import TokenGrid


def latent_steps(latent: Tensor, grid: TokenGrid, config: TrackConfig) -> Tensor:
    """How far each token's content moves to the next frame and to the one before, by matching blocks of the latent.

    Args:
        latent: (1, C, F, h, w), the reference, model space.
        grid: its token grid.
        config: how far to look and what a block is.

    Returns:
        (2, F - 1, H, W, 2) float32, tokens (dx, dy): [0, t] from frame t to t + 1, [1, t] from frame t + 1 to t, each
        on the tokens of the frame that it starts from. Where a frame shows nothing to tell places apart, 0.
    """
    frames = rearrange(latent.detach().float().cpu(), "1 c f h w -> f c h w")
    scale = torch.tensor((grid.width / frames.shape[3], grid.height / frames.shape[2]))
    reach = max(1, round(config.reach / float(scale.min())))
    if len(frames) < 2:
        return torch.zeros(2, 0, grid.height, grid.width, 2)
    ways = [(_matched(*pair, reach, config), _matched(*pair[::-1], reach, config)) for pair in _neighbours(frames)]
    both = torch.stack([torch.stack([way[side] for way in ways]) for side in (0, 1)])
    shape = 2, len(ways)
    fields = rearrange(both * scale, "side f h w xy -> (side f) xy h w")
    on_tokens = resize(fields, (grid.height, grid.width), antialias=True)
    return rearrange(on_tokens, "(side f) xy h w -> side f h w xy", side=shape[0], f=shape[1]).contiguous()


def _neighbours(frames: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(frames[:-1], frames[1:], strict=True))


def _matched(first: Tensor, then: Tensor, reach: int, config: TrackConfig) -> Tensor:
    """(h, w, 2) latent pixels from `first` (C, h, w) to the block of `then` that is most like it, nearer ones first."""
    height, width = first.shape[1:]
    padded = pad(then[None], (reach,) * 4, mode="replicate")[0]
    side = 2 * reach + 1
    # What stands still costs this much at one pixel's distance: noise does not move, an object does.
    price = config.stillness * float((then - first).square().mean() + first.var())
    costs = torch.empty(side, side, height, width)
    for row in range(side):
        for column in range(side):
            moved = padded[:, row : row + height, column : column + width]
            cost = reduce((first - moved).square(), "c h w -> 1 1 h w", "mean")
            block = avg_pool2d(cost, config.block, 1, config.block // 2, count_include_pad=False)
            away = (row - reach) ** 2 + (column - reach) ** 2
            costs[row, column] = block[0, 0] + price * away / reach**2
    best = rearrange(costs, "a b h w -> (a b) h w").argmin(0)
    return _refined(costs, best // side, best % side) - reach


def _refined(costs: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """(h, w, 2) (x, y) of the least cost, between the samples by a parabola through its neighbours."""
    last = len(costs) - 1
    y, x = torch.meshgrid(*(torch.arange(side) for side in row.shape), indexing="ij")

    def vertex(before: Tensor, at: Tensor, after: Tensor) -> Tensor:
        bend = before - 2 * at + after
        return torch.where(bend > 1e-12, (before - after) / (2 * bend.clamp(min=1e-12)), 0).clamp(-0.5, 0.5)

    here = costs[row, column, y, x]
    up, down = costs[(row - 1).clamp(min=0), column, y, x], costs[(row + 1).clamp(max=last), column, y, x]
    left, right = costs[row, (column - 1).clamp(min=0), y, x], costs[row, (column + 1).clamp(max=last), y, x]
    inside = (row > 0) & (row < last), (column > 0) & (column < last)
    dy = torch.where(inside[0], vertex(up, here, down), 0)
    dx = torch.where(inside[1], vertex(left, here, right), 0)
    return torch.stack((column + dx, row + dy), dim=-1)


def places(height: int, width: int) -> Tensor:
    """(H, W, 2) float32 (x, y): each token's own place."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((x, y), dim=-1).float()


def tracks(steps: Tensor) -> Tensor:
    """(F, F, H, W, 2): [i, t] is the place in frame t of what token p of frame i shows, (x, y) in tokens.

    Args:
        steps: (2, F - 1, H, W, 2) as `latent_steps` gives them; they are followed one after the other.
    """
    count, height, width = steps.shape[1] + 1, steps.shape[2], steps.shape[3]
    own = places(height, width)
    found = own.expand(count, count, -1, -1, -1).clone()
    for start in range(count):
        for time in range(start, count - 1):
            found[start, time + 1] = _stepped(found[start, time], steps[0, time])
        for time in range(start, 0, -1):
            found[start, time - 1] = _stepped(found[start, time], steps[1, time - 1])
    return found


def _stepped(place: Tensor, step: Tensor) -> Tensor:
    """`place` (H, W, 2) moved by the field `step` (H, W, 2) as it is there; it stays inside the frame."""
    height, width = step.shape[:2]
    last = torch.tensor((width - 1, height - 1), dtype=torch.float32)
    return torch.minimum((place + sampled(step, place)).clamp(min=0), last)


def sampled(field: Tensor, place: Tensor) -> Tensor:
    """(H', W', C): `field` (H, W, C) at `place` (H', W', 2) in tokens, bilinear, its border continued."""
    height, width = field.shape[:2]
    size = torch.tensor((max(1, width - 1), max(1, height - 1)), dtype=torch.float32)
    where = (place / size * 2 - 1)[None]
    values = rearrange(field.float(), "h w c -> 1 c h w")
    found = grid_sample(values, where, mode="bilinear", padding_mode="border", align_corners=True)
    return rearrange(found, "1 c h w -> h w c")


def extent(found: Tensor) -> Tensor:
    """(F, H, W) tokens: how far what a token shows ever gets from there; `found` are `tracks`."""
    own = places(*found.shape[2:4])
    return torch.linalg.vector_norm(found - own, dim=-1).amax(1)


def with_surroundings(found: Tensor, config: TrackConfig) -> Tensor:
    """Tracks whose moving things take the tokens around them along: attention beside a thing speaks of it too.

    A token gets the way of whatever within `config.halo` tokens moves farthest, from its own place.
    """
    count, _, height, width, _ = found.shape
    side = 2 * config.halo + 1
    moves = extent(found)
    _, index = max_pool2d(moves[:, None], side, 1, config.halo, return_indices=True)
    index = rearrange(index, "f 1 h w -> f (h w)")
    ways = rearrange(found - places(height, width), "f t h w xy -> f (h w) t xy")
    led = torch.stack([way[leader] for way, leader in zip(ways, index, strict=True)])
    return rearrange(led, "f (h w) t xy -> f t h w xy", h=height) + places(height, width)


def camera_path(steps: Tensor) -> Tensor:
    """(F, 2) tokens since frame 0: the median of all tokens' steps, which is the background's where most is background.

    Args:
        steps: (2, F - 1, H, W, 2) as `latent_steps` gives them.
    """
    medians = rearrange(steps[0], "f h w xy -> f (h w) xy").median(1).values
    return torch.cat((torch.zeros(1, 2), medians.cumsum(0)))
