"""What is drawn: objects that follow paths, and a camera. One JSON text, checked as everything that is typed.

Places are shares of the frame: (0, 0) is its top left corner, (1, 1) its bottom right one, whatever its size.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, get_args

from ..checks import is_number, is_whole

MOST_OBJECTS = 8
MOST_POINTS = 500
"""Of a path or a lasso."""
LONGEST_TEXT = 200_000
"""Characters of the JSON."""
OUTSIDE = (-1.0, 2.0)
"""Places may lie one frame outside the frame."""
MOST_TURN = 3600.0
SCALES = (0.1, 10.0)
MOST_SHAKE = 0.2
LARGEST_SEED = 2**32 - 1

Point = tuple[float, float]
Speed = Literal["even", "ease", "ease in", "ease out", "timed"]


@dataclass(frozen=True)
class Ellipse:
    """An ellipse: its centre and its radii along the axes, shares of the frame's width and height."""

    centre: Point
    radii: Point


@dataclass(frozen=True)
class Lasso:
    """A closed outline of at least three points, shares of the frame."""

    points: tuple[Point, ...]


@dataclass(frozen=True)
class MaskShape:
    """The mask of this number, from 0, in the batch of the masks input."""

    index: int


Shape = Ellipse | Lasso | MaskShape


@dataclass(frozen=True)
class Move:
    """A movement along a path, with a turn and a change of size that go along with it."""

    path: tuple[Point, ...] = ()
    """Points, shares of the frame. What moves goes as the path does, from its own place: the displacement counts."""
    speed: Speed = "even"
    """Speed along the path. timed: by `times`."""
    times: tuple[float, ...] = ()
    """With speed timed: when each point of the path is reached, 0 .. 1 of the clip."""
    turn: float = 0.0
    """Degrees at the end, clockwise."""
    scale: float = 1.0
    """Size at the end, 1: unchanged."""

    @property
    def moves(self) -> bool:
        """Whether anything changes."""
        return len(set(self.path)) > 1 or self.turn != 0 or self.scale != 1


@dataclass(frozen=True)
class DrawnObject:
    """Something that moves: what it is in the picture, and how it moves."""

    shape: Shape
    move: Move


@dataclass(frozen=True)
class Camera:
    """How the view moves: along a path (pan), with a zoom (scale) and a roll (turn)."""

    move: Move = field(default_factory=Move)
    parallax: float = 0.0
    """0: objects and ground are equally far. 1: the ground is so far that neither pan nor zoom moves it."""
    shake: float = 0.0
    """Standard deviation of a hand's shake along each axis, share of the frame's shorter side."""
    seed: int = 0
    """Of the shake."""

    @property
    def moves(self) -> bool:
        """Whether the view moves at all."""
        return self.move.moves or self.shake > 0


@dataclass(frozen=True)
class Drawing:
    """Objects, the last on top, and the camera that looks at them."""

    objects: tuple[DrawnObject, ...] = ()
    camera: Camera = field(default_factory=Camera)


def read_drawing(text: str, name: str = "drawing") -> Drawing:
    """The drawing that a JSON text describes.

    ``{"objects": [{"ellipse": [x, y, radius_x, radius_y], "path": [[x, y], ...], "speed": "ease", "turn": 90,
    "scale": 1.5}], "camera": {"path": [[0.5, 0.5], [0.7, 0.5]], "parallax": 0.5, "shake": 0.01, "seed": 1}}``: an
    object is an ``ellipse``, a ``lasso`` of points, or a ``mask`` (its number); what is left out has its default.

    Args:
        text: the JSON.
        name: the widget, for errors.

    Raises:
        ValueError: the text is no JSON, a part has a wrong form or is out of its range, or nothing is drawn.
    """
    if not isinstance(text, str) or len(text) > LONGEST_TEXT:
        got = f"{len(text):,} characters" if isinstance(text, str) else repr(text)[:80]
        _refuse(name, f"a JSON text of at most {LONGEST_TEXT:,} characters", got, "draw with fewer points")
    if not text.strip():
        _refuse(name, "at least one object or a camera that moves", "an empty text", "draw on the node")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        _refuse(name, "a drawing as JSON", repr(text[:80]), "clear the text and draw anew")
    _fields(name, data, ("objects", "camera"))
    listed = data.get("objects", [])
    if not isinstance(listed, list) or len(listed) > MOST_OBJECTS:
        got = f"{len(listed)} objects" if isinstance(listed, list) else _shown(listed)
        _refuse(f"{name}: objects", f"a list of at most {MOST_OBJECTS} objects", got, "delete some on the node")
    objects = tuple(_object(f"{name}: object {number}", each) for number, each in enumerate(listed, start=1))
    camera = _camera(f"{name}: camera", data.get("camera", {}))
    if not objects and not camera.moves:
        _refuse(name, "at least one object or a camera that moves", "neither", "draw on the node")
    return Drawing(objects, camera)


_SHAPES: dict[str, Callable[[str, Any], Shape]] = {}
_MOVE = ("path", "speed", "times", "turn", "scale")


def _object(name: str, data: object) -> DrawnObject:
    _fields(name, data, (*_SHAPES, *_MOVE))
    kinds = [kind for kind in _SHAPES if kind in data]
    if len(kinds) != 1:
        _refuse(name, f"exactly one of {', '.join(_SHAPES)}", " and ".join(kinds) or "none", "draw the object anew")
    return DrawnObject(_SHAPES[kinds[0]](f"{name}: {kinds[0]}", data[kinds[0]]), _move(name, data))


def _camera(name: str, data: object) -> Camera:
    _fields(name, data, (*_MOVE, "parallax", "shake", "seed"))
    seed = data.get("seed", 0)
    if not is_whole(seed) or seed > LARGEST_SEED:
        _refuse(f"{name}: seed", f"a whole number from 0 to {LARGEST_SEED}", _shown(seed))
    parallax, shake = _number(name, data, "parallax", 0.0, 0.0, 1.0), _number(name, data, "shake", 0.0, 0.0, MOST_SHAKE)
    return Camera(_move(name, data), parallax, shake, seed)


def _move(name: str, data: dict[str, Any]) -> Move:
    path = _points(f"{name}: path", data["path"], least=1) if data.get("path") else ()
    speed = data.get("speed", "even")
    if speed not in get_args(Speed):
        _refuse(f"{name}: speed", f"one of {', '.join(get_args(Speed))}", _shown(speed))
    times = _times(f"{name}: times", data.get("times", []), len(path)) if speed == "timed" else ()
    turn = _number(name, data, "turn", 0.0, -MOST_TURN, MOST_TURN)
    return Move(path, speed, times, turn, _number(name, data, "scale", 1.0, *SCALES))


def _times(name: str, data: object, count: int) -> tuple[float, ...]:
    rising = (
        isinstance(data, list)
        and all(is_number(time, 0, 1) for time in data)
        and all(before <= after for before, after in itertools.pairwise(data))
    )
    if not rising or len(data) != count:
        expected = f"a rising number from 0 to 1 for each of the path's {count} points"
        _refuse(name, expected, _shown(data), "draw the path anew, or choose another speed")
    return tuple(map(float, data))


def _ellipse(name: str, data: object) -> Ellipse:
    numbers = isinstance(data, list) and len(data) == 4 and all(is_number(each, *OUTSIDE) for each in data)
    if not numbers or not all(0 < radius <= 1 for radius in data[2:]):
        expected = "[x, y, radius_x, radius_y], centre from -1 to 2, radii above 0, at most 1"
        _refuse(name, expected, _shown(data), "draw the object anew")
    x, y, across, down = map(float, data)
    return Ellipse((x, y), (across, down))


def _mask(name: str, data: object) -> MaskShape:
    if not is_whole(data):
        _refuse(name, "the number of a mask of the masks input, from 0", _shown(data))
    return MaskShape(data)


def _points(name: str, data: object, least: int) -> tuple[Point, ...]:
    pairs = isinstance(data, list) and all(isinstance(point, list) and len(point) == 2 for point in data)
    if not pairs or not all(is_number(number, *OUTSIDE) for point in data for number in point):
        _refuse(name, "points [[x, y], ...], shares of the frame from -1 to 2", _shown(data), "draw it anew")
    if not least <= len(data) <= MOST_POINTS:
        _refuse(name, f"{least} to {MOST_POINTS} points", f"{len(data)}", "draw it anew")
    return tuple((float(x), float(y)) for x, y in data)


_SHAPES |= {"ellipse": _ellipse, "lasso": lambda name, data: Lasso(_points(name, data, least=3)), "mask": _mask}


def _number(name: str, data: dict[str, Any], key: str, default: float, low: float, high: float) -> float:
    value = data.get(key, default)
    if not is_number(value, low, high):
        _refuse(f"{name}: {key}", f"a number from {low:g} to {high:g}", _shown(value))
    return float(value)


def _fields(name: str, data: object, known: Sequence[str]) -> None:
    if not isinstance(data, dict):
        _refuse(name, f"an object with {', '.join(known)}", _shown(data), "draw it anew")
    if unknown := [key for key in data if key not in known]:
        _refuse(name, f"only {', '.join(known)}", _shown(unknown[0]), "remove it from the text")


def _shown(value: object) -> str:
    return f"{value!r:.80}"


def _refuse(name: str, expected: str, got: str, act: str = "correct the text or draw it anew") -> NoReturn:
    raise ValueError(f"{name}: expected {expected}, got {got}; {act}.")
