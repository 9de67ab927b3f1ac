"""How well the transformer's signals match content: what guidance can be read from, measured while it trains.

For each block and head, queries and keys (the softmax of their products) and values (of their cosines) say where each
token's content is in the next latent frame. That is compared with where the scene truly carries it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from comfy.ldm.wan.model import WanModel
from comfy.ldm.wan.vae import WanVAE
from einops import rearrange
from numpy.typing import NDArray

from tools.train.checkpoint import Tensors
from tools.train.dit import Attended, make_dit, velocity
from tools.train.patterns import Floats
from tools.train.scenes import Scene, make_scene
from tools.train.vae import encode_clips
from tools.train.wide_vae import previewed

SCENES, FIRST_SEED = 12, 90_000_000
"""Scenes of each kind that it is measured on; none of them is trained on."""
SIGMA = 0.5
"""The noise level that the signals are read at."""
SHARPNESS = 10.0
"""What cosines are multiplied with before the softmax."""
STEEPNESS = 30.0
"""The same for squared distances of colours, in units of their spread."""
TOKEN = 16
"""Pixels a side of a token."""


@dataclass(frozen=True)
class Truth:
    """Where content goes from each latent frame to the next: ``moved`` (N, F - 1, P, 2) in tokens, at the tokens that
    ``mask`` (N, F - 1, P) marks. ``own`` compares each clip with the mean of all: for a camera, position alone tells
    much of what stays in view."""

    kind: str
    moved: Floats
    mask: NDArray[np.bool_]
    own: bool = False


class Emergence:
    """Called with a transformer's weights, the correlations of each block and head, by what they are measured at."""

    def __init__(self, vae: WanVAE) -> None:
        self.prompts: dict[str, list[str]] = {}
        self.latents: Tensors = {}
        self.truths: dict[str, Truth] = {}
        for kind in ("one", "camera", "several"):
            scenes = [make_scene(kind, FIRST_SEED + number) for number in range(SCENES)]
            self.prompts[kind] = [scene.prompt for scene in scenes]
            self.latents[kind] = encode_clips(vae, [scene.frames for scene in scenes])
            self.truths |= truths(kind, scenes)

    def __call__(self, weights: Tensors) -> dict[str, Any]:
        """{measured at: {"qk" or "v": [block][head], "colours": the same of clean latents' colours, with no model}}."""
        dit = make_dit()
        dit.load_state_dict(weights)
        found: dict[str, Any] = {}
        for kind, latents in self.latents.items():
            blocks = _attended(dit, latents, self.prompts[kind])
            for name, truth in self.truths.items():
                if truth.kind == kind:
                    found[name] = _correlations(blocks, latents, truth)
                    best = {key: float(np.max(values)) for key, values in found[name].items()}
                    print(f"emergence: {name} " + ", ".join(f"{key} {best[key]:.3f}" for key in best), flush=True)
        return found


def truths(kind: str, scenes: list[Scene]) -> dict[str, Truth]:
    """What is measured on scenes of a kind: their sprites (the first two of several), or the ground of a camera."""
    if kind == "camera":
        carried, seen = zip(*(_ground(scene) for scene in scenes), strict=True)
        return {"camera": Truth(kind, np.stack(carried), np.stack(seen), own=True)}
    count = 2 if kind == "several" else 1
    made = {}
    for index in range(count):
        carried, seen = zip(*(_sprite(scene, index) for scene in scenes), strict=True)
        made[kind if count == 1 else f"{kind} {index + 1}"] = Truth(kind, np.stack(carried), np.stack(seen))
    return made


def displaced(scores: torch.Tensor, height: int) -> Floats:
    """(..., P, 2): the mean shift (x, y) in tokens by the softmax of scores (..., P, P), token to token of a frame."""
    places = torch.from_numpy(_places(scores.shape[-1], height)).float()
    return (scores.softmax(-1) @ places - places).numpy()


def correlation(moved: Floats, truth: Truth) -> float:
    """Of measured shifts (N, F - 1, P, 2) with the true ones, at the marked tokens; both less their mean."""
    mask = truth.mask[..., None]
    axis = 0 if truth.own else (0, 1, 2)
    number = np.maximum(mask.sum(axis, keepdims=True), 1)
    ours, true = ((part - (part * mask).sum(axis, keepdims=True) / number) * mask for part in (moved, truth.moved))
    return round(float((ours * true).sum() / np.sqrt((ours**2).sum() * (true**2).sum() + 1e-12)), 3)


@torch.no_grad()
def _attended(dit: WanModel, latents: torch.Tensor, prompts: list[str]) -> list[Attended]:
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(FIRST_SEED))
    blocks: list[Attended] = []
    velocity(dit, SIGMA * noise + (1 - SIGMA) * latents, torch.full((len(latents),), SIGMA), prompts, attended=blocks)
    return blocks


def _correlations(blocks: list[Attended], latents: torch.Tensor, truth: Truth) -> dict[str, Any]:
    frames, height = latents.shape[2], latents.shape[3] // 2

    def measured(now: torch.Tensor, then: torch.Tensor, scale: float) -> list[float]:
        """By head, of signals (N, tokens, heads, d) of each frame and the next."""
        now, then = (rearrange(part, "n (f p) h d -> h n f p d", f=frames) for part in (now, then))
        return [
            correlation(displaced(scale * a[:, :-1] @ b[:, 1:].transpose(-1, -2), height), truth)
            for a, b in zip(now, then, strict=True)
        ]

    colours = rearrange(previewed(latents), "n c f (h y) (w x) -> n f (h w) c (y x)", y=2, x=2).mean(-1)
    colours = colours / colours.std((0, 1, 2))
    apart = torch.cdist(colours[:, :-1], colours[:, 1:]).square()
    return {
        "qk": [measured(block.q, block.k, block.q.shape[-1] ** -0.5) for block in blocks],
        "v": [measured(v, v, SHARPNESS) for v in (F.normalize(block.v, dim=-1) for block in blocks)],
        "colours": correlation(displaced(-STEEPNESS * apart, height), truth),
    }


def _times(scene: Scene) -> list[int]:
    """The frame that stands for each latent frame."""
    return [max(0, 4 * number - 2) for number in range((len(scene.frames) - 1) // 4 + 1)]


def _sprite(scene: Scene, index: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Shifts (F - 1, P, 2) in tokens of a sprite, and the tokens (F - 1, P) whose middle it covers."""
    actor, times = scene.actors[index], _times(scene)
    points = _points(scene)
    moved = np.diff(actor.path[times], axis=0)[:, None] / TOKEN
    covered = np.stack([_covering(scene, points, time) == index for time in times[:-1]])
    return np.broadcast_to(moved, (*covered.shape, 2)), covered


def _ground(scene: Scene) -> tuple[Floats, NDArray[np.bool_]]:
    """Shifts (F - 1, P, 2) in tokens of the ground, and the tokens (F - 1, P) that show it now and in view then."""
    points, times = _points(scene), _times(scene)
    moved, seen = [], []
    for now, then in zip(times[:-1], times[1:], strict=True):
        target = scene.view.carried(points, now, then)
        inside = ((target >= 0) & (target <= scene.view.size - 1)).all(-1)
        free = (_covering(scene, points, now) < 0) & (_covering(scene, target, then) < 0)
        moved.append((target - points) / TOKEN)
        seen.append(inside & free)
    return np.stack(moved), np.stack(seen)


def _covering(scene: Scene, points: Floats, time: int) -> NDArray[np.int_]:
    """(P,): the topmost sprite at each point, or -1."""
    top = np.full(len(points), -1)
    for index, actor in enumerate(scene.actors):
        top[np.linalg.norm(points - actor.path[time], axis=-1) < actor.radius] = index
    return top


def _points(scene: Scene) -> Floats:
    """(P, 2): the middle of each token, in pixels."""
    side = scene.view.size // TOKEN
    return _places(side * side, side) * TOKEN + (TOKEN - 1) / 2


def _places(count: int, height: int) -> Floats:
    """(P, 2): column and row of each token."""
    return np.stack(np.divmod(np.arange(count), count // height)[::-1], -1).astype(np.float64)
