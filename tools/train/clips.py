"""Clips of moving sprites, which the tiny model is trained on and motion transfer is measured with.

Positions are (x, y) in pixels; the centre of the pixel in the top left corner is (0, 0).

``python -m tools.train.clips clip.mp4 --seed 3 --colour red`` writes one as a video, and its
description beside it. The demo's reference was made by
``python -m tools.train.clips assets/reference.mp4 --seed 9 --colour red --shape circle --background plain
--motion arc``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tools.train.patterns import ALL_BACKGROUNDS, BACKGROUNDS, COLOURS, LANDMARKS, SHAPES, Floats

SIZE = 128
FRAMES = 17
FPS = 16
RADIUS = (16.0, 21.0)
"""Smallest and largest sprite, as the radius of the circle around it, in pixels."""
TRAVEL = (30.0, 130.0)
"""Shortest and longest path, in pixels."""
PAN = (20.0, 60.0)
"""Shortest and longest path of a moving camera, in pixels."""
LAND = 3000.0
"""How far from (0, 0) a moving camera may begin, along each axis, in pixels."""
SOFTNESS = 0.7
"""Half the width of a sprite's soft edge, in pixels."""
MARGIN = 2.0
"""Distance that a sprite keeps from the border, in pixels."""


@dataclass(frozen=True)
class Sprite:
    """One moving shape: ``path`` is its true centroid, (T, 2) in pixels, ``radius`` that of the circle around it."""

    colour: str
    shape: str
    path: Floats
    radius: float


@dataclass(frozen=True)
class Clip:
    """A rendered clip with its sprites, words and camera.

    ``frames`` is (T, H, W, 3) float32 in [0, 1]. ``camera`` is the background's path since frame 0, (T, 2)
    in pixels; zeros for a camera that stands still.
    """

    frames: Floats
    sprites: tuple[Sprite, ...]
    background: str
    motion: str
    camera: Floats

    @property
    def path(self) -> Floats:
        """The first sprite's true centroid, (T, 2) in pixels."""
        return self.sprites[0].path

    @property
    def colour(self) -> str:
        """The first sprite's."""
        return self.sprites[0].colour

    @property
    def shape(self) -> str:
        """The first sprite's."""
        return self.sprites[0].shape

    @property
    def radius(self) -> float:
        """The first sprite's."""
        return self.sprites[0].radius

    @property
    def prompt(self) -> str:
        """The words that describe the clip's sprites and background to the tiny model."""
        sprites = " and ".join(f"{sprite.colour} {sprite.shape}" for sprite in self.sprites)
        return f"{sprites} {self.background}"


def make_clip(
    seed: int,
    colour: str | None = None,
    shape: str | None = None,
    background: str | None = None,
    motion: str | None = None,
    *,
    size: int = SIZE,
    frames: int = FRAMES,
    travel: tuple[float, float] = TRAVEL,
    second: bool = False,
    camera: bool = False,
    pulse: float = 0.0,
    jump: float = 0.0,
) -> Clip:
    """The clip of ``seed``; what is not given is drawn from the seed. The same arguments give the same pixels.

    ``second`` adds a sprite of another colour on a path of its own, ``camera`` moves the background (LANDMARKS unless
    given) from anywhere on it, ``pulse`` lets the sprite swell and shrink by that share of its radius, ``jump`` moves
    it by that many pixels at once, in the middle.
    """
    random = np.random.default_rng(seed)
    # All are drawn, given or not, so that a given colour or shape does not change the path.
    drawn = [_pick(random, choices) for choices in (COLOURS, SHAPES, BACKGROUNDS, MOTIONS)]
    given = (colour, shape, background or (LANDMARKS if camera else None), motion)
    colour, shape, background, motion = (name or default for name, default in zip(given, drawn, strict=True))
    sprites = [_make_sprite(random, colour, shape, motion, size, frames, travel)]
    if second:
        sprites.append(_second_sprite(random, sprites[0], size, frames, travel))
    offset, origin = _camera_path(random, frames) if camera else (np.zeros((frames, 2)), 0.0)
    if jump:
        sprites[0] = _jumping(sprites[0], jump, size)
    scales = 1 + pulse * np.sin(np.linspace(0, 4 * np.pi, frames))
    images = render(sprites, background, size, offset + origin, scales)
    return Clip(images, tuple(sprites), background, motion, offset)


def render(
    sprites: Sequence[Sprite], background: str, size: int, camera: Floats, scales: Floats | None = None
) -> Floats:
    """Frames (T, size, size, 3) float32: sprites, the last on top, over a background moved by ``camera`` (T, 2) pixels.

    ``background`` is a name in ALL_BACKGROUNDS; ``scales`` (T,) multiplies the sprites' radii.
    """
    y, x = np.mgrid[:size, :size].astype(np.float64)
    still = not camera.any()
    draw = ALL_BACKGROUNDS[background]
    backdrop = draw(x, y)
    frames = np.empty((len(camera), size, size, 3), np.float32)
    for time, (frame, (offset_x, offset_y)) in enumerate(zip(frames, camera, strict=True)):
        frame[:] = backdrop if still else draw(x - offset_x, y - offset_y)
        for sprite in sprites:
            radius = sprite.radius * (1.0 if scales is None else scales[time])
            distance = SHAPES[sprite.shape](x - sprite.path[time, 0], y - sprite.path[time, 1], radius)
            cover = np.clip(0.5 - distance / (2 * SOFTNESS), 0.0, 1.0)[..., None]
            frame[:] = frame * (1 - cover) + np.asarray(COLOURS[sprite.colour]) * cover
    return frames


def cut(first: Clip, then: Clip, at: int) -> Floats:
    """The first ``at`` frames of one clip and the later ones of another: a hard cut."""
    return np.concatenate([first.frames[:at], then.frames[at:]])


def place(
    curve: Floats, random: np.random.Generator, radius: float, size: int = SIZE, travel: tuple[float, float] = TRAVEL
) -> Floats:
    """``curve`` (T, 2) scaled to a length drawn from ``travel``, at a random place that keeps the sprite in view."""
    curve = curve - curve.min(0)
    curve = curve * random.uniform(*travel) / np.linalg.norm(np.diff(curve, axis=0), axis=1).sum()
    low = radius + MARGIN
    room = size - 1 - 2 * low
    curve = curve * min(1.0, room / curve.max())
    return low + curve + random.uniform(size=2) * (room - curve.max(0))


def _make_sprite(
    random: np.random.Generator,
    colour: str,
    shape: str,
    motion: str,
    size: int,
    frames: int,
    travel: tuple[float, float],
) -> Sprite:
    radius = float(random.uniform(*RADIUS))
    path = place(MOTIONS[motion](np.linspace(0.0, 1.0, frames), random), random, radius, size, travel)
    return Sprite(colour, shape, path, radius)


def _second_sprite(
    random: np.random.Generator, first: Sprite, size: int, frames: int, travel: tuple[float, float]
) -> Sprite:
    """Another colour, any shape, and of a few paths the one that keeps the farthest from the first sprite."""
    colour = _pick(random, {name: None for name in COLOURS if name != first.colour})
    shape = _pick(random, SHAPES)
    tries = [_make_sprite(random, colour, shape, _pick(random, MOTIONS), size, frames, travel) for _ in range(12)]
    return max(tries, key=lambda sprite: np.linalg.norm(sprite.path - first.path, axis=1).min())


def _camera_path(random: np.random.Generator, frames: int) -> tuple[Floats, Floats]:
    """A pan along a line or an arc, (T, 2) in pixels since frame 0, and the background's offset at frame 0, (2,)."""
    curve = (_line, _arc)[int(random.random() * 2)](np.linspace(0.0, 1.0, frames), random)
    curve = curve - curve[0]
    curve = curve * random.uniform(*PAN) / np.linalg.norm(np.diff(curve, axis=0), axis=1).sum()
    return curve, random.uniform(-LAND, LAND, 2)


def _jumping(sprite: Sprite, jump: float, size: int) -> Sprite:
    """The same sprite, moved at once in the middle, towards the middle of the frame."""
    path = sprite.path.copy()
    half = len(path) // 2
    away = (size - 1) / 2 - path[half:].mean(0)
    path[half:] += jump * away / max(np.linalg.norm(away), 1e-6)
    low = sprite.radius + MARGIN
    return replace(sprite, path=path.clip(low, size - 1 - low))


def write_video(path: Path, frames: Floats, fps: float = FPS) -> None:
    """``frames`` (T, H, W, 3) in [0, 1] are written as H.264, nearly without loss."""
    import av  # Here, so that making clips needs numpy alone.

    pixels = (np.clip(frames, 0, 1) * 255).round().astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "8", "preset": "slow"}
        for image in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def _pick(random: np.random.Generator, choices: dict[str, Any]) -> str:
    return list(choices)[int(random.random() * len(choices))]


def _turned(curve: Floats, random: np.random.Generator) -> Floats:
    """``curve`` (T, 2), turned by any angle."""
    angle = random.uniform(0, 2 * np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    return curve @ np.array([[cos, sin], [-sin, cos]])


def _line(t: Floats, random: np.random.Generator) -> Floats:
    return _turned(np.stack([t, 0 * t], 1), random)


def _arc(t: Floats, random: np.random.Generator) -> Floats:
    angle = t * random.uniform(0.6, 1.5) * np.pi
    return _turned(np.stack([np.cos(angle), np.sin(angle)], 1), random)


def _sine(t: Floats, random: np.random.Generator) -> Floats:
    waves = random.uniform(0.8, 1.5)
    return _turned(np.stack([t, random.uniform(0.1, 0.2) * np.sin(2 * np.pi * waves * t)], 1), random)


def _bounce(t: Floats, random: np.random.Generator) -> Floats:
    # Upright, as gravity is; to the left or to the right.
    hops = random.uniform(1.2, 2.2)
    direction = 1.0 if random.random() < 0.5 else -1.0
    return np.stack([direction * t, -random.uniform(0.3, 0.6) * np.abs(np.sin(np.pi * hops * t))], 1)


MOTIONS: dict[str, Callable[[Floats, np.random.Generator], Floats]] = {
    "line": _line,
    "arc": _arc,
    "sine": _sine,
    "bounce": _bounce,
}
"""A curve of any size and place for times t in [0, 1]; ``place`` fits it into the frame."""


def write_clip(path: Path, clip: Clip) -> None:
    """``clip`` is written as a video, with its size (T, H, W), words and path as the .json beside it."""
    write_video(path, clip.frames)
    description = {
        "size": clip.frames.shape[:3],
        "colour": clip.colour,
        "shape": clip.shape,
        "background": clip.background,
        "motion": clip.motion,
        "path": clip.path.round(3).tolist(),
    }
    path.with_suffix(".json").write_text(json.dumps(description) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """One clip is written as a video."""
    parser = argparse.ArgumentParser(prog="python -m tools.train.clips", description="Write one clip as a video.")
    parser.add_argument("video", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    kinds = {"colour": COLOURS, "shape": SHAPES, "background": ALL_BACKGROUNDS, "motion": MOTIONS}
    for name, choices in kinds.items():
        parser.add_argument(f"--{name}", choices=list(choices))
    options = vars(parser.parse_args(arguments))
    write_clip(options.pop("video"), make_clip(**options))


if __name__ == "__main__":
    main()
