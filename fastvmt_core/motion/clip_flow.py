"""The frame flow of a clip from its own frames: what is shown of a motion, what edits follow, and its camera.

A latent holds one frame for four of the video. Movement is matched from each frame of the video to the next instead,
and these steps are joined to those from one latent frame to the next.

Axes: T frames of the video, F latent frames, h and w rows and columns of the latent, H and W of tokens. The first axis
of a frame flow is the direction in time: 0 forward, 1 backward. Vectors are (x, y).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ..attention.windows import token_positions
from ..config import TrajectoryConfig
from ..grid import TEMPORAL_STRIDE, TokenGrid, first_video_frame, latent_frames
from .trajectories import latent_steps, stepped

MATCHING = TrajectoryConfig(reach=5.0, block=9, stillness=0.02)
"""Larger blocks than in a latent, which holds more in a pixel, and little stillness: frames have no noise to still.
Chosen on the clips of benchmarks/results/shown_motion.json."""
MOST_ACROSS = 160
"""Places along the longer side of a frame that are matched, at most: more take longer and show little more."""
LEAST_PIXELS = 4
"""Pixels between two such places, at least."""


def clip_steps(
    frames: Tensor,
    latent_size: tuple[int, int],
    config: TrajectoryConfig = MATCHING,
    on_frame: Callable[[], None] | None = None,
    cuts: Sequence[int] = (),
    stride: int = TEMPORAL_STRIDE,
) -> Tensor:
    """The frame flow of a clip on the pixels of its latent.

    Args:
        frames: (T, H, W, 3) in [0, 1], T = n * stride + 1.
        latent_size: (h, w) of its latent.
        config: how frames are matched; its lengths count in places of a frame that are matched.
        on_frame: called for each frame that is matched with the next, T - 1 times.
        cuts: frames that begin a new shot: nothing moves from one shot to the next.
        stride: frames of video to one latent frame after the first.

    Returns:
        (2, F - 1, h, w, 2) float32, latent pixels (dx, dy): [0, t] from latent frame t to t + 1, [1, t] from t + 1 to
        t, each on the pixels of the frame that it starts from.

    Raises:
        ValueError: the clip has another length.
    """
    count, (height, width) = latent_frames(len(frames), stride), latent_size
    per_pixel = _places_per_pixel(frames, latent_size)
    places = TokenGrid(len(frames), height * per_pixel, width * per_pixel)
    # Frame by frame: all of them in float32 may not fit beside the clip.
    images = (rearrange(frame[..., :3].detach(), "h w c -> c h w").float().cpu() for frame in frames)
    small = torch.stack([adaptive_avg_pool2d(image, (places.height, places.width)) for image in images], dim=1)
    steps = latent_steps(small[None], places, config, on_frame)
    steps[:, [cut - 1 for cut in cuts]] = 0
    own = token_positions(places.height, places.width)

    def moved(start: int, end: int) -> Tensor:
        """(h, w, 2) latent pixels: how far everything in latent frame `start` moves until `end`."""
        moments = zip(_moments(start, stride), _moments(end, stride), strict=True)
        joined = torch.stack([_joined(steps, *moment) - own for moment in moments])
        return reduce(joined, "m (h a) (w b) xy -> h w xy", "mean", a=per_pixel, b=per_pixel) / per_pixel

    between = [(moved(t, t + 1), moved(t + 1, t)) for t in range(count - 1)]
    if not between:
        return torch.zeros(2, 0, height, width, 2)
    return torch.stack([torch.stack(side) for side in zip(*between, strict=True)])


def steps_on_tokens(steps: Tensor, grid: TokenGrid) -> Tensor:
    """(2, F - 1, H, W, 2) tokens: a frame flow on latent pixels (2, F - 1, h, w, 2) on the tokens of `grid`."""
    height, width = steps.shape[2:4]
    if not steps.shape[1]:
        return steps.new_zeros(2, 0, grid.height, grid.width, 2)
    fields = rearrange(steps, "side f h w xy -> (side f) xy h w")
    on_tokens = rearrange(adaptive_avg_pool2d(fields, (grid.height, grid.width)), "(s f) xy h w -> s f h w xy", s=2)
    return on_tokens * steps.new_tensor((grid.width / width, grid.height / height))


def _places_per_pixel(frames: Tensor, latent_size: tuple[int, int]) -> int:
    """Places that are matched along a latent pixel: a power of two within the two bounds, 1 at least."""
    apart = min(side // pixels for side, pixels in zip(frames.shape[1:3], latent_size, strict=True))
    places = 1
    while 2 * places * LEAST_PIXELS <= apart and 2 * places * max(latent_size) <= MOST_ACROSS:
        places *= 2
    return places


def _moments(latent_frame: int, stride: int) -> tuple[int, int]:
    """The two frames of the video in the middle of a latent frame, which stand for it; of the first, its only one."""
    if latent_frame == 0:
        return 0, 0
    middle = first_video_frame(latent_frame, stride) + stride // 2
    return middle - 1, middle


def _joined(steps: Tensor, start: int, end: int) -> Tensor:
    """(H, W, 2): where everything in frame `start` is in frame `end`, by frame-to-frame steps (2, T - 1, H, W, 2)."""
    positions = token_positions(*steps.shape[2:4])
    while start < end:
        positions, start = stepped(positions, steps[0, start]), start + 1
    while start > end:
        positions, start = stepped(positions, steps[1, start - 1]), start - 1
    return positions
