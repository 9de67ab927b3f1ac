"""Figures of a video by itself: flicker, smoothness, how much moves, how far a subject stays itself, shared layout.

They follow VBench (Huang et al., arXiv 2311.17982) without its networks: figures of the two are not comparable.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .fidelity import flows, opencv, temporal_consistency

_FASTEST = 0.05
"""Share of a frame's pixels, the fastest, that count for the dynamic degree."""
_STILL, _STILL_SHARE, _PLAIN = 0.05, 0.05, 0.01
"""Spread over time below which a pixel stands still; share of a frame that must; spread of colours of a plain part."""


def temporal_flickering(frames: Tensor) -> float:
    """1 less the mean absolute difference of a frame to the next, (T >= 2, H, W, 3) in [0, 1]: 1 for a still clip."""
    steps = [(after - before).abs().mean() for before, after in zip(frames[:-1], frames[1:], strict=True)]
    return 1 - float(torch.stack(steps).double().mean())


def motion_smoothness(frames: Tensor) -> float | None:
    """1 less the mean absolute error of every second frame against the one interpolated between its neighbours.

    Interpolated along DIS optical flow, where VBench takes a network. None below 3 frames.

    Args:
        frames: (T, H, W, 3) in [0, 1], at least 16 pixels a side.

    Raises:
        ImportError: OpenCV is not installed.
    """
    cv2 = opencv()
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]].astype(np.float32)
    errors = []
    for index, flow in enumerate(flows(frames, apart=2)):
        before, real, after = (frame.detach().cpu().float().numpy() for frame in frames[2 * index : 2 * index + 3])
        half = flow / 2
        halves = [
            cv2.remap(
                frame, x + sign * half[..., 0], y + sign * half[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
            )
            for frame, sign in ((before, -1), (after, 1))
        ]
        errors.append(np.abs((halves[0] + halves[1]) / 2 - real).mean())
    return 1 - float(np.mean(errors)) if errors else None


def dynamic_degree(frames: Tensor) -> float:
    """Pixels that the fastest 5 % of a clip's pixels move from a frame to the next, (T >= 2, H, W, 3) in [0, 1].

    Raises:
        ImportError: OpenCV is not installed.
    """
    speeds = [np.sort(np.linalg.norm(flow, axis=-1), axis=None) for flow in flows(frames)]
    return float(np.mean([each[-max(1, int(_FASTEST * each.size)) :].mean() for each in speeds]))


def subject_consistency(features: Tensor) -> float:
    """Mean cosine of each frame's features (T >= 2, d) to the first frame's and to those of the one before: -1 .. 1."""
    to_first = torch.cosine_similarity(features[1:].double(), features[:1].double(), dim=-1)
    return (float(to_first.mean()) + temporal_consistency(features)) / 2


def shared_layout(generated: Tensor, reference: Tensor) -> float | None:
    """Correlation of two clips' colours where both stand still, each less its mean colour there: -1 .. 1.

    Near 0 unless the reference's background has leaked: what moves along one path in both does not count. None where
    less than a twentieth of the frame stands still in both, or where a still part is plain.

    Args:
        generated, reference: (T, H, W, 3) in [0, 1], of one size.
    """
    still = torch.stack([clip.float().std(0).amax(-1) < _STILL for clip in (generated, reference)]).all(0)
    if still.double().mean() < _STILL_SHARE:
        return None
    colours = [clip.float().mean(0)[still] for clip in (generated, reference)]
    one, other = (each - each.mean(0) for each in colours)
    if min(float(each.square().mean().sqrt()) for each in (one, other)) < _PLAIN:
        return None
    return float(torch.cosine_similarity(one.flatten(), other.flatten(), dim=0))
