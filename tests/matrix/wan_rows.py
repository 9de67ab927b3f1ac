"""The matrix's rows of Wan's relatives: networks of their own class, and other nodes in front of the same."""

from __future__ import annotations

import json

from tests.matrix.parts import LENGTH, SIDE, Builder, Link, Scene, conditioned, file, frames_of, image_to_video
from tests.matrix.row import Row

PATH = json.dumps([[{"x": 8 + time // 4, "y": 32} for time in range(121)]])
"""A point that wanders to the right, as spline editors write it."""


def _vision(b: Builder) -> Link:
    return b.link("MatrixClipVision", seed=1)


def _animate(b: Builder) -> Scene:
    """A reference image, which is a frame of the latent of its own, beside a pose and a face."""
    images = {
        "reference_image": frames_of(b, 1),
        "pose_video": frames_of(b, LENGTH, seed=6),
        "face_video": frames_of(b, 1, seed=7),
        "clip_vision_output": _vision(b),
    }
    return conditioned(b, "WanAnimateToVideo", 2, continue_motion_max_frames=5, video_frame_offset=0, **images)


RELATIVES = (
    Row("models", "Wan 2.2 Animate, pose and face", file("made_animate"), _animate),
)
