"""The matrix's rows of Wan's relatives: networks of their own class, and other nodes in front of the same."""

from __future__ import annotations

import json

from tests.matrix.parts import (
    LENGTH,
    SIDE,
    Builder,
    Link,
    Scene,
    conditioned,
    file,
    frames_of,
    fun_control,
    prompt,
    vae_of,
)
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


def _wan_move(b: Builder) -> Scene:
    """The same by WanMove's nodes."""
    given = {"tracks": b.link("WanMoveTracksFromCoords", track_coords=PATH), "strength": 1.0}
    images = {"start_image": frames_of(b, 1), "clip_vision_output": _vision(b)}
    return conditioned(b, "WanMoveTrackToVideo", 2, **given, **images)


def _scail(b: Builder, **inputs: object) -> Scene:
    """A reference image whose tokens stand before the grid, and a pose of half the size after it."""
    given = {"pose_strength": 1.0, "pose_start": 0.0, "pose_end": 1.0, "video_frame_offset": 0}
    images = {"pose_video": frames_of(b, LENGTH), "reference_image": frames_of(b, 1, seed=6)}
    given = {**given, "previous_frame_count": 1, "replacement_mode": False, **inputs}
    return conditioned(b, "WanSCAILToVideo", 2, **given, **images)


def _scail_2(b: Builder, replaces: bool = False, **inputs: object) -> Scene:
    """Masks of the person beside the pose and the reference."""
    mask = b.link("MaskToImage", mask=b.link("MatrixMask", height=SIDE, width=SIDE))
    masks = {"reference_image_mask": mask, "pose_video_mask": b.link("RepeatImageBatch", image=mask, amount=LENGTH)}
    return _scail(b, replacement_mode=replaces, **masks, **inputs)


def _scail_2_replacing(b: Builder) -> Scene:
    """A person is replaced: the reference and the pose stand beside the video rather than before it."""
    return _scail_2(b, replaces=True)


def _scail_2_continued(b: Builder) -> Scene:
    """The first frame is that of an earlier part, and holds no noise."""
    return _scail_2(b, previous_frames=frames_of(b, LENGTH, seed=7))


def _talking(b: Builder, model: Link, speakers: int) -> str:
    size = {"width": SIDE, "height": SIDE, "length": LENGTH, "motion_frame_count": 9, "audio_scale": 1.0}
    given = {"model_patch": b.link("MatrixTalkPatch", dim=640, blocks=4), "start_image": frames_of(b, 1)}
    sounds = [b.link("MatrixSound", layers=13, channels=768, seed=seed) for seed in range(1, speakers + 1)]
    texts = {"positive": prompt(b), "negative": prompt(b, ""), "vae": vae_of(b), "clip_vision_output": _vision(b)}
    mode: dict[str, object] = {"mode": "single_speaker"}
    if speakers == 2:
        right = b.link("MatrixMask", height=SIDE, width=SIDE)
        masks = {"mode.mask_1": right, "mode.mask_2": b.link("InvertMask", mask=right)}
        mode = {"mode": "two_speakers", "mode.audio_encoder_output_2": sounds[1], **masks}
    node = "WanInfiniteTalkToVideo"
    return b.add(node, model=model, audio_encoder_output_1=sounds[0], **mode, **size, **given, **texts)


def _infinite_talk(name: str, speakers: int) -> Row:
    """Its node patches the model, and makes what the sampler gets beside it."""

    def scene(b: Builder) -> Scene:
        made = _talking(b, wide(b), speakers)
        return Scene([made, 1], [made, 2], [made, 3])

    wide = file("made_i2v_wide")
    # The host's own patch takes one prompt at a time, and the host runs both at once where they fit.
    sampling = {"cfg": 1.0}
    return Row("models", name, wide, scene, lambda b, model: [_talking(b, model, speakers), 0], sampling=sampling)


def _bernini(b: Builder) -> Scene:
    """A video that is edited, and an image of another size: their tokens stand after the grid."""
    image = b.link("MatrixFrames", frames=1, height=32, width=48, seed=6)
    images = {"source_video": frames_of(b, LENGTH), "reference_images.reference_image_0": image}
    return conditioned(b, "BerniniConditioning", 2, ref_max_size=SIDE, **images)


def _dancing(b: Builder, frames: int) -> Scene:
    """Music that was made into so many frames, a start image, and CLIP vision of it and of a reference."""
    audio = b.link("MatrixAudio", seed=1)
    music = b.link("WanDancerEncodeAudio", audio=audio, video_frames=frames, audio_inject_scale=1.0)
    vision = {"clip_vision_output": _vision(b), "clip_vision_output_ref": b.link("MatrixClipVision", seed=2)}
    made = b.add(
        "WanDancerVideo", positive=prompt(b), negative=prompt(b, ""), vae=vae_of(b), width=SIDE, height=SIDE,
        length=LENGTH, start_image=frames_of(b, 1), audio_encoder_output=music, **vision,
    )  # fmt: skip
    return Scene([made, 0], [made, 1], [made, 2])


def _animate_2(b: Builder) -> Scene:
    """A reference image, which is a frame of the latent of its own, beside a video to follow."""
    given = {"video_frame_offset": 0, "pose_strength": 1.0, "pose_start_percent": 0.0, "pose_end_percent": 1.0}
    images = {"reference_image": frames_of(b, 1), "pose_video": frames_of(b, LENGTH, seed=6)}
    vision = {"clip_vision_output": _vision(b), "reference_image_strength": 1.0}
    return conditioned(b, "WanAnimate2ToVideo", 2, **given, **images, **vision)


RELATIVES = (
    Row("models", "Wan 2.2 Animate, pose and face", file("made_animate"), _animate),
    Row("models", "Wan 2.1 Fun Camera", file("made_camera"), _camera_with_vision),
    Row("models", "Wan 2.2 Fun Camera", file("made_camera22"), _camera),
    Row("models", "Wan 2.1 Fun Control, start image", file("made_fun_control"), _fun_control),
    Row("models", "Wan 2.2 Fun Control, reference image", file("made_wan22_fun_control"), fun_control),
    Row("models", "Wan 2.1 Fun InP", file("made_i2v"), _fun_inpaint_with_vision),
    Row("models", "Wan 2.2 Fun InP", file("made_wan22_i2v"), _fun_inpaint),
    Row("models", "Wan 2.2 S2V, sound, reference, pose and motion", file("made_s2v"), _sound_to_video),
    Row("models", "HuMo 1.7B, sound and reference", file("made_humo"), _humo),
    Row("models", "HuMo 17B, sound and reference", file("made_humo_17b"), _humo),
    Row("models", "ATI's tracks (WanTrackToVideo)", file("made_i2v"), _tracks),
    Row("models", "WanMove's tracks (WanMoveTrackToVideo)", file("made_i2v"), _wan_move),
    Row("models", "SCAIL, reference and pose", file("made_scail"), _scail),
    Row("models", "SCAIL-2, reference, pose and masks", file("made_scail2"), _scail_2),
    Row("models", "SCAIL-2, a person is replaced", file("made_scail2"), _scail_2_replacing),
    Row("models", "SCAIL-2, after an earlier part", file("made_scail2"), _scail_2_continued),
    _infinite_talk("InfiniteTalk, one speaker, cfg 1", 1),
    _infinite_talk("InfiniteTalk, two speakers, cfg 1", 2),
    Row("models", "Bernini, source video and reference image", file("made_t2v"), _bernini),
    Row("models", "WanDancer, music at 30 frames a second", file("made_wandancer"), lambda b: _dancing(b, 29)),
    Row("models", "WanDancer, music for keyframes", file("made_wandancer"), lambda b: _dancing(b, LENGTH)),
    Row("models", "Wan Animate 2", file("made_animate2"), _animate_2, refused="frames at once"),
)  # fmt: skip
