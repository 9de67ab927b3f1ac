"""Where objects and ground are in each frame: movements and the camera as matrices.

Axes: F frames. Positions are (x, y) in pixels from the frame's top left corner, whose far corner is (width, height);
a matrix (3, 3) takes where something is in the picture to where it is shown.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .description import Camera, Move, Point

SHAKE_WAVES = 8
"""Sine waves that a hand's shake is made of, along each axis."""
SHAKE_HERTZ = (0.4, 3.0)
"""Slowest and fastest of them: slow drift to a quick tremble, below half of any video's frame rate."""

_EASING = {
    "even": lambda time: time,
    "ease": lambda time: time * time * (3 - 2 * time),
    "ease in": lambda time: time * time,
    "ease out": lambda time: 1 - (1 - time) ** 2,
}


def followed(move: Move, frames: int, size: Point) -> tuple[Tensor, Tensor]:
    """Displacement (F, 2) in pixels from the path's first point, and the share (F,) of the movement that is done.

    Args:
        move: the movement. Between its points the path is straight; the speed is that along the path in pixels.
        frames: F.
        size: width and height of the frame, pixels.
    """
    time = torch.linspace(0, 1, frames)
    points = torch.tensor(move.path or ((0.0, 0.0),), dtype=torch.float32) * torch.tensor(size)
    gone = torch.cat((torch.zeros(1), torch.linalg.vector_norm(points.diff(dim=0), dim=-1).cumsum(0)))
    length = float(gone[-1])
    if move.speed == "timed":
        times = torch.tensor(move.times) if move.times else torch.zeros(1)
        # Without a length there is no share of it: what turns in its place does so from the first time to the last.
        marks = gone / length if length else (times - times[0]) / (times[-1] - times[0]).clamp(min=1e-6)
        share = interpolated(time, times, marks[:, None])[:, 0]
    else:
        share = _EASING[move.speed](time)
    return interpolated(share * length, gone, points) - points[0], share


def interpolated(at: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """(N, C): `values` (P, C) at rising `places` (P,), linearly between them and constant beyond, at each `at` (N,)."""
    if len(places) == 1:
        return values.expand(len(at), -1)
    after = torch.searchsorted(places, at.contiguous(), right=True).clamp(1, len(places) - 1)
    low, high = places[after - 1], places[after]
    part = ((at - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    return torch.lerp(values[after - 1], values[after], part[:, None])


def object_matrices(move: Move, centre: Point, frames: int, size: Point) -> Tensor:
    """(F, 3, 3): an object about its centre (pixels), turned, scaled and moved along its path."""
    displacement, share = followed(move, frames, size)
    return _about(torch.tensor(centre), displacement, share * move.turn, move.scale**share)


def camera_matrices(camera: Camera, far: bool, frames: int, size: Point, fps: float) -> Tensor:
    """(F, 3, 3): what the camera does to one of the two depths; the view goes one direction, what is seen the other.

    Args:
        camera: the camera.
        far: the ground rather than the objects; parallax takes its part of pan and zoom away.
        frames: F.
        size: width and height, pixels.
        fps: frames per second, for the shake's frequencies.
    """
    displacement, share = followed(camera.move, frames, size)
    part = 1 - camera.parallax if far else 1.0
    view = displacement * part + shake(camera, frames, fps) * min(size)
    middle = torch.tensor(size) / 2
    zoom = camera.move.scale ** (share * part)
    # The view goes where the path does, so what is seen goes the other direction, and is then turned about the middle.
    return _about(middle, torch.zeros(frames, 2), -share * camera.move.turn, zoom) @ _moved(-view)


def shake(camera: Camera, frames: int, fps: float) -> Tensor:
    """(F, 2) shares of the shorter side: smooth random movement by the camera's seed, 0 in the first frame."""
    generator = torch.Generator().manual_seed(camera.seed)
    low, high = SHAKE_HERTZ
    hertz = low * (high / low) ** torch.rand(SHAKE_WAVES, 2, generator=generator)
    phases = 2 * torch.pi * torch.rand(SHAKE_WAVES, 2, generator=generator)
    seconds = torch.arange(frames)[:, None, None] / fps
    waves = torch.sin(2 * torch.pi * hertz * seconds + phases).sum(1) * (2 / SHAKE_WAVES) ** 0.5
    return camera.shake * (waves - waves[0])


def moved_points(matrices: Tensor, points: Tensor) -> Tensor:
    """(F, N, 2): points (N, 2) under each of the matrices (F, 3, 3)."""
    return points @ matrices[:, :2, :2].mT + matrices[:, None, :2, 2]


def _about(centre: Tensor, displacement: Tensor, degrees: Tensor, scale: Tensor) -> Tensor:
    """(F, 3, 3): scaled and turned about a centre (2,), clockwise as y points down, then moved."""
    angle = torch.deg2rad(degrees)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    matrices = torch.zeros(len(scale), 3, 3)
    matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 0], matrices[:, 1, 1] = cos, -sin, sin, cos
    matrices[:, :2, 2] = displacement + centre - (matrices[:, :2, :2] @ centre)
    matrices[:, 2, 2] = 1
    return matrices


def _moved(displacement: Tensor) -> Tensor:
    matrices = torch.eye(3).repeat(len(displacement), 1, 1)
    matrices[:, :2, 2] = displacement
    return matrices
