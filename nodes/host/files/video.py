"""Frames of a VIDEO at another rate. Trap: the host decodes a whole file at once, takes its mean rate for every frame,
and leaves a phone's rotation to the player; so files are decoded here, frame by frame, by their time stamps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import comfy.model_management
import numpy as np
import torch
from comfy_api.latest import Input

from ....fastvmt_core.video.clip import MOST_FRAMES, resized_frames, scaled
from ..page.progress import raise_if_cancelled

if TYPE_CHECKING:
    from ....fastvmt_core.config import Fit


LARGE = 4
"""A frame of which each side is at least so many times the needed one is first shrunk by FFmpeg, to twice that."""


@dataclass(frozen=True)
class Size:
    """What the frames are to be fitted to; they are shrunk towards it while they are decoded."""

    height: int
    """Pixels; 0: the clip's own."""
    width: int
    """Pixels; 0: the clip's own."""
    fit: Fit

    def shrunk(self, height: int, width: int) -> tuple[int, int]:
        """The size that a frame of this size can be shrunk to before it is fitted; its own where that is no smaller."""
        if not self.height or not self.width:
            return height, width
        scales = self.height / height, self.width / width
        if self.fit == "stretch":
            return scaled(height, min(1.0, scales[0])), scaled(width, min(1.0, scales[1]))
        scale = min(1.0, max(scales) if self.fit == "crop" else min(scales))
        return scaled(height, scale), scaled(width, scale)


@dataclass(frozen=True, eq=False)
class VideoFrames:
    """A part of a video at another rate."""

    frames: torch.Tensor
    """(T, H, W, 3) in [0, 1], upright, shrunk towards the wanted size."""
    size: tuple[int, int]
    """Height and width of the video's upright frames, pixels."""
    fps: float
    """The video's own rate; 0 where the file does not name it."""
    seconds: float
    """Length of the part of the video that could be read; 0 where the file does not name it."""
    damaged: int
    """Packets, a frame each for the most part, that could not be decoded; the frames before them are shown longer."""


@dataclass(frozen=True)
class Picture:
    """A decoded frame and when it is shown."""

    image: av.VideoFrame
    seconds: Fraction

    @property
    def lasts(self) -> Fraction:
        """Seconds that it is shown; 0 where the file does not name them."""
        return Fraction(getattr(self.image, "duration", None) or 0) * (self.image.time_base or 0)


class NearestInTime:
    """Picks, of frames that come in order, those nearest to the moments 0, 1 / rate, 2 / rate, ...; of two equally near
    ones the later. Keeps two frames at a time.

    Args:
        rate: frames per second to pick.
        most: frames to pick at most.
    """

    def __init__(self, rate: Fraction, most: int) -> None:
        self._rate, self._most = rate, most
        self._picked = 0
        self._last: Picture | None = None
        self._step = Fraction(0)
        """Seconds between the last two frames."""

    @property
    def full(self) -> bool:
        """Whether no further frame is wanted."""
        return self._picked >= self._most

    def take(self, frame: Picture) -> Iterator[Picture]:
        """The frames that are picked now that `frame` is known."""
        last, self._last = self._last, frame
        if last is not None:
            self._step = frame.seconds - last.seconds
        while not self.full and self._moment <= frame.seconds:
            nearer = last is not None and self._moment - last.seconds < frame.seconds - self._moment
            self._picked += 1
            yield last if nearer and last is not None else frame

    @property
    def end(self) -> Fraction:
        """When the last frame ends, seconds."""
        if self._last is None:
            return Fraction(0)
        return self._last.seconds + max(self._step, self._last.lasts)

    def finish(self) -> Iterator[Picture]:
        """The last frame once more for each moment until its own end."""
        if self._last is None:
            return
        wanted = max(1, round(self.end * self._rate))
        while not self.full and self._picked < wanted:
            self._picked += 1
            yield self._last

    @property
    def _moment(self) -> Fraction:
        return Fraction(self._picked) / self._rate


def free_memory() -> int:
    """Bytes of the computer's memory that are free."""
    return comfy.model_management.get_free_memory(torch.device("cpu"))


def read_video(video: Input.Video, rate: float, most: int, size: Size) -> VideoFrames | None:
    """The frames of a video's file at another rate; None where the video is no file, but frames already.

    Args:
        video: as Load Video or Create Video make it.
        rate: frames per second to bring it to, nearest frame in time.
        most: frames to read at most, after that; 0: as many as a reference may have (MOST_FRAMES).
        size: what the frames will be fitted to.

    Raises:
        ValueError: the file has no picture, or cannot be decoded.
    """
    # Others would encode themselves into a file first.
    if type(video).get_stream_source is Input.Video.get_stream_source:
        return None
    start, duration = _trimmed(video)
    damaged: list[None] = []
    picker = NearestInTime(Fraction(rate).limit_denominator(1000), min(most or MOST_FRAMES, MOST_FRAMES))
    try:
        with av.open(video.get_stream_source(), mode="r") as container:
            stream = _stream(container)
            frames, rotation = _decoded(container, stream, picker, size, start, duration, lambda: damaged.append(None))
            whole = Fraction(stream.duration or 0) * (stream.time_base or 0)
            upright = (stream.width, stream.height) if rotation % 180 else (stream.height, stream.width)
            fps = float(stream.average_rate or 0)
    except (av.error.FFmpegError, EOFError) as error:
        raise ValueError(
            f"video: expected a video file that can be read to its end, got one that is empty, cut off or damaged "
            f"({error}); copy or download it again."
        ) from error
    if not frames:
        raise ValueError("video: expected at least one frame, got none; choose another part of the clip.")
    return VideoFrames(_stacked(frames), upright, fps, float(duration or max(whole - start, 0)), len(damaged))


def _trimmed(video: Input.Video) -> tuple[Fraction, Fraction | None]:
    """Start and duration of the part that is used, seconds; newer hosts can cut a video without a new file."""
    window = getattr(video, "get_active_trim_window", None)
    start, duration = window() if window else (0.0, 0.0)
    return Fraction(start), Fraction(duration) if duration else None


def _stream(container: av.container.InputContainer) -> av.VideoStream:
    """The first stream of moving pictures; a cover is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            stream.thread_type = "AUTO"
            return stream
    kinds = sorted({stream.type for stream in container.streams}) or ["nothing"]
    raise ValueError(
        f"video: expected a file with moving pictures, got one with {', '.join(kinds)} only; choose another."
    )


def _decoded(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    picker: NearestInTime,
    size: Size,
    start: Fraction,
    duration: Fraction | None,
    on_damage: Callable[[], None],
) -> tuple[list[torch.Tensor], int]:
    """The picked frames (H, W, 3), and the rotation that they were turned by, degrees."""
    frames: list[torch.Tensor] = []
    rotation, latest = 0, None
    for picture in _pictures(container, stream, start, duration, on_damage):
        rotation = _rotation(picture.image)
        for picked in picker.take(picture):
            # A slow clip repeats frames; each is converted once.
            frames.append(frames[-1] if picked is latest else _upright(picked.image, size))
            latest = picked
        if picker.full:
            break
    if not picker.full and duration is None and not start:
        _require_whole(stream, picker.end)
    for picked in picker.finish():
        frames.append(frames[-1] if picked is latest else _upright(picked.image, size))
        latest = picked
    return frames, rotation


def _pictures(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    start: Fraction,
    duration: Fraction | None,
    on_damage: Callable[[], None],
) -> Iterator[Picture]:
    """The frames from `start` on, with the time since the first of them."""
    first, tick = None, stream.time_base
    # In whole ticks, as the host does it: a start that was typed as 0.1 must not miss the frame at 0.1.
    end = None if duration is None else int((start + duration) / tick) * tick
    start = int(start / tick) * tick
    if start:
        container.seek(int(start / tick), stream=stream)
    for number, image in enumerate(_images(container, stream, on_damage)):
        # Some streams have no time stamps.
        seconds = Fraction(number) / (stream.average_rate or 1) if image.pts is None else image.pts * image.time_base
        if seconds < start:
            continue
        if end is not None and seconds >= end:
            return
        raise_if_cancelled()
        first = seconds if first is None else first
        yield Picture(image, seconds - first)


def _images(
    container: av.container.InputContainer, stream: av.VideoStream, on_damage: Callable[[], None]
) -> Iterator[av.VideoFrame]:
    """The frames that can be decoded; `on_damage` is called for each packet that cannot.

    Raises:
        av.error.FFmpegError: none can.
    """
    decoded, damage = False, None
    for packet in container.demux(stream):
        try:
            images = packet.decode()
        except av.error.InvalidDataError as error:
            damage = error
            on_damage()
            continue
        decoded = decoded or bool(images)
        yield from images
    if damage is not None and not decoded:
        raise damage


def _require_whole(stream: av.VideoStream, end: Fraction) -> None:
    """Refuse a file that holds much less than its index promises, which ends without an error.

    Raises:
        ValueError: more than half a second and a tenth of the video is missing.
    """
    promised = Fraction(stream.duration or 0) * (stream.time_base or 0)
    if promised - end > max(Fraction(1, 2), promised / 10):
        raise ValueError(
            f"video: expected a video file of {float(promised):.1f} seconds, got one that is cut off after "
            f"{float(end):.1f}; copy or download it again."
        )


def _upright(image: av.VideoFrame, size: Size) -> torch.Tensor:
    """(H, W, 3), a frame as a player shows it: float32 in [0, 1] where it was shrunk, else uint8, for its size."""
    turns = _rotation(image) // 90
    upright = (image.width, image.height) if turns % 2 else (image.height, image.width)
    shrunk = size.shrunk(*upright)
    if min(whole / part for whole, part in zip(upright, shrunk, strict=True)) >= LARGE:
        # A frame of 8K would take 6 GB and 10 s to be shrunk as float32.
        height, width = (2 * side for side in (reversed(shrunk) if turns % 2 else shrunk))
        image = image.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
    pixels = np.rot90(image.to_ndarray(format="rgb24"), turns)
    frame = torch.from_numpy(np.ascontiguousarray(pixels))
    return frame if shrunk == tuple(frame.shape[:2]) else resized_frames(frame[None] / 255.0, shrunk)[0]


def _stacked(frames: list[torch.Tensor]) -> torch.Tensor:
    """(T, H, W, 3) float32 in [0, 1]; the list is emptied frame by frame, so that they are not held twice."""
    stacked = torch.empty(len(frames), *frames[0].shape)
    for index in reversed(range(len(frames))):
        frame = frames.pop()
        stacked[index] = frame / 255.0 if frame.dtype == torch.uint8 else frame
    return stacked


def _rotation(image: av.VideoFrame) -> int:
    """Degrees counterclockwise, a multiple of 90, by which a player turns the frame."""
    return round(getattr(image, "rotation", 0) / 90) * 90 % 360
