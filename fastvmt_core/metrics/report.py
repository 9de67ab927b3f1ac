"""Two clips compared by their movement: a figure, a report, and images with the tracks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..video.clip import require_clip, resized_frames
from ..viz.drawing import draw_paths
from .fidelity import dense_tracks, motion_fidelity, temporal_consistency
from .quality import dynamic_degree, motion_smoothness, shared_layout, subject_consistency, temporal_flickering

GENERATED_COLOUR = (1.0, 0.85, 0.2)
REFERENCE_COLOUR = (0.2, 0.9, 1.0)
METHOD = "OpenCV DIS optical flow, points of a grid on the first frame that move"
_LEAST_TRAVEL, _LEAST_SHARE = 2.0, 0.25
"""Pixels over the whole clip, and share of the farthest track's travel, from which a point counts as moving."""
_DRAWN = 64
"""Tracks drawn in an image: those that move farthest."""
_GAP = 6
"""Pixels between the two clips."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """How alike two clips move."""

    fidelity: float
    """-1 .. 1, 1 where they move alike (`fidelity.motion_fidelity`)."""
    report: dict[str, Any]
    """Plain JSON."""
    images: Tensor
    """(T, H, 2 W + gap, 3) in [0, 1]: the reference to the left, the generated clip to the right, tracks drawn in."""

    @property
    def in_words(self) -> str:
        """One or two sentences."""
        text = f"Motion fidelity {self.fidelity:.3f}."
        steady = self.report["clip_temporal_consistency"]
        return text if steady is None else f"{text} CLIP temporal consistency {steady:.4f}."


def compared(generated: Tensor, reference: Tensor, spacing: int, features: Tensor | None = None) -> Comparison:
    """The comparison of two clips' movement.

    Args:
        generated: (T, H, W, 3) in [0, 1].
        reference: (T', H', W', 3) in [0, 1]; resampled to the other's size and length.
        spacing: pixels between the points that are followed.
        features: (T, d), of the generated clip's frames, for temporal consistency.

    Raises:
        ValueError: a clip is none, or too short or small to be followed.
        ImportError: OpenCV is not installed.
    """
    for name, clip in (("generated", generated), ("reference", reference)):
        require_clip(name, clip)
        if len(clip) < 2:
            raise ValueError(f"{name}: expected a clip of at least 2 frames, got {len(clip)}.")
    made = generated[..., :3].detach()
    wanted = fitted(reference[..., :3].detach(), made)
    tracks = {"generated": moving(dense_tracks(made, spacing)), "reference": moving(dense_tracks(wanted, spacing))}
    fidelity = motion_fidelity(tracks["generated"], tracks["reference"])
    report = {
        "motion_fidelity": fidelity,
        "clip_temporal_consistency": None if features is None else temporal_consistency(features),
        "subject_consistency": None if features is None else subject_consistency(features),
        "temporal_flickering": temporal_flickering(made),
        "motion_smoothness": motion_smoothness(made),
        "dynamic_degree_px": dynamic_degree(made),
        "shared_layout": shared_layout(made, wanted),
        "frames": len(made),
        "width": made.shape[2],
        "height": made.shape[1],
        "moving_points": {name: len(each) for name, each in tracks.items()},
        "travel_px": {name: round(float(_travel(each).mean()), 3) for name, each in tracks.items()},
        "reference_resampled": made.shape != reference[..., :3].shape,
        "method": METHOD,
    }
    report = {name: round(value, 6) if isinstance(value, float) else value for name, value in report.items()}
    return Comparison(fidelity, report, _drawn(made, wanted, tracks))


def moving(tracks: Tensor) -> Tensor:
    """The tracks (N, T, 2) that move; all of them if none does.

    What stands still in both clips agrees perfectly, and mostly that is the background: it would outweigh what moves.
    """
    travel = _travel(tracks)
    moves = travel > max(_LEAST_TRAVEL, _LEAST_SHARE * float(travel.max()))
    return tracks[moves] if bool(moves.any()) else tracks


def fitted(clip: Tensor, like: Tensor) -> Tensor:
    """The clip at another's size and length."""
    times = torch.linspace(0, len(clip) - 1, len(like)).round().long().tolist()
    return resized_frames(clip, tuple(like.shape[1:3]), times)


def _travel(tracks: Tensor) -> Tensor:
    """(N,): pixels that each track (N, T, 2) travels."""
    return torch.linalg.vector_norm(tracks.diff(dim=1), dim=-1).sum(1)


def _drawn(made: Tensor, wanted: Tensor, tracks: dict[str, Tensor]) -> Tensor:
    sides = (
        (wanted, _farthest(tracks["reference"]), REFERENCE_COLOUR),
        (made, _farthest(tracks["generated"]), GENERATED_COLOUR),
    )
    gap = torch.ones(made.shape[1], _GAP, 3)
    images = torch.empty(len(made), made.shape[1], 2 * made.shape[2] + _GAP, 3)
    for time, image in enumerate(images):
        shown = (clip[time].float().cpu().clamp(0, 1) for clip, _, _ in sides)
        left, right = (draw_paths(each, side[1], time, side[2]) for each, side in zip(shown, sides, strict=True))
        torch.cat((left, gap, right), 1, out=image)
    return images


def _farthest(tracks: Tensor) -> Tensor:
    """The tracks (N, T, 2) that move farthest, from pixel places to the middle of pixels."""
    return tracks[_travel(tracks).topk(min(_DRAWN, len(tracks))).indices] + 0.5
