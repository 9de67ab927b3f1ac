"""The matrix's rows of Wan's relatives: networks of their own class, and other nodes in front of the same."""

from __future__ import annotations

import json

from tests.matrix.parts import LENGTH, SIDE, Builder, Link, Scene, conditioned, file, frames_of, fun_control
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


def _camera(b: Builder, **vision: Link) -> Scene:
    """A start image, and a camera that moves to the left."""
    size = {"width": SIDE, "height": SIDE, "length": LENGTH}
    lens = {"speed": 1.0, "fx": 0.5, "fy": 0.5, "cx": 0.5, "cy": 0.5}
    rays = b.link("WanCameraEmbedding", camera_pose="Pan Left", **size, **lens)
    return conditioned(b, "WanCameraImageToVideo", 2, start_image=frames_of(b, 1), camera_conditions=rays, **vision)


def _camera_with_vision(b: Builder) -> Scene:
    return _camera(b, clip_vision_output=_vision(b))


def _fun_control(b: Builder) -> Scene:
    """A start image and a control video, as Fun-Control 1.0 takes them."""
    images = {"start_image": frames_of(b, 1), "control_video": frames_of(b, LENGTH, seed=6)}
    return conditioned(b, "WanFunControlToVideo", 2, clip_vision_output=_vision(b), **images)


def _fun_inpaint(b: Builder, **vision: Link) -> Scene:
    """A first and a last frame."""
    images = {"start_image": frames_of(b, 1), "end_image": frames_of(b, 1, seed=6)}
    return conditioned(b, "WanFunInpaintToVideo", 2, **images, **vision)


def _fun_inpaint_with_vision(b: Builder) -> Scene:
    return _fun_inpaint(b, clip_vision_output=_vision(b))


def _sound_to_video(b: Builder) -> Scene:
    """Sound, a reference image, a pose and the frames before: tokens after the grid, and attention to the sound."""
    images = {
        "ref_image": frames_of(b, 1),
        "control_video": frames_of(b, LENGTH, seed=6),
        "ref_motion": frames_of(b, LENGTH, seed=7),
    }
    sound = b.link("MatrixSound", layers=25, channels=1024, seed=1)
    return conditioned(b, "WanSoundImageToVideo", 2, audio_encoder_output=sound, **images)


def _humo(b: Builder) -> Scene:
    """Sound, and a reference image whose tokens stand after the grid."""
    sound = b.link("MatrixSound", layers=33, channels=1280, seed=1)
    return conditioned(b, "WanHuMoImageToVideo", 2, audio_encoder_output=sound, ref_image=frames_of(b, 1))


def _tracks(b: Builder) -> Scene:
    """A start image whose features follow a path, as ATI's model takes it."""
    given = {"tracks": PATH, "temperature": 220.0, "topk": 2, "start_image": frames_of(b, 1)}
    return conditioned(b, "WanTrackToVideo", 2, clip_vision_output=_vision(b), **given)


RELATIVES = (
    Row("models", "Wan 2.2 Animate, pose and face", file("made_animate"), _animate),
    Row("models", "Wan 2.1 Fun Camera", file("made_camera"), _camera_with_vision),
    Row("models", "Wan 2.2 Fun Camera", file("made_camera22"), _camera),
    Row("models", "Wan 2.1 Fun Control, start image", file("made_fun_control"), _fun_control),
    Row("models", "Wan 2.2 Fun Control, reference image", file("made_wan22_fun_control"), fun_control),
    Row("models", "Wan 2.1 Fun InP", file("made_i2v"), _fun_inpaint_with_vision),
    Row("models", "Wan 2.2 Fun InP", file("made_wan22_i2v"), _fun_inpaint),
    Row(
        "models",
        "Wan 2.2 S2V, sound, reference, pose and motion",
        file("made_s2v"),
        _sound_to_video,
        refused="blocks are given transformer_options",
    ),
    Row("models", "HuMo 1.7B, sound and reference", file("made_humo"), _humo),
    Row("models", "HuMo 17B, sound and reference", file("made_humo_17b"), _humo),
    Row("models", "ATI's tracks (WanTrackToVideo)", file("made_i2v"), _tracks),
)  # fmt: skip
