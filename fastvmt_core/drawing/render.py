"""A drawing, or tracks, as a crude clip: what is cut out of the picture, what it leaves, and where its points go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from ..checks import require_positive, require_whole
from ..video.clip import MOST_FRAMES, require_clip, require_pixels, resized_frames
from .description import Drawing
from .layers import layer_of, rendered
from .moves import camera_matrices, moved_points, object_matrices
from .shapes import centre_of, shape_mask, texture, without
from .tracks import LARGEST_SIDE, Tracks

GROUND = (0.24, 0.26, 0.28)
PALETTE = (
    (0.90, 0.15, 0.12),
    (0.15, 0.30, 0.95),
    (0.95, 0.85, 0.10),
    (0.15, 0.80, 0.20),
    (0.90, 0.15, 0.85),
    (0.95, 0.95, 0.95),
    (0.10, 0.75, 0.80),
    (0.95, 0.55, 0.10),
)
"""Colours of objects without a picture, in their order."""
FLAT = 0.02
"""Standard deviation of brightness below which an object of a picture counts as without texture."""
MARGIN = 2
"""Pixels by which a hole is larger than the cut-out, whose soft edge holds some of its colour."""


@dataclass(frozen=True)
class Texture:
    """Amplitudes, in brightness, of the textures of the objects and of the ground that have none of their own."""

    objects: float = 0.06
    ground: float = 0.05


@dataclass(frozen=True)
class Canvas:
    """Size, length and rate of the clip.

    Raises:
        ValueError: one of them is out of its range, or the clip is larger than memory may hold.
    """

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    length: int
    """Frames."""
    fps: float
    """Frames per second."""

    def __post_init__(self) -> None:
        for name, most in (("width", LARGEST_SIDE), ("height", LARGEST_SIDE), ("length", MOST_FRAMES)):
            require_whole(name, getattr(self, name))
            if getattr(self, name) > most:
                raise ValueError(f"{name}: expected at most {most}, got {getattr(self, name)}; choose less.")
        require_positive("fps", self.fps)
        require_pixels(self.width, self.height, self.length)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


@dataclass(frozen=True, eq=False)
class CrudeClip:
    """A clip whose motion is known."""

    frames: Tensor
    """(F, H, W, 3) in [0, 1]."""
    mask: Tensor
    """(F, H, W) in [0, 1]: what is visible of the objects, or of the chosen one."""
    tracks: Tracks
    """Five points of each object, its centre first; then four of the ground, if the camera moves."""


def render(
    drawing: Drawing,
    canvas: Canvas,
    picture: Tensor | None = None,
    masks: Tensor | None = None,
    chosen: int = 0,
    texture_of: Texture = Texture(),
    on_layer: Callable[[], None] | None = None,
) -> CrudeClip:
    """The crude clip of a drawing.

    Args:
        drawing: what moves, and how.
        canvas: size, length and rate of the clip.
        picture: (1 or more, H, W, 3) in [0, 1], of which the first is cut up; cropped to the clip's shape. None:
            objects in colours of their own on a grey ground.
        masks: (N, H, W) in [0, 1], for objects that are masks.
        chosen: the object, from 1, whose mask is returned; 0: all.
        texture_of: the textures of what has none of its own.
        on_layer: called once for the ground and once for each object.

    Raises:
        ValueError: an input has a wrong form, an object's mask is missing, or there is no object of that number.
    """
    count = len(drawing.objects)
    if not 0 <= chosen <= count:
        raise ValueError(f"mask_of: expected 0 (all) or the number of an object up to {count}, got {chosen}.")
    shapes = [
        shape_mask(each.shape, canvas.size, masks, f"object {number}")
        for number, each in enumerate(drawing.objects, start=1)
    ]
    near, far = (
        camera_matrices(drawing.camera, is_far, canvas.length, canvas.size, canvas.fps) for is_far in (False, True)
    )
    matrices = [
        near @ object_matrices(each.move, centre_of(mask), canvas.length, canvas.size)
        for each, mask in zip(drawing.objects, shapes, strict=True)
    ]
    ground, colours = _looks(canvas, picture, shapes, texture_of)
    layers = [layer_of(*parts) for parts in zip(colours, shapes, matrices, strict=True)]
    frames, mask = rendered(ground, far, layers, chosen, on_layer)
    return CrudeClip(frames, mask, _tracks(canvas, shapes, matrices, far if drawing.camera.moves else None))


def render_tracks(
    tracks: Tracks,
    canvas: Canvas,
    radius: float,
    picture: Tensor | None = None,
    texture_of: Texture = Texture(),
    on_layer: Callable[[], None] | None = None,
) -> CrudeClip:
    """The crude clip of tracks: a disc for each, or what a picture shows where the track begins.

    Args:
        tracks: F = the canvas's length.
        canvas: size, length and rate of the clip.
        radius: of the discs, share of the frame's shorter side.
        picture: as for `render`.
        texture_of: as for `render`.
        on_layer: called once for the ground and once for each track.

    Raises:
        ValueError: the picture has a wrong form, or the radius is not above 0 and at most 0.5.
    """
    require_positive("radius", radius, 0.5)
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in (canvas.height, canvas.width)), indexing="ij")
    starts = [
        track[shown.int().argmax()]
        for track, shown in zip(tracks.points.unbind(1), tracks.visible.unbind(1), strict=True)
    ]
    # A track that begins outside the frame is drawn at the border and moved there.
    last = torch.tensor(canvas.size, dtype=torch.float32)
    starts = [torch.minimum(start.clamp(min=0), last) for start in starts]
    reach = radius * min(canvas.size)
    discs = [(0.5 + reach - torch.hypot(x - start[0], y - start[1])).clamp(0, 1) for start in starts]
    matrices = [_translations(path - start) for path, start in zip(tracks.points.unbind(1), starts, strict=True)]
    ground, colours = _looks(canvas, picture, discs, texture_of)
    layers = [layer_of(*parts) for parts in zip(colours, discs, matrices, tracks.visible.unbind(1), strict=True)]
    frames, mask = rendered(ground, torch.eye(3).repeat(canvas.length, 1, 1), layers, on_layer=on_layer)
    return CrudeClip(frames, mask, tracks)


def _translations(displacement: Tensor) -> Tensor:
    matrices = torch.eye(3).repeat(len(displacement), 1, 1)
    matrices[:, :2, 2] = displacement
    return matrices


def _looks(
    canvas: Canvas, picture: Tensor | None, shapes: Sequence[Tensor], texture_of: Texture
) -> tuple[Tensor, list[Tensor]]:
    """The ground (H, W, 3) without the objects, and for each object the picture (H, W, 3) that it is cut out of."""
    width, height = canvas.size
    waves = [texture(width, height, seed)[..., None] for seed in range(min(len(shapes), len(PALETTE)) + 1)]
    if picture is None:
        ground = torch.tensor(GROUND) + texture_of.ground * waves[0]
        return ground, [
            torch.tensor(PALETTE[number % len(PALETTE)]) + texture_of.objects * waves[1 + number % len(PALETTE)]
            for number in range(len(shapes))
        ]
    require_clip("picture", picture)
    fitted = _fitted(picture, canvas.size)
    cut = torch.stack([*shapes, torch.zeros(height, width)]).amax(0)
    hole = max_pool2d(cut[None, None], 2 * MARGIN + 1, 1, MARGIN)[0, 0]
    ground = without(fitted, hole) if bool((hole <= 0).any()) else fitted
    textured = [
        fitted + (texture_of.objects * waves[1 + number % len(PALETTE)] if _is_flat(fitted, mask) else 0)
        for number, mask in enumerate(shapes)
    ]
    return ground, [colours.clamp(0, 1) for colours in textured]


def _fitted(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W, 3): the first of the pictures, cropped to fill the frame."""
    width, height = size
    image = picture[:1, ..., :3].detach().float().cpu().clamp(0, 1)
    rows, columns = image.shape[1:3]
    scale = max(height / rows, width / columns)
    inner = min(rows, round(height / scale)), min(columns, round(width / scale))
    top, left = (rows - inner[0]) // 2, (columns - inner[1]) // 2
    return resized_frames(image[:, top : top + inner[0], left : left + inner[1]], (height, width))[0].contiguous()


def _is_flat(picture: Tensor, mask: Tensor) -> bool:
    bright, total = picture.mean(-1), mask.sum()
    mean = (bright * mask).sum() / total
    return float(((bright - mean).square() * mask).sum() / total) < FLAT**2


def _tracks(canvas: Canvas, shapes: Sequence[Tensor], matrices: Sequence[Tensor], ground: Tensor | None) -> Tracks:
    """The points of objects, and those of the ground where it is given; seen inside the frame and under nothing."""
    size = torch.tensor(canvas.size, dtype=torch.float32)
    groups = [
        (moved_points(each, _points_of(mask)), number)
        for number, (mask, each) in enumerate(zip(shapes, matrices, strict=True))
    ]
    if ground is not None:
        quarters = torch.tensor([(x, y) for y in (0.25, 0.75) for x in (0.25, 0.75)])
        groups.append((moved_points(ground, quarters * size), -1))
    seen = []
    for points, number in groups:
        visible = ((points >= 0) & (points < size)).all(-1)
        for mask, matrix in list(zip(shapes, matrices, strict=True))[number + 1 :]:
            visible &= ~_covers(mask, matrix, points)
        seen.append(visible)
    if not groups:
        return Tracks(torch.zeros(canvas.length, 0, 2), torch.zeros(canvas.length, 0, dtype=torch.bool))
    return Tracks(torch.cat([points for points, _ in groups], 1), torch.cat(seen, 1))


def _points_of(mask: Tensor) -> Tensor:
    """(5, 2): the centroid of a mask (H, W), and those of its four quadrants about it."""
    x, y = centre_of(mask)
    column, row = round(x), round(y)
    points = [(x, y)]
    for rows in (slice(None, row), slice(row, None)):
        for columns in (slice(None, column), slice(column, None)):
            part = torch.zeros_like(mask)
            part[rows, columns] = mask[rows, columns]
            points.append(centre_of(part) if part.sum() > 0 else (x, y))
    return torch.tensor(points)


def _covers(mask: Tensor, matrices: Tensor, points: Tensor) -> Tensor:
    """(F, N) bool: whether the object of a mask (H, W) lies over points (F, N, 2)."""
    height, width = mask.shape
    back = torch.linalg.inv(matrices)
    places = points @ back[:, :2, :2].mT + back[:, None, :2, 2]
    column, row = places.floor().long().unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return inside & (mask[row.clamp(0, height - 1), column.clamp(0, width - 1)] > 0.5)
