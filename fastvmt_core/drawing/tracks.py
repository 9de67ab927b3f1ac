"""Tracks of points: as other nodes hold them, as text, cleaned, and out of a motion.

Positions are (x, y) in pixels from the frame's top left corner. Axes: F frames, N tracks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ..checks import is_number, require_positive
from ..grid import first_video_frame, video_length
from ..motion.embedding import MotionEmbedding
from ..motion.fields import frame_flow_of
from ..motion.trajectories import trajectories
from .description import Point
from .moves import interpolated

LARGEST_SIDE = 8192
"""Of a frame, pixels."""

MOST_TRACKS = 64
"""Tracks that are drawn; of more, these at even distances in their list."""
MOST_VALUES = 4_000_000
"""Positions in all tracks that come in."""
LONGEST_TEXT = 4_000_000
"""Characters of coordinates as JSON."""
OUTSIDE = 1.0
"""Frames by which a position may lie outside the frame; farther ones are moved there."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Where points are over time, and in which frames they are seen."""

    points: Tensor
    """(F, N, 2) float32, pixels."""
    visible: Tensor
    """(F, N) bool."""

    def as_host(self) -> dict[str, Tensor]:
        """The value of the host's TRACKS sockets (WanMove's): track_path (F, N, 2) and track_visibility (F, N)."""
        return {"track_path": self.points, "track_visibility": self.visible}

    def as_text(self) -> str:
        """JSON [[{"x": ..., "y": ...}, ...], ...], a list for each track: what WanTrackToVideo (ATI) takes."""
        paths = self.points.transpose(0, 1).round(decimals=2).tolist()
        return json.dumps([[{"x": round(x, 2), "y": round(y, 2)} for x, y in path] for path in paths])


def tracks_of_host(value: object, name: str = "tracks") -> Tracks:
    """Tracks from the value of a TRACKS socket.

    Raises:
        ValueError: the value has another form, or holds no track; the message names the input.
    """
    expected = "TRACKS with track_path (frames, tracks, 2) and track_visibility (frames, tracks)"
    path = value.get("track_path") if isinstance(value, Mapping) else None
    if not isinstance(path, Tensor) or path.ndim != 3 or path.shape[-1] != 2:
        got = f"track_path {tuple(path.shape)}" if isinstance(path, Tensor) else f"{value!r:.80}"
        raise ValueError(f"{name}: expected {expected}, got {got}; connect a node that makes tracks.")
    _require_size(name, path.shape[0] * path.shape[1])
    visible = value.get("track_visibility")
    visible = torch.ones(path.shape[:2], dtype=torch.bool) if visible is None else visible
    if not isinstance(visible, Tensor) or visible.shape not in (path.shape[:2], (len(path), 1)):
        got = tuple(visible.shape) if isinstance(visible, Tensor) else f"{visible!r:.80}"
        raise ValueError(f"{name}: expected {expected}, got track_visibility {got}; give its mask as many frames.")
    return Tracks(path.detach().cpu().float(), (visible.detach().cpu() > 0).expand(path.shape[:2]))


def tracks_of_text(text: str, name: str = "coordinates") -> list[Tracks]:
    """Tracks from coordinates as JSON, one by one, as each may have a number of points of its own.

    One track is a list of {"x": ..., "y": ...}, several are a list of such lists, as a spline editor and ATI's nodes
    write them; single quotes pass for double ones.

    Raises:
        ValueError: the text is something else, too long, or holds no track; the message names the widget.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(
            f"{name}: expected at most {LONGEST_TEXT:,} characters, got {len(text):,}; give fewer tracks or points."
        )
    try:
        data = json.loads(text if '"' in text else text.replace("'", '"'))
    except (ValueError, RecursionError):
        data = text
    listed = [data] if isinstance(data, list) and data and isinstance(data[0], Mapping) else data
    if not isinstance(listed, list) or not all(isinstance(track, list) and track for track in listed):
        raise _no_coordinates(name, text)
    _require_size(name, sum(map(len, listed)))
    tracks = []
    for track in listed:
        if not all(isinstance(point, Mapping) and _is_place(point.get("x"), point.get("y")) for point in track):
            raise _no_coordinates(name, text)
        points = torch.tensor([(point["x"], point["y"]) for point in track], dtype=torch.float64).float()
        tracks.append(Tracks(points[:, None], torch.ones(len(points), 1, dtype=torch.bool)))
    return tracks


def cleaned(given: Sequence[Tracks], size: Point, frames: int, name: str = "tracks") -> tuple[Tracks, str]:
    """Tracks that can be drawn in `frames` frames, and what was changed, a sentence each.

    A position that is not finite in float32 is one that nobody sees. Tracks that are never seen inside the frame are
    left out, as are those beyond MOST_TRACKS; positions far outside are moved to one frame from it.

    Raises:
        ValueError: no track is left.
    """
    notes, limits = [], torch.tensor(size, dtype=torch.float32)
    finite = [torch.isfinite(each.points).all(-1) for each in given]
    if lost := sum(int((~each).sum()) for each in finite):
        notes.append(f"Not finite or out of range: {lost} of the positions; the track is hidden there.")
    known = [Tracks(each.points, each.visible & where) for each, where in zip(given, finite, strict=True)]
    # Before anything is stretched: there may be very many of them.
    kept = [(each, column) for each in known for column in torch.nonzero(_is_seen(each, limits))[:, 0].tolist()]
    if not kept:
        raise ValueError(
            f"{name}: expected a track that is seen inside the frame of {size[0]} x {size[1]} pixels, got none; set "
            "width and height to those that the tracks were made for."
        )
    if gone := sum(each.points.shape[1] for each in given) - len(kept):
        notes.append(f"Never seen inside the frame: {gone} of the tracks, left out.")
    picked = torch.linspace(0, len(kept) - 1, min(len(kept), MOST_TRACKS)).round().long().tolist()
    if len(kept) > MOST_TRACKS:
        notes.append(f"Of {len(kept)} tracks {MOST_TRACKS} are drawn, at even distances in their list.")
    parts = [
        stretched_to(frames, Tracks(each.points[:, [column]], each.visible[:, [column]]))
        for each, column in (kept[number] for number in picked)
    ]
    points = torch.cat([each.points for each in parts], 1)
    clipped = torch.minimum(torch.maximum(points, -OUTSIDE * limits), (1 + OUTSIDE) * limits)
    if moved := int((clipped != points).any(-1).sum()):
        notes.append(f"Far outside the frame: {moved} of the positions, moved nearer.")
    return Tracks(clipped, torch.cat([each.visible for each in parts], 1)), " ".join(notes)


def _is_seen(tracks: Tracks, limits: Tensor) -> Tensor:
    """(N,) bool: whether each track is seen inside the frame of `limits` (2,) at any time."""
    inside = ((tracks.points >= 0) & (tracks.points <= limits)).all(-1)
    return (tracks.visible & inside).any(0)


def stretched_to(frames: int, tracks: Tracks) -> Tracks:
    """The tracks in another number of frames; where one is not seen, it is between where it was and will be.

    Each is seen in at least one frame.
    """
    at = torch.linspace(0, len(tracks.points) - 1, frames)
    paths = []
    for points, visible in zip(tracks.points.unbind(1), tracks.visible.unbind(1), strict=True):
        known = torch.nonzero(visible)[:, 0]
        paths.append(interpolated(at, known.float(), points[known]))
    return Tracks(torch.stack(paths, 1), tracks.visible[at.round().long()])


def tracks_of_motion(motion: MotionEmbedding, size: Point, spacing: int) -> Tracks:
    """Tracks of a grid of points of a motion's first frame, in the frames of a video of its length.

    Args:
        motion: the motion, whose trajectories are followed.
        size: width and height of the frame that the positions are for, pixels.
        spacing: tokens between neighbouring points.

    Raises:
        ValueError: the grid has no points, or it is not the size of a frame.
    """
    for name, side in zip(("width", "height"), size, strict=True):
        require_positive(name, side, high=LARGEST_SIDE)
    grid = motion.grid
    most = 2 * min(grid.height, grid.width) - 1
    if not 1 <= spacing <= most:
        raise ValueError(f"spacing: expected 1 to {most} tokens for {grid}, got {spacing}; choose less.")
    paths = trajectories(frame_flow_of(motion))[0][:, spacing // 2 :: spacing, spacing // 2 :: spacing]
    scale = torch.tensor((size[0] / grid.width, size[1] / grid.height))
    points = rearrange((paths + 0.5) * scale, "f h w xy -> f (h w) xy")
    # A latent frame stands for the middle of its frames of video, and the first for one.
    stride = motion.fingerprint.temporal_stride
    middles = (first_video_frame(number, stride) + (stride - 1) / 2 for number in range(1, grid.frames))
    moments = torch.tensor([0.0, *middles])
    length = first_video_frame(grid.frames, stride) if grid.frames > 1 else 1
    at = torch.arange(video_length(length, stride), dtype=torch.float32)
    filled = torch.stack([interpolated(at, moments, path) for path in points.unbind(1)], 1)
    inside = ((filled >= 0) & (filled < torch.tensor(size))).all(-1)
    return Tracks(filled, inside)


def _require_size(name: str, values: int) -> None:
    if not 0 < values <= MOST_VALUES:
        raise ValueError(
            f"{name}: expected at least one position and at most {MOST_VALUES:,} in all, got {values:,}; give "
            f"{'other' if not values else 'fewer'} tracks."
        )


def _is_place(*numbers: Any) -> bool:  # noqa: ANN401
    # NaN and infinity are numbers here: `cleaned` hides them.
    return all(isinstance(number, float) or is_number(number, -math.inf) for number in numbers)


def _no_coordinates(name: str, text: str) -> ValueError:
    expected = 'coordinates as JSON, [{"x": 10, "y": 20}, ...] or a list of such lists'
    return ValueError(f"{name}: expected {expected}, got {text[:80]!r}; connect a node that writes coordinates.")
