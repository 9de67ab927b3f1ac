"""The token grid of a video DiT and the length arithmetic of video VAEs, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .checks import require_whole

TEMPORAL_STRIDE = 4
"""Frames of video to one latent frame after the first (the VAEs of Wan and Hunyuan; of LTX-Video and
Cosmos 1: 8; of Mochi: 6)."""
SHORTEST_MOTION = TEMPORAL_STRIDE + 1
"""Frames of the shortest video of two latent frames: a single one shows no motion."""


@dataclass(frozen=True)
class TokenGrid:
    """Tokens of one clip after the DiT's patchify: latent frames x rows x columns.

    Raises:
        ValueError: a side is not a whole number of at least 1; the message names it.
    """

    frames: int
    """F, latent frames (times the patch's temporal size)."""
    height: int
    """H, tokens."""
    width: int
    """W, tokens."""

    def __post_init__(self) -> None:
        for name in ("frames", "height", "width"):
            require_whole(name, getattr(self, name))

    @classmethod
    def of_latent(cls, shape: Sequence[int], patch: tuple[int, int, int] = (1, 2, 2)) -> TokenGrid:
        """The grid of a latent whose shape ends in (F, h, w); sides that the patch does not divide are padded up.

        Raises:
            ValueError: the shape has fewer than three sides, or a side or the patch is not positive.
        """
        if len(shape) < 3:
            raise ValueError(f"latent shape: expected it to end in (frames, height, width), got {tuple(shape)}.")
        if len(patch) != 3 or any(size < 1 for size in patch):
            raise ValueError(f"patch: expected three whole numbers of at least 1, got {patch!r}.")
        frames, height, width = (-(-int(side) // size) for side, size in zip(shape[-3:], patch, strict=True))
        return cls(frames, height, width)

    @property
    def tokens(self) -> int:
        """All tokens of the clip: F * H * W."""
        return self.frames * self.height * self.width

    @property
    def halved(self) -> TokenGrid:
        """The grid of the same latent at half its height and width."""
        return TokenGrid(self.frames, -(-self.height // 2), -(-self.width // 2))

    @property
    def as_tuple(self) -> tuple[int, int, int]:
        """(F, H, W)."""
        return self.frames, self.height, self.width

    def __str__(self) -> str:
        return f"{self.frames} x {self.height} x {self.width} tokens (frames x rows x columns)"


def video_length(frames: int, stride: int = TEMPORAL_STRIDE) -> int:
    """The largest length n * stride + 1 that `frames` frames of video can fill (the VAEs take no other).

    Raises:
        ValueError: there is not a single frame.
    """
    require_whole("frames", frames)
    return (frames - 1) // stride * stride + 1


def first_video_frame(latent_frame: int, stride: int = TEMPORAL_STRIDE) -> int:
    """The first frame of video, from 0, that latent frame `latent_frame` holds: 0, 1, 5, 9, ..."""
    return max(0, (latent_frame - 1) * stride + 1)


def latent_frame_of(video_frame: int, stride: int = TEMPORAL_STRIDE) -> int:
    """The latent frame that holds a frame of video, both from 0.

    Raises:
        ValueError: the number is negative.
    """
    require_whole("frame", video_frame, low=0)
    return -(-video_frame // stride)


def latent_frames(length: int, stride: int = TEMPORAL_STRIDE) -> int:
    """Latent frames of a video of n * stride + 1 frames: n + 1.

    Raises:
        ValueError: the length is not of that form; `video_length` gives the nearest one below.
    """
    require_whole("length", length)
    if (length - 1) % stride:
        raise ValueError(
            f"length: expected {stride}n + 1 frames, got {length}; use {video_length(length, stride)} frames."
        )
    return (length - 1) // stride + 1
