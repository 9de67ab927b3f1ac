"""Numbers for how well a motion was followed, from tracks, paths and features (DiTFlow, SMM).

Tracks are (N, T, 2) and paths (T, 2), each (x, y) in pixels at T frames. They come from the caller; `dense_tracks`
makes them for real clips where OpenCV is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from einops import rearrange, reduce
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

_STILL = 1e-3
"""Pixels a frame: a track that moves less stands still, and its direction is rounding."""

_PAIRS_AT_ONCE = 2**23
"""Pairs of tracks that are compared together."""
_SMALLEST_FRAME = 16
"""Pixels a side that DIS flow needs."""


def motion_fidelity(tracks_a: Tensor, tracks_b: Tensor) -> float:
    """Likeness of two sets of tracklets, whatever moves and wherever: -1 .. 1, and 1 for a set with itself.

    The likeness of two tracklets is the cosine of their displacements from each frame to the next, averaged over the
    frames. Each tracklet of either set takes its best match in the other; the score is the mean over the first set and
    the mean over the second, averaged. Two tracklets that both stand still at a frame agree there (1); one that stands
    and one that moves neither agree nor disagree (0).

    Args:
        tracks_a: (N, T, 2), pixels.
        tracks_b: (M, T, 2), pixels; M may differ from N.

    Raises:
        ValueError: a shape is wrong, the numbers of frames differ or are below 2, or a value is not finite.

    Source: motion fidelity score of SMM (Yatim et al., arXiv 2311.17009); DiTFlow (arXiv 2412.07776) reports it too.
    Published implementations take one of the two directions; the paper's definition takes both.
    """
    _require_tracks("tracks_a", tracks_a)
    _require_tracks("tracks_b", tracks_b)
    if tracks_a.shape[1] != tracks_b.shape[1]:
        raise ValueError(
            f"tracks_b: expected the {tracks_a.shape[1]} frames of tracks_a, got {tracks_b.shape[1]}; "
            "track clips of one length."
        )
    direction_a, still_a = _directions(tracks_a)
    direction_b, still_b = _directions(tracks_b)
    best_a, best_b = [], torch.full((len(direction_b),), -torch.inf, dtype=direction_b.dtype)
    at_once = max(1, _PAIRS_AT_ONCE // len(direction_b))
    for direction, still in zip(direction_a.split(at_once), still_a.split(at_once), strict=True):
        likeness = torch.einsum("ntc,mtc->nm", direction, direction_b) + torch.einsum("nt,mt->nm", still, still_b)
        best_a.append(likeness.amax(1))
        best_b = torch.maximum(best_b, likeness.amax(0))
    return float((torch.cat(best_a).mean() + best_b.mean()) / 2 / direction_a.shape[1])


def path_error(path_a: Tensor, path_b: Tensor) -> float:
    """Mean distance in pixels between two paths of a known object, frame by frame.

    Raises:
        ValueError: a shape is wrong, the numbers of frames differ or are below 2, or a value is not finite.
    """
    _require_paths(path_a, path_b)
    return float(torch.linalg.vector_norm(path_a.double() - path_b.double(), dim=-1).mean())


def path_correlation(path_a: Tensor, path_b: Tensor) -> float:
    """Pearson correlation of two paths' displacements from their own mean place, x and y taken together: -1 .. 1.

    It does not see where a path lies nor how large it is, only its form and direction over time. A path that stands
    still has no form: 0.

    Raises:
        ValueError: a shape is wrong, the numbers of frames differ or are below 2, or a value is not finite.
    """
    _require_paths(path_a, path_b)
    away_a, away_b = (path.double() - path.double().mean(0) for path in (path_a, path_b))
    spread = torch.linalg.vector_norm(away_a) * torch.linalg.vector_norm(away_b)
    return float((away_a * away_b).sum() / spread) if spread > _STILL**2 else 0.0


def temporal_consistency(features: Tensor) -> float:
    """Mean cosine of each frame's features to the next frame's: -1 .. 1. The papers take CLIP image features.

    Args:
        features: (T, ...), one feature map or vector a frame.

    Raises:
        ValueError: there are fewer than 2 frames, or a value is not finite.
    """
    if features.ndim < 2 or len(features) < 2 or not bool(torch.isfinite(features).all()):
        raise ValueError(f"features: expected finite (frames >= 2, ...), got shape {tuple(features.shape)}.")
    flat = rearrange(features.double(), "t ... -> t (...)")
    return float(torch.cosine_similarity(flat[:-1], flat[1:], dim=-1).mean())


def dense_tracks(frames: Tensor, spacing: int = 8) -> Tensor:
    """Tracks of a grid of points of the first frame through a clip, by OpenCV's DIS optical flow.

    Args:
        frames: (T, H, W, 3) in [0, 1].
        spacing: pixels between neighbouring points.

    Returns:
        (N, T, 2), pixels. A point that leaves the frame stays at its border.

    Raises:
        ValueError: the frames have another shape or size, or the spacing leaves no point.
        ImportError: OpenCV is not installed.
    """
    if spacing < 1:
        raise ValueError(f"spacing: expected at least 1 pixel, got {spacing!r}.")
    least = max(_SMALLEST_FRAME, spacing)
    if frames.ndim != 4 or frames.shape[-1] != 3 or len(frames) < 2 or min(frames.shape[1:3]) < least:
        raise ValueError(f"frames: expected (T >= 2, H, W, 3), {least} or more a side, got {tuple(frames.shape)}.")
    cv2 = opencv()
    height, width = frames.shape[1:3]
    y, x = torch.meshgrid(
        torch.arange(spacing // 2, height, spacing), torch.arange(spacing // 2, width, spacing), indexing="ij"
    )
    # As an image, not as a list: OpenCV takes no more than 32,766 rows.
    place = torch.stack((x, y), dim=-1).float()
    last = torch.tensor((width - 1, height - 1), dtype=torch.float32)
    track = [place]
    for flow in flows(frames):
        step = cv2.remap(flow, place[..., 0].numpy(), place[..., 1].numpy(), cv2.INTER_LINEAR)
        place = torch.minimum((place + torch.from_numpy(step)).clamp(min=0), last)
        track.append(place)
    return rearrange(torch.stack(track), "t h w xy -> (h w) t xy")


def flows(frames: Tensor, apart: int = 1) -> Iterator[np.ndarray]:
    """(H, W, 2) float32 in pixels, one by one: OpenCV's DIS flow from frame 0 to ``apart``, from there on, and so on.

    Args:
        frames: (T, H, W, 3) in [0, 1].
        apart: frames between the two.

    Raises:
        ImportError: OpenCV is not installed.
    """
    cv2 = opencv()
    tracker = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # Frame by frame: a whole clip in float is far larger than it is in grey.
    greys = (
        reduce(frame.detach().cpu().float(), "h w c -> h w", "mean").clamp(0, 1) * 255 for frame in frames[::apart]
    )
    for before, after in pairwise(grey.to(torch.uint8).numpy() for grey in greys):
        yield tracker.calc(before, after, None)


def opencv() -> ModuleType:
    """The module cv2.

    Raises:
        ImportError: it is not installed; the message says how to.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            "Motion Fidelity needs OpenCV: pip install opencv-python-headless in ComfyUI's Python environment, then "
            "restart."
        ) from error
    return cv2


def _directions(tracks: Tensor) -> tuple[Tensor, Tensor]:
    """Unit displacements (N, T - 1, 2), zero where still, and whether still (N, T - 1)."""
    step = tracks.double().diff(dim=1)
    length = torch.linalg.vector_norm(step, dim=-1)
    still = length < _STILL
    return step / length.masked_fill(still, torch.inf)[..., None], still.double()


def _require_tracks(name: str, tracks: Tensor) -> None:
    if tracks.ndim != 3 or tracks.shape[-1] != 2 or len(tracks) < 1 or tracks.shape[1] < 2:
        raise ValueError(f"{name}: expected (tracks >= 1, frames >= 2, 2), got {tuple(tracks.shape)}.")
    if not bool(torch.isfinite(tracks).all()):
        raise ValueError(f"{name}: expected finite positions, got NaN or infinity.")


def _require_paths(path_a: Tensor, path_b: Tensor) -> None:
    for name, path in (("path_a", path_a), ("path_b", path_b)):
        if path.ndim != 2 or path.shape[-1] != 2 or len(path) < 2 or not bool(torch.isfinite(path).all()):
            raise ValueError(f"{name}: expected finite (frames >= 2, 2), got shape {tuple(path.shape)}.")
    if len(path_a) != len(path_b):
        raise ValueError(f"path_b: expected the {len(path_a)} frames of path_a, got {len(path_b)}.")
