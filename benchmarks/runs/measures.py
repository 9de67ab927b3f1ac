"""What is measured of one generated clip: does it move as the reference does, and does it show what was asked for?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import reduce

from benchmarks.quality.camera import camera_path
from benchmarks.runs.references import Reference
from fastvmt_core.metrics.fidelity import (
    dense_tracks,
    motion_fidelity,
    path_correlation,
    path_error,
    temporal_consistency,
)
from tools.host.layout import REPO
from tools.train.clips import Floats
from tools.train.track import track

CLASSIFIER = REPO / "assets" / "models" / "classifier" / "tinywan_classifier.safetensors"
CONSISTENCY_SIDE = 32
"""Pixels a side of the small frames that consistency compares; no CLIP is at hand."""

Judge = Callable[[Floats], tuple[str, str]]
"""Colour and shape that a clip shows."""


def load_judge(path: Path = CLASSIFIER) -> Judge | None:
    """The judge of looks, or None where its weights are not there."""
    if not path.exists():
        return None
    from tools.train.classifier import Classifier

    return Classifier.load(path).judge


def reference_tracks(frames: Floats) -> torch.Tensor | None:
    """Dense tracks of a clip, or None without OpenCV."""
    try:
        return dense_tracks(torch.from_numpy(frames))
    except ImportError:
        return None


def measure(
    frames: Floats, reference: Reference, tracks: torch.Tensor | None, judge: Judge | None
) -> tuple[dict[str, Any], list[Floats]]:
    """Figures of one clip, and its sprites' paths.

    Args:
        frames: (T, H, W, 3) in [0, 1], the generated clip.
        reference: what it should follow and show, at its size and length.
        tracks: the reference's dense tracks.
        judge: tells colour and shape.

    Returns:
        ``correlation`` and ``error_px`` of the path (a lost sprite: 0 and half the frame's side; the mean of several
        sprites), ``lost``, ``fidelity`` by optical flow, ``consistency`` (cosine of each frame to the next, of RGB
        frames averaged down to 32 x 32 less the clip's mean colour), ``colour_kept`` and ``shape_kept``,
        ``camera_correlation`` and ``camera_error_px`` of the background's way; None where something can't be told.
    """
    paths = [track(frames, target.colour) for target in reference.targets]
    here = slice(*reference.judged)
    followed = [
        _followed(path[here], target.path[here], frames) for path, target in zip(paths, reference.targets, strict=True)
    ]
    seen = judge(frames) if judge is not None and len(reference.targets) == 1 else None
    target = reference.targets[0]
    figures = {
        "correlation": float(np.mean([correlation for correlation, _ in followed])),
        "error_px": float(np.mean([error for _, error in followed])),
        "lost": any(not np.isfinite(path).all() for path in paths),
        "fidelity": None if tracks is None else motion_fidelity(dense_tracks(torch.from_numpy(frames)), tracks),
        "consistency": temporal_consistency(_small(frames)),
        "colour_kept": None if seen is None else seen[0] == target.colour,
        "shape_kept": None if seen is None else seen[1] == target.shape,
        **_camera(frames, paths, reference.camera),
    }
    return figures, paths


def _followed(path: Floats, truth: Floats, frames: Floats) -> tuple[float, float]:
    if not np.isfinite(path).all():
        return 0.0, max(frames.shape[1:3]) / 2
    found, known = torch.from_numpy(path), torch.from_numpy(truth)
    return path_correlation(found, known), path_error(found, known)


def _camera(frames: Floats, paths: list[Floats], truth: Floats | None) -> dict[str, float | None]:
    if truth is None:
        return {"camera_correlation": None, "camera_error_px": None}
    found, known = torch.from_numpy(camera_path(frames, paths)), torch.from_numpy(truth)
    return {"camera_correlation": path_correlation(found, known), "camera_error_px": path_error(found, known)}


def _small(frames: Floats) -> torch.Tensor:
    pictures = torch.from_numpy(frames)
    cell = {"a": pictures.shape[1] // CONSISTENCY_SIDE, "b": pictures.shape[2] // CONSISTENCY_SIDE}
    small = reduce(pictures, "t (h a) (w b) c -> t h w c", "mean", **cell)
    return small - reduce(small, "t h w c -> c", "mean")
