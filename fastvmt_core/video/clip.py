"""Fit a reference clip to a rate, a length and a size that the model can take.

Axes: T frames of video, H and W pixels, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from kornia.geometry.transform import resize
from torch import Tensor

from ..config import PIXELS_PER_TOKEN, ClipConfig, Fit
from ..grid import TEMPORAL_STRIDE, video_length

FRAMES_AT_ONCE, PIXELS_AT_ONCE = 8, 16_000_000
"""Frames, and pixels of them, that are resized together at most; a larger frame is resized alone."""

MOST_FRAMES = 4097
"""Of a reference, as its length widget allows."""
MOST_PIXELS = 600_000_000
"""In all frames of a clip that is drawn, or read at once: 7 GB in float32."""


@dataclass(frozen=True, eq=False)
class FittedClip:
    """A clip that the VAE can encode, and a report of what was changed."""

    frames: Tensor
    """(T, height, width, 3) in [0, 1], T = 4n + 1, both sides multiples of 16."""
    report: str
    """One sentence per change, for the user."""

    @property
    def length(self) -> int:
        """Frames."""
        return self.frames.shape[0]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.frames.shape[1]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.frames.shape[2]


def fit_clip(
    frames: Tensor,
    config: ClipConfig,
    name: str = "frames",
    stride: int = TEMPORAL_STRIDE,
    room: float = math.inf,
) -> FittedClip:
    """Resample a clip in time, cut it to n * stride + 1 frames, and resize it.

    Args:
        frames: (T, H, W, 3 or more channels) in [0, 1]; further channels are dropped.
        config: the rate, length, size and fit to reach.
        name: the input that the clip comes from, for errors.
        stride: frames of video to one latent frame after the first.
        room: bytes that the fitted clip may take, where it is a copy.

    Returns:
        The fitted clip. A clip that fits already keeps every pixel, and its memory.

    Raises:
        ValueError: the frames have a wrong shape or hold NaN, the clip is smaller than one token, or its rate makes
            more than MOST_FRAMES of it where no length is asked for, or there is no room for it.
    """
    require_clip(name, frames)
    resampled = _resampled_length(len(frames), config)
    length = video_length(min(resampled, config.length or resampled), stride)
    height, width = _target_size(name, frames, config)
    picked = _picked(len(frames), length, config)
    copied = (height, width) != tuple(frames.shape[1:3]) or not _all_in_order(picked)
    needed = 3 * frames.element_size() * length * height * width
    if copied and needed > room:
        raise ValueError(
            f"width, height, length: expected a clip that fits into the {room / 1e9:.1f} GB of free memory, got "
            f"{length} frames of {width} x {height} pixels, which take {needed / 1e9:.1f} GB; lower one of them."
        )
    fitted = _resized(frames[..., :3], picked, height, width, config.fit)
    return FittedClip(fitted, _report(frames, resampled, fitted, config, stride))


def require_clip(name: str, frames: Tensor) -> None:
    """Refuse what is no clip of images.

    Args:
        name: the input, for the error.
        frames: expected (T, H, W, 3 or more channels), finite.

    Raises:
        ValueError: the shape is wrong, or a value is not finite.
    """
    if frames.ndim != 4 or frames.shape[-1] < 3 or min(frames.shape) < 1:
        raise ValueError(
            f"{name}: expected a clip of shape (frames, height, width, 3), got {tuple(frames.shape)}; connect the "
            "images of Get Video Components."
        )
    # Frame by frame: the test of a whole clip takes one and a half times the clip's memory.
    if not all(bool(torch.isfinite(frame).all()) for frame in frames):
        raise ValueError(f"{name}: expected finite pixel values, got NaN or infinity; check what made the clip.")


def require_pixels(width: int, height: int, length: int) -> None:
    """Refuse a clip of more pixels than memory, and attention, can hold.

    Raises:
        ValueError: it has more than MOST_PIXELS.
    """
    if (pixels := width * height * length) > MOST_PIXELS:
        raise ValueError(
            f"width, height, length: expected at most {MOST_PIXELS:,} pixels in all frames, got {pixels:,}; choose a "
            "smaller size or fewer frames."
        )


def _resampled_length(count: int, config: ClipConfig) -> int:
    """Frames of a clip of `count` at the target's rate."""
    if config.source_fps in (0.0, config.target_fps):
        return count
    resampled = max(1, round(count / config.source_fps * config.target_fps))
    if not config.length and resampled > max(count, MOST_FRAMES):
        raise ValueError(
            f"source_fps: expected the clip's own rate, got {config.source_fps:g}, at which its {count} frames become "
            f"{resampled} at {config.target_fps:g} frames per second, more than {MOST_FRAMES}; set it right, to 0 to "
            "take the frames as they are, or set a length."
        )
    return resampled


def _picked(count: int, length: int, config: ClipConfig) -> list[int]:
    """Of `count` frames the numbers of those nearest in time to the first `length` of the target's."""
    ratio = config.source_fps / config.target_fps if config.source_fps else 1.0
    return [min(count - 1, int(frame * ratio + 0.5)) for frame in range(length)]


def _all_in_order(picked: Sequence[int]) -> bool:
    return list(picked) == [*range(len(picked))]


def scaled(side: int, scale: float) -> int:
    """Pixels of a side times `scale`; at least one."""
    return max(1, round(side * scale))


def _target_size(name: str, frames: Tensor, config: ClipConfig) -> tuple[int, int]:
    """(height, width); 0 in the settings is the clip's own side, rounded down to whole tokens."""
    own = [side // PIXELS_PER_TOKEN * PIXELS_PER_TOKEN for side in frames.shape[1:3]]
    height, width = config.height or own[0], config.width or own[1]
    if min(height, width) < 1:
        raise ValueError(
            f"{name}: expected at least {PIXELS_PER_TOKEN} x {PIXELS_PER_TOKEN} pixels, got {frames.shape[2]} x "
            f"{frames.shape[1]}; set width and height to enlarge the clip."
        )
    return height, width


def resized_frames(frames: Tensor, size: tuple[int, int], picked: Sequence[int] | None = None) -> Tensor:
    """(T, height, width, C): the picked frames of (T, H, W, C) in [0, 1] at `size` = (height, width), antialiased."""
    return _resized(frames, range(len(frames)) if picked is None else picked, *size, "stretch")


def _resized(frames: Tensor, picked: Sequence[int], height: int, width: int, fit: Fit) -> Tensor:
    """(T, height, width, C): the picked frames, antialiased, with what `fit` does about another aspect ratio."""
    if frames.shape[1:3] == (height, width):
        # Frames that are all used are not copied.
        return frames[: len(picked)] if _all_in_order(picked) else frames[list(picked)]
    scales = height / frames.shape[1], width / frames.shape[2]
    scale = max(scales) if fit == "crop" else min(scales)
    inner = (height, width) if fit == "stretch" else tuple(scaled(side, scale) for side in frames.shape[1:3])
    # Where the frame lies in the resized image, and the image in the frame; one of them is 0 on each axis.
    sides = list(zip(inner, (height, width), strict=True))
    shown, room = [_middle(i, o) for i, o in sides], [_middle(o, i) for i, o in sides]
    fitted = frames.new_zeros(len(picked), height, width, frames.shape[3])
    # Antialiasing blurs a copy as large as the frames that it is given: a few at a time bound the memory.
    largest = max(math.prod(inner), frames.shape[1] * frames.shape[2])
    count = min(FRAMES_AT_ONCE, max(1, PIXELS_AT_ONCE // largest))
    for start in range(0, len(picked), count):
        part = frames[list(picked[start : start + count])]
        resized = resize(rearrange(part, "t h w c -> t c h w"), inner, antialias=True).clamp(0, 1)
        target = fitted[start : start + len(part), room[0], room[1]]
        target.copy_(rearrange(resized, "t c h w -> t h w c")[:, shown[0], shown[1]])
    return fitted


def _middle(whole: int, part: int) -> slice:
    """The middle `part` of `whole` pixels; all of them where the part is larger."""
    start = max(0, (whole - part) // 2)
    return slice(start, start + min(whole, part))


def size_change_text(before: Sequence[int], after: Sequence[int], fit: Fit) -> str:
    """What was done to frames of one (height, width) to give them another, for a report."""
    verb = {"crop": "cropped to fill", "pad": "padded with black to", "stretch": "stretched to"}[fit]
    if before[0] * after[1] == before[1] * after[0]:
        verb = "scaled to"
    return f"{before[1]} x {before[0]} pixels were {verb} {after[1]} x {after[0]}."


def fitted_text(fitted: Tensor) -> str:
    """How long and large fitted frames (T, H, W, C) are, for a report."""
    count = "1 frame" if len(fitted) == 1 else f"{len(fitted)} frames"
    return f"Reference: {count} of {fitted.shape[2]} x {fitted.shape[1]} pixels"


def _report(frames: Tensor, resampled: int, fitted: Tensor, config: ClipConfig, stride: int) -> str:
    """What changed, in the order in which it was done."""
    changes = []
    if resampled != len(frames):
        rates = f"{config.source_fps:g} to {config.target_fps:g} frames per second"
        changes.append(f"{len(frames)} frames became {resampled}, from {rates}.")
    if len(fitted) != resampled:
        asked = f"at most {config.length} were asked for, and " if config.length and config.length < resampled else ""
        changes.append(f"The first {len(fitted)} of {resampled} frames are used: {asked}the model takes {stride}n+1.")
    if config.length > resampled:
        changes.append(f"The clip is shorter than the {config.length} frames asked for.")
    if fitted.shape[1:3] != frames.shape[1:3]:
        changes.append(size_change_text(frames.shape[1:3], fitted.shape[1:3], config.fit))
    summary = f"{fitted_text(fitted)}."
    return " ".join([summary, *changes] if changes else [summary, "Nothing had to be changed."])
