"""Reference clips whose motion is known, and the prompt for which each one's motion guides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.train.clips import FRAMES, SIZE, cut, make_clip
from tools.train.patterns import BACKGROUNDS, COLOURS, LANDMARKS, SHAPES, UNREPEATED, Floats

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
    "shot": {},
}
"""What each kind of reference adds to a plain clip, as arguments of ``make_clip``. ``cut`` joins two clips in the
middle, at the end of a latent frame; ``shot`` is one of these two alone, of the wanted length."""


@dataclass(frozen=True, eq=False)
class Target:
    """A sprite to generate: its colour and shape are the prompt's, its ``path`` (T, 2), in pixels, the reference's."""

    colour: str
    shape: str
    path: Floats


@dataclass(frozen=True, eq=False)
class Reference:
    """A clip (T, H, W, 3) in [0, 1], and the paths and the prompt of a clip generated with its motion.

    ``camera`` (T, 2) is the background's path since frame 0, in pixels; None if it stands still.
    ``judged`` are the frames (from, to) whose path counts. ``look`` is the colour and shape of its own first sprite,
    ``caption`` the prompt that describes it.
    """

    name: str
    frames: Floats
    prompt: str
    targets: tuple[Target, ...]
    camera: Floats | None = None
    judged: tuple[int | None, int | None] = (None, None)
    look: tuple[str, str] | None = None
    caption: str = ""


def make_reference(
    index: int,
    kind: str = "plain",
    size: int = SIZE,
    frames: int = FRAMES,
    part: int = 0,
) -> Reference:
    """Reference ``index`` of a kind, with a prompt of another colour and another shape.

    Args:
        index: from 0; the same index has the same path in every kind but ``cut``, whose second half is another's.
        kind: one of KINDS.
        size: pixels a side.
        frames: frames.
        part: of a cut clip, the shot whose path is judged: 0 before the cut, 1 after it.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"reference kind: expected one of {', '.join(KINDS)}, got {kind!r}.")
    # A moving camera passes over LANDMARKS, and is to pass over UNREPEATED.
    words = [list(COLOURS), list(SHAPES), [UNREPEATED] if kind == "camera" else list(BACKGROUNDS)]
    random = np.random.default_rng((FIRST_SEED + index, 1))
    appearance = [_pick(random, choices) for choices in words]
    if kind == "camera":
        appearance[2] = LANDMARKS
    length = 2 * frames - 1 if kind == "shot" else frames
    options = {"size": size, "frames": length, **KINDS[kind]}
    clip = make_clip(FIRST_SEED + index, *appearance, **options)
    images, paths, judged = clip.frames, [sprite.path for sprite in clip.sprites], (None, None)
    if kind in ("cut", "shot"):
        then, half = make_clip(FIRST_SEED + 500_000 + index, *appearance, **options), (length + 1) // 2
        images, paths = cut(clip, then, half), [np.concatenate([clip.path[:half], then.path[half:]])]
        judged = (half, None) if part else (None, half)
        if kind == "shot":
            # The second shot is a frame shorter: it starts with the one before the cut.
            alone, span = (then, slice(half - 1, None)) if part else (clip, slice(half))
            images, paths, judged = alone.frames[span], [alone.path[span]], (None, None)
    targets: list[Target] = []
    for sprite, path in zip(clip.sprites, paths, strict=True):
        # Of two sprites each must differ from the one it replaces, and from the other in colour.
        taken = [sprite.colour, *(target.colour for target in targets)]
        colour = _pick(random, [word for word in words[0] if word not in taken])
        shape = _pick(random, [word for word in words[1] if word != sprite.shape])
        targets.append(Target(colour, shape, path))
    prompt = " and ".join(f"{target.colour} {target.shape}" for target in targets)
    prompt = f"{prompt} {_pick(random, words[2])}"
    camera = clip.camera if clip.camera.any() else None
    return Reference(
        f"{kind} {index}",
        images,
        prompt,
        tuple(targets),
        camera,
        judged,
        (clip.sprites[0].colour, clip.sprites[0].shape),
        clip.prompt,
    )


def _pick(random: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(random.integers(len(choices)))]
