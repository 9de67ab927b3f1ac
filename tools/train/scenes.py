"""The clips of the larger model: one sprite or several that move, turn, pulse, jump or bend, and a camera that moves.

Positions are (x, y) in pixels; the centre of the pixel in the top left corner is (0, 0). What is true of a clip stands
beside its frames: where each sprite and each of its parts is, and where the camera carries a point of the background.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tools.train.clips import MARGIN, MOTIONS, RADIUS, SIZE, SOFTNESS, TRAVEL, place
from tools.train.landscape import LANDSCAPES
from tools.train.patterns import BACKGROUNDS, COLOURS, SHAPES, Floats

HINGE = "hinge"
"""The shape of two bars that turn about a common end."""
BAR, BEND = 0.24, (0.5, 1.1)
"""Half of a bar's width as a share of the radius; how far a bar swings to either side, in radians."""
TURN = (0.75, 2.0)
"""Turns of a spinning sprite in 17 frames, to either side."""
PULSE = (0.2, 0.35)
"""Share of its radius by which a pulsing sprite swells and shrinks."""
JUMP = (30.0, 70.0)
"""How far a jumping sprite jumps in the middle of the clip, in pixels."""
PAN = (48.0, 128.0)
"""Path of a panning camera in 17 frames, in pixels: one to two tokens a latent frame, most of them."""
ZOOM = (1.35, 2.0)
"""Factor of a zoom in 17 frames, in or out."""
ROLL = (0.5, 1.3)
"""Angle of a roll in 17 frames, in radians, to either side."""
LAND = 3000.0
"""How far from (0, 0) a camera begins over a landscape, along each axis, in pixels."""
BEAT = 16
"""Frames that the paces above are given for, less the first."""

WORLDS = {**BACKGROUNDS, **LANDSCAPES}
"""All backgrounds, each a colour at (x, y) pixels."""
PASSED_OVER = ("pebbles",)
"""Backgrounds that show a moving camera."""


@dataclass(frozen=True)
class Kind:
    """A kind of scenes: how many sprites (least and most), and the moves of sprites and camera that occur in it.

    Each of ``acts`` and ``cameras`` is a word with how often it occurs; the word "" is none. ``meeting`` is the share
    of scenes whose sprites pass behind each other.
    """

    sprites: tuple[int, int] = (1, 1)
    acts: tuple[tuple[str, float], ...] = (("", 1.0),)
    cameras: tuple[tuple[str, float], ...] = (("", 1.0),)
    meeting: float = 0.0


KINDS: dict[str, Kind] = {
    "one": Kind(acts=(("", 0.68), ("spin", 0.1), ("pulse", 0.08), ("bend", 0.1), ("jump", 0.04))),
    "camera": Kind(cameras=(("pan", 0.6), ("zoom", 0.2), ("roll", 0.2))),
    "several": Kind(sprites=(2, 3), meeting=0.4),
}


@dataclass(frozen=True)
class Actor:
    """One sprite: its ``path`` is the true centre (T, 2), ``radius`` that of the circle around it, in pixels.

    ``scales`` (T,) multiply the radius, ``angles`` (T,) turn it, in radians. A hinge's bars point along ``bars``
    (T, 2), in radians, from ``path``; other shapes have none.
    """

    colour: str
    shape: str
    path: Floats
    radius: float
    scales: Floats
    angles: Floats
    bars: Floats | None = None

    @property
    def parts(self) -> Floats:
        """(parts, T, 2): the middle of each bar of a hinge, of other shapes the centre."""
        if self.bars is None:
            return self.path[None]
        return np.stack([self.path + self.radius / 2 * _direction(bar) for bar in self.bars.T])

    def distance(self, x: Floats, y: Floats, time: int) -> Floats:
        """Signed distance to the edge, in pixels, at (x, y), negative inside."""
        x, y = x - self.path[time, 0], y - self.path[time, 1]
        if self.bars is not None:
            return np.min([_to_bar(x, y, self.radius, _direction(bar)) for bar in self.bars[time]], axis=0)
        cos, sin = np.cos(self.angles[time]), np.sin(self.angles[time])
        return SHAPES[self.shape](x * cos + y * sin, y * cos - x * sin, self.radius * self.scales[time])


@dataclass(frozen=True)
class View:
    """A camera over a world: since frame 0 the world moved by ``shift`` (T, 2) pixels, then about the frame's middle it
    grew by ``zoom`` (T,) and turned by ``angle`` (T,) radians. ``origin`` (2,) is the place at the frame's corner."""

    shift: Floats
    zoom: Floats
    angle: Floats
    origin: Floats
    size: int

    @property
    def moves(self) -> bool:
        """Whether the camera does not stand still."""
        return bool(self.shift.any() or self.angle.any() or (self.zoom != 1).any())

    def place(self, points: Floats, time: int) -> Floats:
        """The world's places (..., 2) under points (..., 2) of a frame."""
        middle = (self.size - 1) / 2
        cos, sin = np.cos(self.angle[time]), np.sin(self.angle[time])
        turned = (points - middle) @ np.array([[cos, -sin], [sin, cos]]) / self.zoom[time]
        return turned + middle - self.shift[time] + self.origin

    def seen(self, places: Floats, time: int) -> Floats:
        """The points (..., 2) of a frame that show the world's places (..., 2)."""
        middle = (self.size - 1) / 2
        cos, sin = np.cos(self.angle[time]), np.sin(self.angle[time])
        about = (places - self.origin + self.shift[time] - middle) * self.zoom[time]
        return about @ np.array([[cos, sin], [-sin, cos]]) + middle

    def carried(self, points: Floats, now: int, then: int) -> Floats:
        """Where the camera carries the background's points (..., 2) of frame ``now`` by frame ``then``."""
        return self.seen(self.place(points, now), then)


@dataclass(frozen=True)
class Scene:
    """A rendered clip, (T, H, W, 3) float32 in [0, 1], and what is true of it; the last actor is on top."""

    frames: Floats
    actors: tuple[Actor, ...]
    background: str
    view: View
    words: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """The words for the model: colour and shape of each sprite, background, and the moves."""
        sprites = " and ".join(f"{actor.colour} {actor.shape}" for actor in self.actors)
        return " ".join((sprites, self.background, *self.words))


def make_scene(kind: str, seed: int, size: int = SIZE, frames: int = 17) -> Scene:
    """The scene of ``seed`` and of a kind of KINDS; the same arguments give the same pixels."""
    random = np.random.default_rng((list(KINDS).index(kind), seed))
    rules = KINDS[kind]
    camera, act = _drawn(random, rules.cameras), _drawn(random, rules.acts)
    background = _pick(random, PASSED_OVER if camera else tuple(WORLDS))
    view = _view(random, camera, background, size, frames)
    count = int(random.integers(rules.sprites[0], rules.sprites[1] + 1))
    colours = random.permutation(list(COLOURS))[:count]
    actors = [_actor(random, str(colour), act, size, frames) for colour in colours]
    if count > 1:
        actors = _together(random, actors, random.random() < rules.meeting, size)
    words = tuple(word for word in (camera, "" if act == "bend" else act) if word)
    return Scene(render(actors, background, view), tuple(actors), background, view, words)


def render(actors: list[Actor], background: str, view: View) -> Floats:
    """Frames (T, size, size, 3) float32 of actors, the last on top, over a background."""
    y, x = np.mgrid[: view.size, : view.size].astype(np.float32)
    points = np.stack([x, y], -1)
    draw = WORLDS[background]
    frames = np.empty((len(view.shift), view.size, view.size, 3), np.float32)
    for time, frame in enumerate(frames):
        if view.moves or time == 0:
            places = view.place(points, time)
            backdrop = draw(places[..., 0], places[..., 1])
        frame[:] = backdrop
        for actor in actors:
            distance = actor.distance(x, y, time)
            cover = np.clip(0.5 - distance / (2 * SOFTNESS), 0.0, 1.0)[..., None]
            frame[:] = frame * (1 - cover) + np.asarray(COLOURS[actor.colour]) * cover
    return frames


def _view(random: np.random.Generator, camera: str, background: str, size: int, frames: int) -> View:
    beats = np.linspace(0, 1, frames) * (frames - 1) / BEAT
    shift, zoom, angle = np.zeros((frames, 2)), np.ones(frames), np.zeros(frames)
    sign = random.choice((-1, 1))
    if camera == "pan":
        motion = _pick(random, ("line", "arc", "sine"))
        curve = MOTIONS[motion](np.linspace(0, 1, frames), random)
        length = np.linalg.norm(np.diff(curve, axis=0), axis=1).sum()
        shift = (curve - curve[0]) * random.uniform(*PAN) * max(beats[-1], 0.1) / length
    elif camera == "zoom":
        zoom = random.uniform(*ZOOM) ** (sign * beats)
    elif camera == "roll":
        angle = sign * random.uniform(*ROLL) * beats
    origin = random.uniform(-LAND, LAND, 2) if background in LANDSCAPES else np.zeros(2)
    return View(shift, zoom, angle, origin, size)


def _actor(random: np.random.Generator, colour: str, act: str, size: int, frames: int) -> Actor:
    radius = float(random.uniform(*RADIUS))
    motion = _pick(random, tuple(MOTIONS))
    times = np.linspace(0.0, 1.0, frames)
    path = place(MOTIONS[motion](times, random), random, radius, size, TRAVEL)
    shape = _pick(random, tuple(SHAPES))
    sprite = Actor(colour, shape, path, radius, np.ones(frames), np.zeros(frames))
    beats = times * (frames - 1) / BEAT
    sign = random.choice((-1, 1))
    if act == "spin":
        # A circle or a ring that spins looks like one that does not.
        shape = _pick(random, ("square", "triangle", "star"))
        return replace(sprite, shape=shape, angles=sign * random.uniform(*TURN) * 2 * np.pi * beats)
    if act == "pulse":
        return replace(sprite, scales=1 + random.uniform(*PULSE) * np.sin(4 * np.pi * beats))
    if act == "bend":
        first, swing, pace = random.uniform(0, 2 * np.pi), random.uniform(*BEND, 2), random.uniform(0.5, 1.2, 2)
        swung = swing * np.sin(2 * np.pi * (pace * beats[:, None] + random.uniform(0, 1, 2)))
        apart = first + np.array([0, random.uniform(0.5, 1.0) * np.pi])
        return replace(sprite, shape=HINGE, bars=apart + swung)
    if act == "jump":
        half, low = frames // 2, radius + MARGIN
        away = (size - 1) / 2 - path[half:].mean(0)
        path = path.copy()
        path[half:] += random.uniform(*JUMP) * away / max(np.linalg.norm(away), 1e-6)
        return replace(sprite, path=path.clip(low, size - 1 - low))
    return sprite


def _together(random: np.random.Generator, actors: list[Actor], meeting: bool, size: int) -> list[Actor]:
    """The same sprites on paths that stay apart, or that meet in mid clip."""
    placed = actors[:1]
    for actor in actors[1:]:
        frames = len(actor.path)
        low = actor.radius + MARGIN
        tries = [
            place(MOTIONS[_pick(random, tuple(MOTIONS))](np.linspace(0, 1, frames), random), random, actor.radius, size)
            for _ in range(12)
        ]
        if meeting:
            middle = placed[0].path[frames // 2]
            tries = [(path - path[frames // 2] + middle).clip(low, size - 1 - low) for path in tries[:1]]
        gaps = [min(np.linalg.norm(path - other.path, axis=1).min() for other in placed) for path in tries]
        placed.append(replace(actor, path=tries[int(np.argmax(gaps))]))
    return placed


def _to_bar(x: Floats, y: Floats, length: float, direction: Floats) -> Floats:
    """Signed distance to a bar of ``length`` from (0, 0) along ``direction``."""
    along = np.clip(x * direction[0] + y * direction[1], 0, length)
    return np.hypot(x - along * direction[0], y - along * direction[1]) - BAR * length


def _direction(angle: Floats) -> Floats:
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def _drawn(random: np.random.Generator, choices: tuple[tuple[str, float], ...]) -> str:
    words, shares = zip(*choices, strict=True)
    return words[int(random.choice(len(words), p=shares))]


def _pick(random: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(random.random() * len(choices))]
