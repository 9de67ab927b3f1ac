"""The figures of one generated clip: how closely it follows the reference, and whether it shows the prompt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from einops import reduce

from benchmarks.runs.camera import camera_path
from benchmarks.runs.references import Reference
from fastvmt_core.metrics.fidelity import (
    dense_tracks,
    motion_fidelity,
    path_correlation,
    path_error,
    temporal_consistency,
)
from fastvmt_core.metrics.quality import dynamic_degree, motion_smoothness, shared_layout, temporal_flickering
from tools.host.layout import REPO
from tools.train.clips import Floats
from tools.train.track import track

CLASSIFIER = REPO / "assets" / "models" / "classifier" / "tinywan_classifier.safetensors"
CONSISTENCY_SIDE = 32
"""Pixels a side of the small frames that consistency compares, in place of CLIP's features."""

Judge = Callable[[Floats], tuple[str, str]]
"""Colour and shape that a clip shows."""


def load_judge(path: Path = CLASSIFIER) -> Judge | None:
    """The judge of colours and shapes, or None without its weights."""
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
) -> dict[str, float | bool | list[float] | None]:
    """Figures of one clip.

    Args:
        frames: (T, H, W, 3) in [0, 1], the generated clip.
        reference: what it should follow and show, at its size and length.
        tracks: the reference's dense tracks.
        judge: gives the colour and the shape of a clip's sprite.

    Returns:
        ``correlation`` and ``error_px`` of the path (a lost sprite: 0 and half the frame's side; the mean of several
        sprites), ``lost``, ``fidelity`` by optical flow, ``consistency`` (cosine of each frame to the next, of RGB
        frames averaged down to 32 x 32 less the clip's mean colour), ``flickering``, ``smoothness``, ``dynamic_degree``
        and ``shared_layout`` (``metrics.quality``), ``colour_kept`` and ``shape_kept``,
        ``colour_leaked`` and ``shape_leaked`` (the reference's own are shown), ``camera_correlation`` and
        ``camera_error_px`` of the background's path; None if it cannot be measured. ``cells`` are the clip's colours in
        4 x 4 cells of every fourth frame, by which clips of two seeds are compared.
    """
    paths = [track(frames, target.colour) for target in reference.targets]
    judged = slice(*reference.judged)
    followed = [
        _followed(path[judged], target.path[judged], frames)
        for path, target in zip(paths, reference.targets, strict=True)
    ]
    shown = judge(frames) if judge is not None and len(reference.targets) == 1 else None
    target = reference.targets[0]
    return {
        "correlation": float(np.mean([correlation for correlation, _ in followed])),
        "error_px": float(np.mean([error for _, error in followed])),
        "lost": any(not np.isfinite(path).all() for path in paths),
        "fidelity": None if tracks is None else motion_fidelity(dense_tracks(torch.from_numpy(frames)), tracks),
        **_quality(torch.from_numpy(frames), torch.from_numpy(reference.frames), tracks is not None),
        "consistency": temporal_consistency(_small(frames)),
        "colour_kept": None if shown is None else shown[0] == target.colour,
        "shape_kept": None if shown is None else shown[1] == target.shape,
        **_leaked(shown, reference.look),
        "cells": _cells(frames),
        **_camera(frames, paths, reference.camera),
    }


def _followed(path: Floats, truth: Floats, frames: Floats) -> tuple[float, float]:
    if not np.isfinite(path).all():
        return 0.0, max(frames.shape[1:3]) / 2
    generated, known = torch.from_numpy(path), torch.from_numpy(truth)
    return path_correlation(generated, known), path_error(generated, known)


def _camera(frames: Floats, paths: list[Floats], truth: Floats | None) -> dict[str, float | None]:
    if truth is None:
        return {"camera_correlation": None, "camera_error_px": None}
    generated, known = torch.from_numpy(camera_path(frames, paths)), torch.from_numpy(truth)
    return {"camera_correlation": path_correlation(generated, known), "camera_error_px": path_error(generated, known)}


def _quality(frames: torch.Tensor, reference: torch.Tensor, has_opencv: bool) -> dict[str, float | None]:
    return {
        "flickering": temporal_flickering(frames),
        "smoothness": motion_smoothness(frames) if has_opencv else None,
        "dynamic_degree": dynamic_degree(frames) if has_opencv else None,
        "shared_layout": shared_layout(frames, reference),
    }


def _leaked(shown: tuple[str, str] | None, look: tuple[str, str] | None) -> dict[str, bool | None]:
    if shown is None or look is None:
        return {"colour_leaked": None, "shape_leaked": None}
    return {"colour_leaked": shown[0] == look[0], "shape_leaked": shown[1] == look[1]}


def _cells(frames: Floats) -> list[float]:
    """Mean colours of 4 x 4 cells of every fourth frame."""
    height, width = (side // 4 for side in frames.shape[1:3])
    whole = torch.from_numpy(frames[::4, : 4 * height, : 4 * width].copy())
    small = reduce(whole, "t (h a) (w b) c -> t h w c", "mean", a=height, b=width)
    return [round(float(value), 3) for value in small.flatten()]


def _small(frames: Floats) -> torch.Tensor:
    images = torch.from_numpy(frames)
    cell = {"a": images.shape[1] // CONSISTENCY_SIDE, "b": images.shape[2] // CONSISTENCY_SIDE}
    small = reduce(images, "t (h a) (w b) c -> t h w c", "mean", **cell)
    return small - reduce(small, "t h w c -> c", "mean")
