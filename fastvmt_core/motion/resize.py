"""A motion for another size or length than its reference's.

Axes: F latent frames, H and W rows and columns of tokens, C channels.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from einops import rearrange
from kornia.geometry.transform import resize
from torch import Tensor

from ..attention.windows import Tiling
from ..grid import TokenGrid
from ..video.cuts import carried_cuts
from .bounds import bounded, bounded_flows
from .embedding import MotionEmbedding
from .fields import edited_hash, frame_flow_of, on_tokens, own_centres
from .half_size import WITHOUT_HALF_SIZE
from .header import FASTVMT
from .retime import nearest_frames, retimed


def fit_to(motion: MotionEmbedding, grid: TokenGrid) -> MotionEmbedding:
    """The motion for another size and length: retimed to as many frames, resampled, its vectors and window scaled.

    Returns:
        The motion itself if the grid is its own.
    """
    if grid == motion.grid:
        return motion
    if grid.frames != motion.grid.frames:
        motion = retimed(motion, _times(motion, grid.frames), f"{grid.frames} frames")
    return motion if grid == motion.grid else _resized(motion, grid)


def for_guidance(motion: MotionEmbedding, grid: TokenGrid) -> MotionEmbedding:
    """The motion as `fit_to` makes it, without its reference's latent where its objective does not need it."""
    if grid == motion.grid:
        return motion
    reference = None if motion.objective == FASTVMT else motion.reference
    return fit_to(replace(motion, frame_flow=frame_flow_of(motion), reference=reference), grid)


def cuts_at(motion: MotionEmbedding, frames: int) -> tuple[int, ...]:
    """The latent frames that begin a shot once the motion is retimed to as many frames as `fit_to` does it."""
    return carried_cuts(motion.cuts, nearest_frames(_times(motion, frames)))


def _times(motion: MotionEmbedding, frames: int) -> list[float]:
    """Which time of the motion each of so many frames shows, from its first frame to its last."""
    last, intervals = motion.grid.frames - 1, max(1, frames - 1)
    return [frame * last / intervals for frame in range(frames)]


def grid_for(motion: MotionEmbedding, frames: int, height: int, width: int) -> TokenGrid:
    """The grid of a clip of that many latent frames and of height x width pixels; a side of 0 is the motion's own."""
    own = motion.grid
    rows, columns = (-(-side // motion.fingerprint.pixels_per_token) for side in (height, width))
    return TokenGrid(frames, rows or own.height, columns or own.width)


def size_change(motion: MotionEmbedding, grid: TokenGrid) -> float:
    """The largest ratio between the motion's frames, rows, columns or shape and the grid's; 1 if none changes."""
    ratios = [new / old for new, old in zip(grid.as_tuple, motion.grid.as_tuple, strict=True)]
    ratios.append(ratios[2] / ratios[1])
    return max(max(ratio, 1 / ratio) for ratio in ratios)


def _resized(motion: MotionEmbedding, grid: TokenGrid) -> MotionEmbedding:
    """The motion on another number of rows and columns."""
    motion.require_flow_alone()
    scale = torch.tensor((grid.width / motion.grid.width, grid.height / motion.grid.height))

    def displacements(field: Tensor) -> Tensor:
        return _on_grid(field, grid) * scale

    config = replace(motion.config, window=_scaled_window(motion.config.window, math.sqrt(float(scale.prod()))))
    own = Tiling(grid.height, grid.width, config.tile).representatives()
    flows = []
    for flow in motion.flows:
        offset = displacements(on_tokens(flow.centres - own_centres(motion), motion))
        centres = own + offset[:, own[:, 1], own[:, 0]]
        flows.append(replace(flow, displacement=displacements(flow.displacement), centres=centres))
    return replace(
        motion,
        flows=bounded_flows(flows, grid),
        **WITHOUT_HALF_SIZE,
        grid=grid,
        config=config,
        static_bias=tuple(bounded(displacements(bias), grid) for bias in motion.static_bias),
        backward=tuple(bounded(displacements(field), grid) for field in motion.backward),
        reference=_resized_latent(motion, grid),
        reference_hash=edited_hash(motion, f"{grid.height}x{grid.width}"),
        frame_flow=bounded(displacements(frame_flow_of(motion)), grid),
        mask=None if motion.mask is None else _on_grid(motion.mask[..., None], grid)[..., 0].clamp(0, 1),
    )


def _on_grid(field: Tensor, grid: TokenGrid) -> Tensor:
    """(..., H, W, C) of another grid, resampled to this one's rows and columns."""
    lead = field.shape[:-3]
    flat = field.float().reshape(-1, *field.shape[-3:])
    if not len(flat):
        return torch.zeros(*lead, grid.height, grid.width, field.shape[-1])
    resampled = resize(rearrange(flat, "n h w c -> n c h w"), (grid.height, grid.width), antialias=True)
    return rearrange(resampled, "n c h w -> n h w c").reshape(*lead, grid.height, grid.width, -1)


def _scaled_window(window: int | None, ratio: float) -> int | None:
    """The window's side, tokens, on a grid whose sides are `ratio` times as long."""
    if window is None:
        return None
    scaled = window * ratio
    # An odd window stays odd: its middle is then a token, as it was.
    return max(1, 2 * math.floor(scaled / 2) + 1 if window % 2 else 2 * round(scaled / 2))


def _resized_latent(motion: MotionEmbedding, grid: TokenGrid) -> Tensor | None:
    if motion.reference is None:
        return None
    sides = zip(motion.reference.shape[3:], motion.grid.as_tuple[1:], grid.as_tuple[1:], strict=True)
    # Whole patches: a latent of odd sides is padded to them.
    size = tuple(new * math.ceil(pixels / old) for pixels, old, new in sides)
    frames = rearrange(motion.reference.float(), "1 c f h w -> f c h w")
    return rearrange(resize(frames, size, antialias=True), "f c h w -> 1 c f h w").to(motion.reference.dtype)
