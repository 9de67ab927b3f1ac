"""Clips whose cuts are known: real footage, and what editors, cameras and lights make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np

from benchmarks.runs.references import make_reference
from tools.host.layout import Layout
from tools.train.clips import make_clip
from tools.train.patterns import BACKGROUNDS, COLOURS, Floats

HEIGHT, WIDTH = 144, 256
"""Pixels of all clips but the tiny world's."""
FRAMES, AT = 33, 16
"""Of most clips, and the frame at which something happens."""
SHOTS = (0, 30, 76, 137, 187, 242)
"""The frames of bikes.mp4 that begin a shot."""
REAL = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4", "carphone_distorted.mp4")
"""Clips of `Layout.clips`; all but the first are one shot."""
TINY = 6
"""Clips of each kind of the tiny world."""
WHOLE = ("plain", "fast", "jump", "two", "camera", "deform")
"""The tiny world's kinds without a cut."""


@dataclass(frozen=True, eq=False)
class Case:
    """A clip (T, H, W, 3) in [0, 1], its kind, and the frames at which a shot of it begins."""

    kind: str
    frames: Floats
    cuts: tuple[int, ...] = ()


def all_cases() -> Iterator[Case]:
    """Every case, those with cuts first."""
    yield from real_cases()
    for kind, make in MADE.items():
        for number in range(len(stills())):
            yield make(kind, number)
    yield from tiny_cases()


def real_cases() -> Iterator[Case]:
    """Real footage as it is, at its own and at other rates; and each shot of it alone."""
    bikes = footage("bikes.mp4")
    yield Case("footage with cuts", bikes, SHOTS[1:])
    yield Case("footage with cuts", bikes.repeat(2, 0)[:300], tuple(2 * cut for cut in SHOTS[1:-2]))
    for start in (0, 40, 90, 140, 160):
        cuts = tuple(cut - start for cut in SHOTS[1:] if start < cut < start + 81)
        yield Case("footage with cuts", bikes[start : start + 81], cuts)
    # Every third frame for two that are shown: 25 to 16 frames per second.
    taken = [round(frame * 25 / 16) for frame in range(160)]
    yield Case("footage with cuts", bikes[taken], tuple(np.searchsorted(taken, SHOTS[1:]).tolist()))
    for start, end in zip(SHOTS, (*SHOTS[1:], len(bikes)), strict=True):
        yield Case("footage, one shot", bikes[start:end])
    for name in REAL[1:]:
        yield Case("footage, one shot", footage(name))
        # A reference of 8 frames per second.
        yield Case("footage, one shot", footage(name)[::3])


def tiny_cases() -> Iterator[Case]:
    """The tiny world's clips."""
    for frames in (17, 33):
        half = (frames + 1) // 2
        for index in range(TINY):
            yield Case("tiny world, another scene", other_scene(index, frames, half), (half,))
            yield Case("tiny world, sprite elsewhere", make_reference(index, "cut", frames=frames).frames, (half,))
            for kind in WHOLE:
                yield Case(f"tiny world, {kind}", make_reference(index, kind, frames=frames).frames)


def other_scene(index: int, frames: int, at: int) -> Floats:
    """Two clips of the tiny world of another sprite, background and motion, joined at frame `at`."""
    random = np.random.default_rng((1000 + index, 2))
    colours, backgrounds = random.permutation(list(COLOURS)), random.permutation(list(BACKGROUNDS))
    shots = [
        make_clip(1000 + index + 500_000 * n, str(colours[n]), None, str(backgrounds[n]), frames=frames).frames
        for n in (0, 1)
    ]
    return np.concatenate((shots[0][:at], shots[1][at:]))


@cache
def footage(name: str) -> Floats:
    """A real clip, shrunk to at most WIDTH pixels across."""
    return decoded(Layout.of().clips / name)


def decoded(path: Path) -> Floats:
    """(T, H, W, 3) in [0, 1]: a video file, shrunk to at most WIDTH pixels across."""
    with av.open(str(path)) as container:
        images = []
        for frame in container.decode(video=0):
            height = round(frame.height * min(1.0, WIDTH / frame.width))
            shrunk = frame.reformat(width=min(frame.width, WIDTH), height=height, format="rgb24", interpolation="AREA")
            images.append(shrunk.to_ndarray())
    return np.stack(images).astype(np.float32) / 255


@cache
def stills() -> tuple[Floats, ...]:
    """Frames of real clips, large enough to move a window over: (H, W, 3)."""
    with av.open(str(Layout.of().clips / "bikes.mp4")) as container:
        bikes = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(Layout.of().clips / "bigbuckbunny.mp4")) as container:
        bunny = next(container.decode(video=0)).reformat(width=854, height=480).to_ndarray(format="rgb24")
    images = [bikes[frame] for frame in (10, 60, 120, 150, 220)]
    return tuple(image.astype(np.float32) / 255 for image in (*images, bunny))


def window(still: Floats, places: Floats, zoom: float = 1.0) -> Floats:
    """(T, HEIGHT, WIDTH, 3): what a window over `still` shows at places (T, 2) (x, y), shares of its room.

    A window that is `zoom` times smaller is enlarged.
    """
    height, width = round(HEIGHT / zoom), round(WIDTH / zoom)
    room = np.array((still.shape[1] - width, still.shape[0] - height))
    corners = np.round(np.clip(places, 0, 1) * room).astype(int)
    shown = np.stack([still[y : y + height, x : x + width] for x, y in corners])
    if zoom == 1:
        return shown
    rows = (np.arange(HEIGHT) / zoom).astype(int).clip(max=height - 1)
    columns = (np.arange(WIDTH) / zoom).astype(int).clip(max=width - 1)
    return shown[:, rows][:, :, columns]


def pan(number: int, frames: int = FRAMES, start: float = 0.0, end: float = 1.0, zoom: float = 1.0) -> Floats:
    """A window that goes over still `number` from one place to another."""
    along = np.linspace(start, end, frames)
    return window(stills()[number % len(stills())], np.stack((along, np.full(frames, 0.5)), -1), zoom)


def held(number: int, frames: int = FRAMES) -> Floats:
    """A still that is shown for all frames."""
    return pan(number, frames, 0.3, 0.3)


def _random(kind: str, number: int) -> np.random.Generator:
    return np.random.default_rng((number, *kind.encode()))


def _joined(first: Floats, then: Floats) -> Floats:
    return np.concatenate((first[:AT], then[AT:]))


def _subtitle(frames: Floats, share: float, random: np.random.Generator) -> Floats:
    """White words on dark bars in the lower part, over that share of the height, from frame 24 on."""
    titled, height = frames.copy(), round(HEIGHT * share)
    top = HEIGHT - height - 12
    words = random.random((height // 4 + 1, WIDTH // 8)) < 0.5
    text = words.repeat(4, 0).repeat(4, 1)[:height, : WIDTH // 2]
    left = WIDTH // 4
    titled[24:, top : top + height, left : left + text.shape[1]] = text[None, ..., None] * 0.95
    return titled


def _whip(number: int) -> Floats:
    """A pan that whips over most of the still in four frames, with motion blur."""
    moments = np.interp(np.arange(0, FRAMES * 8) / 8, (0, AT, AT + 4, FRAMES), (0, 0.05, 0.95, 1))
    return pan_along(number, moments).reshape(FRAMES, 8, HEIGHT, WIDTH, 3).mean(1)


def pan_along(number: int, moments: Floats) -> Floats:
    """Still `number` under a window at these moments of its course, (T,) in [0, 1]."""
    return window(stills()[number], np.stack((moments, np.full(len(moments), 0.5)), -1), 1.3)


def _object(number: int, frames_in: int, share: float) -> Floats:
    """A still over which a part of another comes in from the left, as wide as `share` of the frame."""
    frames, other = held(number).copy(), held(number + 1)
    for time in range(AT, FRAMES):
        width = round(WIDTH * share * min(1.0, (time - AT + 1) / frames_in))
        frames[time, 20:, :width] = other[time, 20:, WIDTH - width :]
    return frames


def _shaken(number: int, amplitude: float) -> Floats:
    random = _random("shake", number)
    places = 0.5 + random.uniform(-1, 1, (FRAMES, 2)) * amplitude
    return window(stills()[number], places, 1.2)


def _stepped(number: int, pixels: int, frames: Floats | None = None) -> Floats:
    """A still, or frames, moved by that many pixels at once."""
    frames = held(number) if frames is None else frames
    return np.concatenate((frames[:AT], np.roll(frames[AT:], pixels, 2)))


def _mixed(first: Floats, then: Floats, length: int) -> Floats:
    share = np.clip((np.arange(FRAMES) - AT) / length, 0, 1).astype(np.float32)[:, None, None, None]
    return first * (1 - share) + then * share


def _flash(number: int, length: int, light: float) -> Floats:
    frames = pan(number).copy()
    frames[AT : AT + length] = frames[AT : AT + length] * (1 - light) + light
    return frames


def _exposed(frames: Floats, gain: float, offset: float) -> Floats:
    return np.concatenate((frames[:AT], np.clip(frames[AT:] * gain + offset, 0, 1)))


def _zoomed(number: int) -> Floats:
    zooms = np.linspace(1, 2.5, FRAMES)
    middle = np.full((1, 2), 0.5)
    return np.concatenate([window(stills()[number], middle, float(zoom)) for zoom in zooms])


MADE: dict[str, Callable[[str, int], Case]] = {
    # With a cut.
    "other scene": lambda k, n: Case(k, _joined(pan(n), pan(n + 1)), (AT,)),
    "other scene, both still": lambda k, n: Case(k, _joined(held(n), held(n + 2)), (AT,)),
    "other scene, same light": lambda k, n: Case(k, _joined(pan(n), _alike(pan(n + 3), pan(n))), (AT,)),
    "same scene, other place": lambda k, n: Case(
        k, _joined(pan(n, end=0.15, zoom=2.0), pan(n, start=0.85, zoom=2.0)), (AT,)
    ),
    "same scene, closer": lambda k, n: Case(k, _joined(pan(n, end=0.2), pan(n, end=0.2, zoom=2.0)), (AT,)),
    "same scene, reverse angle": lambda k, n: Case(k, _joined(pan(n), pan(n)[:, :, ::-1]), (AT,)),
    "cut inside a fast pan": lambda k, n: Case(
        k, _joined(pan(n, zoom=1.5), pan(n + 1, start=1, end=0, zoom=1.5)), (AT,)
    ),
    "cut from black": lambda k, n: Case(k, _joined(np.zeros_like(pan(n)), pan(n)), (AT,)),
    "cut early": lambda k, n: Case(k, np.concatenate((pan(n)[:4], pan(n + 1)[4:])), (4,)),
    # Without one.
    "still": lambda k, n: Case(k, held(n)),
    "slow pan": lambda k, n: Case(k, pan(n)),
    "subtitle, still": lambda k, n: Case(k, _subtitle(held(n), 0.12, _random(k, n))),
    "subtitle, pan": lambda k, n: Case(k, _subtitle(pan(n), 0.12, _random(k, n))),
    "large title, still": lambda k, n: Case(k, _subtitle(held(n), 0.4, _random(k, n))),
    "exposure step 0.02, still": lambda k, n: Case(k, _exposed(held(n), 1, 0.02)),
    "exposure step 0.02, pan": lambda k, n: Case(k, _exposed(pan(n), 1, 0.02)),
    "exposure step 0.1, still": lambda k, n: Case(k, _exposed(held(n), 1, 0.1)),
    "gain step 1.3, pan": lambda k, n: Case(k, _exposed(pan(n), 1.3, 0)),
    "gain step 0.6, still": lambda k, n: Case(k, _exposed(held(n), 0.6, 0)),
    "step of 6 px, still": lambda k, n: Case(k, _stepped(n, 6)),
    "step of 24 px, still": lambda k, n: Case(k, _stepped(n, 24)),
    "step of 6 px, pan": lambda k, n: Case(k, _stepped(n, 6, pan(n))),
    "flash of 1": lambda k, n: Case(k, _flash(n, 1, 1.0)),
    "flash of 2": lambda k, n: Case(k, _flash(n, 2, 0.7)),
    "fade to black": lambda k, n: Case(k, _mixed(pan(n), np.zeros_like(pan(n)), 8)),
    "dissolve of 8": lambda k, n: Case(k, _mixed(pan(n), pan(n + 1), 8)),
    "dissolve of 4": lambda k, n: Case(k, _mixed(pan(n), pan(n + 1), 4)),
    "whip pan": lambda k, n: Case(k, _whip(n)),
    "object enters in 3": lambda k, n: Case(k, _object(n, 3, 0.45)),
    "object enters at once": lambda k, n: Case(k, _object(n, 1, 0.3)),
    "camera shake": lambda k, n: Case(k, _shaken(n, 0.5)),
    "one jolt": lambda k, n: Case(k, np.concatenate((held(n)[:AT], _shaken(n, 0.3)[AT : AT + 1], held(n)[AT + 1 :]))),
    "zoom": lambda k, n: Case(k, _zoomed(n)),
    "grain": lambda k, n: Case(k, held(n) + _random(k, n).normal(0, 0.06, held(n).shape).astype(np.float32)),
    "5 frames dropped, pan": lambda k, n: Case(k, np.delete(pan(n, FRAMES + 5), np.s_[AT : AT + 5], 0)),
}
"""Kinds that are made of the stills."""


def _alike(frames: Floats, like: Floats) -> Floats:
    """`frames` with the mean and the contrast of the colours of `like`."""
    mean, spread = frames.mean((0, 1, 2)), frames.std((0, 1, 2))
    return np.clip((frames - mean) / spread * like.std((0, 1, 2)) + like.mean((0, 1, 2)), 0, 1).astype(np.float32)
