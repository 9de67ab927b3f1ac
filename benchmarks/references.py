"""Reference clips whose motion is known, and the prompt that each one's motion is put to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.tinywan.clips import BACKGROUNDS, COLOURS, FRAMES, SHAPES, SIZE, Floats, cut, make_clip

FIRST_SEED = 1000
"""Reference i is the clip of seed FIRST_SEED + i; the model is trained on other seeds."""

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "fast": {"travel": (150.0, 260.0)},
    "jump": {"jump": 40.0},
    "two": {"second": True},
    "camera": {"camera": True},
    "deform": {"pulse": 0.3},
    "cut": {},
}
"""What each kind of reference adds to a plain clip, as arguments of ``make_clip``; ``cut`` joins two clips."""


@dataclass(frozen=True, eq=False)
class Target:
    """A sprite that is asked for: its look is the prompt's, its ``path`` (T, 2), in pixels, the reference's."""

    colour: str
    shape: str
    path: Floats


@dataclass(frozen=True, eq=False)
class Reference:
    """A clip (T, H, W, 3) in [0, 1], and what a generated clip of its motion should show."""

    name: str
    frames: Floats
    prompt: str
    targets: tuple[Target, ...]


def make_reference(
    index: int,
    kind: str = "plain",
    size: int = SIZE,
    frames: int = FRAMES,
    colours: Sequence[str] = (),
    shapes: Sequence[str] = (),
    backgrounds: Sequence[str] = (),
) -> Reference:
    """Reference ``index`` of a kind, with a prompt of another colour and another shape.

    Args:
        index: from 0; the same index has the same path in every kind but ``cut``, whose second half is another's.
        kind: one of KINDS.
        size: pixels a side.
        frames: frames.
        colours: words to draw the looks from; all if empty.
        shapes: likewise.
        backgrounds: likewise.

    Raises:
        ValueError: the kind is unknown, or there are fewer than two words to choose from.
    """
    if kind not in KINDS:
        raise ValueError(f"reference kind: expected one of {', '.join(KINDS)}, got {kind!r}.")
    given = ((colours, COLOURS), (shapes, SHAPES), (backgrounds, BACKGROUNDS))
    words = [list(chosen or every) for chosen, every in given]
    if min(len(words[0]), len(words[1])) < 2:
        raise ValueError("reference: expected at least two colours and two shapes to choose from.")
    random = np.random.default_rng((FIRST_SEED + index, 1))
    look = [_pick(random, choices) for choices in words]
    options = {"size": size, "frames": frames, **KINDS[kind]}
    clip = make_clip(FIRST_SEED + index, *look, **options)
    pictures, paths = clip.frames, [sprite.path for sprite in clip.sprites]
    if kind == "cut":
        then, half = make_clip(FIRST_SEED + 500_000 + index, *look, **options), frames // 2
        pictures, paths = cut(clip, then, half), [np.concatenate([clip.path[:half], then.path[half:]])]
    targets: list[Target] = []
    for sprite, path in zip(clip.sprites, paths, strict=True):
        # Of two sprites each must differ from the one it replaces, and from the other in colour.
        taken = [sprite.colour, *(target.colour for target in targets)]
        colour = _pick(random, [word for word in words[0] if word not in taken])
        shape = _pick(random, [word for word in words[1] if word != sprite.shape])
        targets.append(Target(colour, shape, path))
    prompt = " and ".join(f"{target.colour} {target.shape}" for target in targets)
    return Reference(f"{kind} {index}", pictures, f"{prompt} {_pick(random, words[2])}", tuple(targets))


def _pick(random: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(random.integers(len(choices)))]
