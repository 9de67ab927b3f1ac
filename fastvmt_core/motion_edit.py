"""Edits of a motion, each a function from one motion to another; the clip is not needed again.

What the model's attention says where nothing moves (`MotionEmbedding.rest`) stays in its place; what the flow has
beyond that is carried to where the edit puts the things of the reference (`rearrange.py`), whose ways `tracks.py`
finds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from einops import rearrange
from kornia.filters import gaussian_blur2d
from kornia.geometry.transform import resize
from torch import Tensor

from .amf import AttentionMotionFlow
from .config import TrackConfig
from .grid import TokenGrid
from .motion import MotionEmbedding
from .rearrange import Course, carry, carry_latent, moved_steps, shown_share, splat
from .tracks import camera_path, extent, latent_steps, places, tracks, with_surroundings
from .windows import Tiling, frame_pairs

Axis = Literal["horizontal", "vertical"]

_WAY = TrackConfig()


def mirror(motion: MotionEmbedding, axis: Axis = "horizontal") -> MotionEmbedding:
    """The motion of the mirrored reference: left and right (or up and down) exchanged. Twice is the identity."""
    side, sign = (2, (-1.0, 1.0)) if axis == "horizontal" else (1, (1.0, -1.0))

    def flip(field: Tensor) -> Tensor:
        return field.flip(side) * torch.tensor(sign)

    def offsets(field: Tensor) -> Tensor:
        return flip(field)

    return _each_flow(
        motion,
        reference=None if motion.reference is None else motion.reference.flip(side + 2),
        vectors=lambda field, _: flip(field),
        offsets=offsets,
        confidence=lambda field: field.flip(side),
        steps=torch.stack([flip(steps) for steps in steps_of(motion)]),
        mask=None if motion.mask is None else motion.mask.flip(side),
        thumbnail=None if motion.thumbnail is None else motion.thumbnail.flip(side - 1),
        cuts=motion.cuts,
        said=f"mirror {axis}",
    )


def reverse(motion: MotionEmbedding) -> MotionEmbedding:
    """The motion of the reference played backwards. Twice is the identity.

    A motion that holds both directions of time changes one for the other; one that does not gets its vectors turned
    round and put down where they pointed to.
    """
    steps = steps_of(motion)
    frames = motion.grid.frames
    tiling = Tiling(motion.grid.height, motion.grid.width, motion.config.tile)
    backward = motion.backward or tuple(_turned_round(motion, number) for number in range(len(motion.flows)))
    flows = tuple(
        replace(
            flow,
            displacement=there,
            centres=reversed_centres(flow, tiling),
            confidence=None if flow.confidence is None else flow.confidence[_opposite_pairs(flow)],
        )
        for flow, there in zip(motion.flows, backward, strict=True)
    )
    return replace(
        motion,
        flows=_within(flows, motion.grid),
        backward=tuple(flow.displacement for flow in motion.flows),
        reference=None if motion.reference is None else motion.reference.flip(2),
        reference_hash=_marked(motion, "reverse"),
        steps=steps.flip(0, 1),
        mask=None if motion.mask is None else motion.mask.flip(0),
        cuts=tuple(sorted(frames - cut for cut in motion.cuts)),
    )


def amplify(motion: MotionEmbedding, factor: float) -> MotionEmbedding:
    """Everything moves `factor` times as far about the middle of its own way; below 1 damps, 0 stands still.

    Raises:
        ValueError: the factor is negative or not finite.
    """
    _require_number("factor", factor, 0.0)

    def plan(seen: _Seen) -> Tensor:
        middle = seen.now.mean(1, keepdim=True)
        return middle + factor * (seen.now - middle)

    return _rearranged(motion, plan, range(motion.grid.frames), f"amplify {factor:g}")


def change_speed(motion: MotionEmbedding, factor: float) -> MotionEmbedding:
    """The motion `factor` times as fast, in as many frames: faster ends early and holds, slower shows its beginning.

    Raises:
        ValueError: the factor is not above 0.
    """
    _require_number("factor", factor, 0.0)
    if factor == 0:
        raise ValueError("speed: expected a number above 0, got 0; to hold a frame, freeze it.")
    times = [min(factor * frame, motion.grid.frames - 1.0) for frame in range(motion.grid.frames)]
    return _retimed(motion, times, f"speed {factor:g}")


def freeze(motion: MotionEmbedding, first: int, last: int) -> MotionEmbedding:
    """Hold latent frame `first` up to frame `last`, then go on from there; what no longer fits at the end is left out.

    Raises:
        ValueError: the frames are not in the motion, or not in order.
    """
    frames = motion.grid.frames
    if not 0 <= first <= last < frames:
        raise ValueError(
            f"freeze: expected frames of the latent in order, from 0 to {frames - 1}, got {first} to {last}; set "
            "freeze_from and freeze_to inside the clip."
        )
    times = [time if time < first else max(first, time - (last - first)) for time in range(frames)]
    return _retimed(motion, times, f"freeze {first} {last}")


def without_camera(motion: MotionEmbedding) -> MotionEmbedding:
    """The motion as a camera at rest sees it: the common movement of each pair of frames is taken out."""
    edited = with_camera(motion, torch.zeros(motion.grid.frames, 2))

    def centred(field: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
        common = rearrange(field, "p h w xy -> p (h w) xy").median(1).values
        moving = torch.tensor([i != j for i, j in pairs])
        return field - rearrange(common * moving[:, None], "p xy -> p 1 1 xy")

    return _each_flow(
        edited,
        reference=edited.reference,
        vectors=lambda field, _: centred(field, edited.flows[0].pairs),
        offsets=lambda field: field,
        confidence=lambda field: field,
        steps=edited.steps,
        mask=edited.mask,
        thumbnail=edited.thumbnail,
        cuts=edited.cuts,
        said="still",
    )


def only_camera(motion: MotionEmbedding) -> MotionEmbedding:
    """The camera's movement alone: everything keeps its mean place in the scene, and the camera moves over it."""

    def plan(seen: _Seen) -> Tensor:
        path = rearrange(seen.camera, "t xy -> t 1 1 xy")
        return (seen.now - path).mean(1, keepdim=True) + path

    return _rearranged(motion, plan, range(motion.grid.frames), "camera only")


def with_camera(motion: MotionEmbedding, path: Tensor) -> MotionEmbedding:
    """The motion with its own camera's way replaced by `path` (F, 2), tokens since frame 0.

    Raises:
        ValueError: the path has another number of frames.
    """
    if tuple(path.shape) != (motion.grid.frames, 2):
        raise ValueError(f"camera: expected a way of {motion.grid.frames} frames, got shape {tuple(path.shape)}.")

    def plan(seen: _Seen) -> Tensor:
        return seen.now + rearrange(path * seen.per_token - seen.camera, "t xy -> t 1 1 xy")

    return _rearranged(motion, plan, range(motion.grid.frames), "camera")


def fit_to(motion: MotionEmbedding, grid: TokenGrid) -> MotionEmbedding:
    """The motion for another size and length: retimed to as many frames, resampled, its vectors and window scaled.

    Returns:
        The motion itself where the grid is its own.
    """
    if grid == motion.grid:
        return motion
    if grid.frames != motion.grid.frames:
        last, steps = motion.grid.frames - 1, max(1, grid.frames - 1)
        motion = _retimed(motion, [frame * last / steps for frame in range(grid.frames)], f"{grid.frames} frames")
    return motion if grid == motion.grid else _resized(motion, grid)


def for_guidance(motion: MotionEmbedding, grid: TokenGrid) -> MotionEmbedding:
    """The motion as `fit_to` makes it, without its reference's latent, which guidance does not look at."""
    if grid == motion.grid:
        return motion
    return fit_to(replace(motion, steps=steps_of(motion), reference=None), grid)


def grid_for(motion: MotionEmbedding, frames: int, height: int, width: int) -> TokenGrid:
    """The grid of a clip of that many latent frames and pixels a side; sides of 0 are the motion's own."""
    own = motion.grid
    rows, columns = (-(-side // motion.fingerprint.pixels_per_token) for side in (height, width))
    return TokenGrid(frames, rows or own.height, columns or own.width)


def size_change(motion: MotionEmbedding, grid: TokenGrid) -> float:
    """The largest ratio between the motion's frames, rows, columns or shape and the grid's; 1 where none changes."""
    ratios = [new / old for new, old in zip(grid.as_tuple, motion.grid.as_tuple, strict=True)]
    ratios.append(ratios[2] / ratios[1])
    return max(max(ratio, 1 / ratio) for ratio in ratios)


def blend(first: MotionEmbedding, second: MotionEmbedding, share: float | Tensor) -> MotionEmbedding:
    """Two motions in one: `share` of the second and the rest of the first.

    Args:
        first: it gives size, length, settings and the model.
        second: it is fitted to the first.
        share: one number from 0 to 1, or a (F, H, W) of them on the first's grid: 1 is where the second counts.

    Raises:
        ValueError: the motions come from different models, blocks, spans or numbers of noise levels, or the share is
            not of that kind.
    """
    first.require_model(second.fingerprint)
    second = fit_to(second, first.grid)
    for name in ("temporal_span", "tile"):
        expected, got = getattr(first.config, name), getattr(second.config, name)
        if expected != got:
            raise ValueError(f"motion_b: expected {name} {expected}, as in motion_a, got {got}; extract it alike.")
    if len(first.flows) != len(second.flows):
        raise ValueError(
            f"motion_b: expected {len(first.flows)} noise levels, as in motion_a, got {len(second.flows)}; extract it "
            "alike."
        )
    if not torch.is_tensor(share):
        _require_number("weight", share, 0.0, 1.0)
        share = torch.full(first.grid.as_tuple, float(share))
    share = _required_mask("mask", share, first.grid)

    def mixed(a: Tensor, b: Tensor, part: Tensor) -> Tensor:
        return a + part * (b - a)

    pairs = first.flows[0].pairs
    begins = share[[i for i, _ in pairs]][..., None]
    ends = share.flip(0)[[i for i, _ in pairs]][..., None]
    of_tile = _per_tile(begins, first)
    flows = tuple(
        replace(
            a,
            displacement=mixed(a.displacement, b.displacement, begins),
            centres=mixed(a.centres, b.centres, of_tile),
            confidence=None
            if a.confidence is None or b.confidence is None
            else mixed(a.confidence, b.confidence, begins[..., 0]),
        )
        for a, b in zip(first.flows, second.flows, strict=True)
    )
    both = [(first.rest, second.rest, begins), (first.backward, second.backward, ends)]
    rest, backward = (
        tuple(mixed(x, y, part) for x, y in zip(a, b, strict=True)) if a and b else () for a, b, part in both
    )
    sides = share[:-1], share[1:]
    steps = torch.stack(
        [mixed(a, b, part[..., None]) for a, b, part in zip(steps_of(first), steps_of(second), sides, strict=True)]
    )
    masks = [torch.ones(first.grid.as_tuple) if each.mask is None else each.mask for each in (first, second)]
    return replace(
        first,
        flows=flows,
        rest=rest,
        backward=backward,
        reference=_blended_latent(first, second, share),
        reference_hash=_marked(first, f"blend {second.reference_hash[:16]}"),
        steps=steps,
        mask=None if first.mask is None and second.mask is None else mixed(*masks, share),
        cuts=tuple(sorted({*first.cuts, *second.cuts})),
    )


def subject_and_camera(subject: MotionEmbedding, camera: MotionEmbedding) -> MotionEmbedding:
    """What moves in one motion, as the camera of the other sees it.

    Raises:
        ValueError: the motions come from different models.
    """
    subject.require_model(camera.fingerprint)
    return with_camera(subject, camera_of(fit_to(camera, subject.grid)))


def masked(motion: MotionEmbedding, mask: Tensor) -> MotionEmbedding:
    """The motion, guiding only where `mask` (F, H, W) in [0, 1] says; multiplied by a mask that it has already.

    Raises:
        ValueError: the mask has another shape, other values, or is empty.
    """
    mask = _required_mask("mask", mask, motion.grid)
    mask = mask if motion.mask is None else mask * motion.mask
    if not bool((mask > 0).any()):
        raise ValueError(
            "mask: expected some place that is guided, got an empty mask; draw one, or leave the node out."
        )
    return replace(motion, mask=mask)


def token_mask(mask: Tensor, grid: TokenGrid, feather: float = 0.0) -> Tensor:
    """A mask of pictures on a motion's tokens, (F, H, W) in [0, 1].

    Args:
        mask: (h, w) or (T, h, w) in [0, 1]: one for all frames or one a frame of the clip, at any size.
        grid: the motion's.
        feather: tokens over which its edge is made soft.

    Raises:
        ValueError: it has another shape, or is not finite.
    """
    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim != 3 or min(mask.shape) < 1 or not bool(torch.isfinite(mask).all()):
        raise ValueError(f"mask: expected finite pictures (frames, height, width), got shape {tuple(mask.shape)}.")
    shown = mask.detach().float().cpu().clamp(0, 1)
    # A latent frame holds several of the clip's; the mask's frame in the middle of them stands for it.
    frames = torch.linspace(0, len(shown) - 1, grid.frames).round().long()
    small = resize(shown[frames][:, None], (grid.height, grid.width), antialias=True)
    if feather > 0:
        side = 2 * math.ceil(2 * feather) + 1
        # Replicated by hand: a border narrower than the kernel cannot be reflected.
        reach = side // 2
        wide = torch.nn.functional.pad(small, (reach,) * 4, mode="replicate")
        small = gaussian_blur2d(wide, (side, side), (feather, feather))[..., reach:-reach, reach:-reach]
    return small[:, 0].clamp(0, 1)


def steps_of(motion: MotionEmbedding) -> Tensor:
    """(2, F - 1, H, W, 2): the steps that the motion keeps, or those of its reference, or else of its vectors."""
    if motion.steps is not None:
        return motion.steps
    if motion.reference is not None:
        return _shot_by_shot(latent_steps(motion.reference, motion.grid, _WAY), motion.cuts)
    return _shot_by_shot(_steps_of_vectors(motion), motion.cuts)


def _shot_by_shot(steps: Tensor, cuts: Sequence[int]) -> Tensor:
    """Steps (2, F - 1, H, W, 2) without those across a cut: what another shot shows is no movement."""
    kept = torch.ones(steps.shape[1])
    kept[[cut - 1 for cut in cuts]] = 0
    return steps * rearrange(kept, "t -> t 1 1 1")


def ways(motion: MotionEmbedding) -> Tensor:
    """(F, F, H, W, 2): tracks of everything in the reference, its surroundings taken along (`tracks.tracks`)."""
    return with_surroundings(tracks(steps_of(motion)), _WAY)


def camera_of(motion: MotionEmbedding) -> Tensor:
    """(F, 2): the camera's way in tokens since frame 0, as what most of the picture does."""
    return camera_path(steps_of(motion))


def beyond_rest(motion: MotionEmbedding, number: int = 0) -> Tensor:
    """(P, H, W, 2): what flow `number` says beyond the model's rest."""
    held = motion.flows[number].displacement
    return held - motion.rest[number] if motion.rest else held


def _steps_of_vectors(motion: MotionEmbedding) -> Tensor:
    vectors, pairs = beyond_rest(motion), motion.flows[0].pairs
    frames, height, width = motion.grid.as_tuple
    neighbours = [pairs.index((t, t + 1)) for t in range(frames - 1)] if motion.flows[0].span > 1 else []
    if not neighbours:
        return torch.zeros(2, frames - 1, height, width, 2)
    forward = vectors[neighbours]
    own, back = places(height, width), []
    for step in forward:
        cover, _, summed = splat(-step, own + step, torch.ones(height, width))
        common = rearrange(-step, "h w xy -> (h w) xy").median(0).values
        back.append(torch.where(cover > 0.25, summed / cover.clamp(min=0.25), common))
    return torch.stack((forward, torch.stack(back)))


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a clip shows, on its tokens or on its latent's pixels."""

    now: Tensor
    """(F, F, H, W, 2): tracks of everything."""
    camera: Tensor
    """(F, 2): the camera's way since frame 0."""
    per_token: Tensor
    """(2,): units of these in a token."""


_Plan = Callable[[_Seen], Tensor]
"""Where an edit puts everything: (F, F', H, W, 2)."""


def _rearranged(motion: MotionEmbedding, plan: _Plan, sources: Sequence[int], said: str) -> MotionEmbedding:
    """The motion with everything where `plan` puts it, its latent too."""
    steps = steps_of(motion)
    alone = tracks(steps)
    now = with_surroundings(alone, _WAY)
    then = plan(_Seen(now, camera_path(steps), torch.ones(2)))
    course = Course(now, then, tuple(sources), (extent(alone) / _WAY.moving).clamp(max=1))
    grid = TokenGrid(len(course.sources), motion.grid.height, motion.grid.width)
    old, new = motion.flows[0].pairs, frame_pairs(grid.frames, motion.config.temporal_span)
    target = replace(motion.flows[0], pairs=new)
    own = places(grid.height, grid.width)
    last = torch.tensor((grid.width - 1, grid.height - 1), dtype=torch.float32)
    start = [old.index(course.source(pair)) for pair in new]
    rest = tuple(held[start] for held in motion.rest)
    flows, backward = [], []
    for number, flow in enumerate(motion.flows):
        vectors = beyond_rest(motion, number)
        gain = shown_share(vectors, old, alone, _WAY)
        sides = [(vectors, course)]
        if motion.backward:
            back = motion.backward[number] - (motion.rest[number] if motion.rest else 0)
            sides.append((back, course.reversed))
        found = []
        for held, way in sides:
            field = carry(held, old, new, way, gain, _WAY) + (rest[number] if rest else 0)
            found.append(torch.minimum((own + field).clamp(min=0), last) - own)
        backward += found[1:]
        confidence = flow.confidence
        if confidence is not None:
            padded = torch.cat((torch.zeros(*confidence.shape, 2), confidence[..., None]), -1)
            confidence = carry(padded, old, new, course, 0.0, _WAY)[..., 2].clamp(0, 1)
        flows.append(
            replace(
                target,
                displacement=found[0],
                centres=_carried_centres(motion, flow, course, new),
                confidence=confidence,
            )
        )
    mask = motion.mask
    if mask is not None:
        at = [(frame, frame) for frame in range(motion.grid.frames)]
        then_at = [(frame, frame) for frame in range(grid.frames)]
        mask = carry(mask[..., None], at, then_at, course, 0.0, _WAY)[..., 0].clamp(0, 1)
    shots = [sum(cut <= source for cut in motion.cuts) for source in course.sources]
    return replace(
        motion,
        flows=_within(flows, grid),
        grid=grid,
        rest=rest,
        backward=tuple(backward),
        reference=_rearranged_latent(motion, plan, course.sources),
        reference_hash=_marked(motion, said),
        steps=bounded(moved_steps(course, _WAY), grid),
        mask=mask,
        cuts=tuple(frame for frame in range(1, grid.frames) if shots[frame] != shots[frame - 1]),
    )


def _rearranged_latent(motion: MotionEmbedding, plan: _Plan, sources: tuple[int, ...]) -> Tensor | None:
    """The reference's latent with everything where `plan` puts it, to be read again; None where it was not kept."""
    latent = motion.reference
    if latent is None:
        return None
    grid = TokenGrid(*latent.shape[2:])
    per_token = torch.tensor((grid.width / motion.grid.width, grid.height / motion.grid.height))
    ratio = float(per_token.max())
    config = replace(_WAY, reach=_WAY.reach * ratio, moving=_WAY.moving * ratio)
    steps = _shot_by_shot(latent_steps(latent, grid, config), motion.cuts)
    now = tracks(steps)
    then = plan(_Seen(now, camera_path(steps), per_token))
    course = Course(now, then, sources, (extent(now) / config.moving).clamp(max=1))
    return carry_latent(latent, course).to(latent.dtype)


def _retimed(motion: MotionEmbedding, times: Sequence[float], said: str) -> MotionEmbedding:
    """The motion whose frame a is frame `times[a]` of this one, which may lie between two."""

    def plan(seen: _Seen) -> Tensor:
        at = [(math.floor(time), math.ceil(time), time - math.floor(time)) for time in times]
        return torch.stack([torch.lerp(seen.now[:, low], seen.now[:, high], part) for low, high, part in at], 1)

    return _rearranged(motion, plan, [math.floor(time + 0.5) for time in times], said)


def _resized(motion: MotionEmbedding, grid: TokenGrid) -> MotionEmbedding:
    """The motion on another number of rows and columns."""
    scale = torch.tensor((grid.width / motion.grid.width, grid.height / motion.grid.height))

    def fields(values: Tensor) -> Tensor:
        """(..., H, W, C) on the new grid."""
        lead = values.shape[:-3]
        flat = values.float().reshape(-1, *values.shape[-3:])
        if not len(flat):
            return torch.zeros(*lead, grid.height, grid.width, values.shape[-1])
        on_grid = resize(rearrange(flat, "n h w c -> n c h w"), (grid.height, grid.width), antialias=True)
        return rearrange(on_grid, "n c h w -> n h w c").reshape(*lead, grid.height, grid.width, -1)

    ratio = math.sqrt(float(scale.prod()))
    window = motion.config.window
    if window is not None:
        # An odd window stays odd: its middle is then a token, as it was.
        scaled = window * ratio
        window = max(1, 2 * math.floor(scaled / 2) + 1 if window % 2 else 2 * round(scaled / 2))
    config = replace(motion.config, window=window)
    to_tokens = _tokens_of_tiles(motion)
    edited = replace(motion, flows=motion.flows)
    tiles = Tiling(grid.height, grid.width, config.tile)
    representatives = tiles.representatives()
    largest = torch.tensor((grid.width - 1, grid.height - 1), dtype=torch.float32)
    flows = []
    for flow in edited.flows:
        offset = fields(to_tokens(flow.centres - _own_centres(motion.grid, motion))) * scale
        centres = representatives + offset[:, representatives[:, 1], representatives[:, 0]]
        confidence = None if flow.confidence is None else fields(flow.confidence[..., None])[..., 0].clamp(0, 1)
        flows.append(
            replace(
                flow,
                displacement=fields(flow.displacement) * scale,
                centres=torch.minimum(centres.clamp(min=0), largest),
                confidence=confidence,
            )
        )
    return replace(
        motion,
        flows=_within(flows, grid),
        grid=grid,
        config=config,
        rest=tuple(fields(held) * scale for held in motion.rest),
        backward=tuple(bounded(fields(held) * scale, grid) for held in motion.backward),
        reference=_resized_latent(motion, grid),
        reference_hash=_marked(motion, f"{grid.height}x{grid.width}"),
        steps=fields(steps_of(motion)) * scale,
        mask=None if motion.mask is None else fields(motion.mask[..., None])[..., 0].clamp(0, 1),
    )


def _resized_latent(motion: MotionEmbedding, grid: TokenGrid) -> Tensor | None:
    if motion.reference is None:
        return None
    sides = zip(motion.reference.shape[3:], motion.grid.as_tuple[1:], grid.as_tuple[1:], strict=True)
    # Whole patches: a latent of odd sides is padded to them.
    size = tuple(new * math.ceil(pixels / old) for pixels, old, new in sides)
    frames = rearrange(motion.reference.float(), "1 c f h w -> f c h w")
    return rearrange(resize(frames, size, antialias=True), "f c h w -> 1 c f h w").to(motion.reference.dtype)


def _blended_latent(first: MotionEmbedding, second: MotionEmbedding, share: Tensor) -> Tensor | None:
    """The first's latent with the second's put over it; None unless both are kept."""
    if first.reference is None or second.reference is None or first.reference.shape != second.reference.shape:
        return None
    on_latent = resize(share[:, None], tuple(first.reference.shape[3:]), antialias=True).clamp(0, 1)
    part = rearrange(on_latent, "f 1 h w -> 1 1 f h w")
    mixed = torch.lerp(first.reference.float(), second.reference.float(), part)
    return mixed.to(first.reference.dtype)


def _each_flow(
    motion: MotionEmbedding,
    reference: Tensor | None,
    vectors: Callable[[Tensor, int], Tensor],
    offsets: Callable[[Tensor], Tensor],
    confidence: Callable[[Tensor], Tensor],
    steps: Tensor | None,
    mask: Tensor | None,
    thumbnail: Tensor | None,
    cuts: tuple[int, ...],
    said: str,
) -> MotionEmbedding:
    """Change what every flow says beyond its rest, in both directions of time; frames stay where they are."""
    own = _own_centres(motion.grid, motion)
    shape = Tiling(motion.grid.height, motion.grid.width, motion.config.tile)
    flows, backward = [], []
    for number, flow in enumerate(motion.flows):
        rest = motion.rest[number] if motion.rest else torch.zeros_like(flow.displacement)
        tiles = rearrange(flow.centres - own, "p (r c) xy -> p r c xy", r=shape.rows)
        flows.append(
            replace(
                flow,
                displacement=rest + vectors(flow.displacement - rest, number),
                centres=own + rearrange(offsets(tiles), "p r c xy -> p (r c) xy"),
                confidence=None if flow.confidence is None else confidence(flow.confidence),
            )
        )
        if motion.backward:
            backward.append(bounded(rest + vectors(motion.backward[number] - rest, number), motion.grid))
    return replace(
        motion,
        flows=_within(flows, motion.grid),
        backward=tuple(backward),
        reference=reference,
        reference_hash=_marked(motion, said),
        steps=steps,
        mask=mask,
        thumbnail=thumbnail,
        cuts=cuts,
    )


def _within(flows: Sequence[AttentionMotionFlow], grid: TokenGrid) -> tuple[AttentionMotionFlow, ...]:
    """Flows whose displacements and centres a motion can hold."""
    last = torch.tensor((grid.width - 1, grid.height - 1), dtype=torch.float32)
    return tuple(
        replace(
            flow,
            displacement=bounded(flow.displacement, grid),
            centres=torch.minimum(flow.centres.clamp(min=0), last),
        )
        for flow in flows
    )


def bounded(field: Tensor, grid: TokenGrid) -> Tensor:
    """Displacements (..., 2) no longer than the frame."""
    last = torch.tensor((grid.width - 1, grid.height - 1), dtype=torch.float32)
    return torch.minimum(torch.maximum(field.float(), -last), last)


def _own_centres(grid: TokenGrid, motion: MotionEmbedding) -> Tensor:
    """(tiles, 2): each tile's own place."""
    return Tiling(grid.height, grid.width, motion.config.tile).representatives().float()


def _tokens_of_tiles(motion: MotionEmbedding) -> Callable[[Tensor], Tensor]:
    """(P, tiles, C) -> (P, H, W, C): each token has its tile's."""
    owners = Tiling(motion.grid.height, motion.grid.width, motion.config.tile).tile_of_token()
    return lambda values: values[:, owners]


def _per_tile(share: Tensor, motion: MotionEmbedding) -> Tensor:
    """(P, H, W, 1) -> (P, tiles, 1): the tile's mean."""
    tiling = Tiling(motion.grid.height, motion.grid.width, motion.config.tile)
    owners = tiling.tile_of_token().flatten()
    flat = rearrange(share, "p h w 1 -> p (h w)")
    total = torch.zeros(len(share), tiling.count).index_add_(1, owners, flat)
    return (total / torch.bincount(owners, minlength=tiling.count))[..., None]


def _carried_centres(
    motion: MotionEmbedding, flow: AttentionMotionFlow, course: Course, new: Sequence[tuple[int, int]]
) -> Tensor:
    """(P', tiles, 2): window centres go where the things go."""
    own = _own_centres(motion.grid, motion)
    offset = flow.centres - own
    if not bool(offset.any()):
        return own.expand(len(new), -1, -1).clone()
    field = carry(_tokens_of_tiles(motion)(offset), flow.pairs, new, course, 1.0, _WAY)
    place = own.long()
    return own + field[:, place[:, 1], place[:, 0]]


def reversed_centres(flow: AttentionMotionFlow, tiling: Tiling) -> Tensor:
    """(P, tiles, 2): window centres of the reversed clip, as far to the other side of each tile's own place."""
    own = tiling.representatives().float()
    return own - (flow.centres - own)[_opposite_pairs(flow)]


def _opposite_pairs(flow: AttentionMotionFlow) -> list[int]:
    """For each pair (a, b) of the reversed clip, the index of the motion's pair of the same two frames."""
    last, pairs = flow.grid.frames - 1, flow.pairs
    index = {pair: position for position, pair in enumerate(pairs)}
    return [index[last - b, last - a] for a, b in pairs]


def _turned_round(motion: MotionEmbedding, number: int) -> Tensor:
    """(P, H, W, 2): displacements of the reversed clip, from the forward ones alone."""
    found = ways(motion)
    vectors, pairs = beyond_rest(motion, number), motion.flows[number].pairs
    last, height, width = motion.grid.frames - 1, motion.grid.height, motion.grid.width
    index = {pair: position for position, pair in enumerate(pairs)}
    turned = []
    for a, b in pairs:
        early, late = last - b, last - a
        field = vectors[index[early, late]]
        if a != b:
            cover, _, summed = splat(-field, found[early, late], torch.ones(height, width))
            common = rearrange(-field, "h w xy -> (h w) xy").median(0).values
            field = torch.where(cover > 0.25, summed / cover.clamp(min=0.25), common)
        turned.append(field)
    turned = torch.stack(turned)
    return turned + motion.rest[number] if motion.rest else turned


def _marked(motion: MotionEmbedding, said: str) -> str:
    """The reference's hash with what was done; long chains keep their beginning."""
    return f"{motion.reference_hash}|{said}"[:400]


def _required_mask(name: str, mask: Tensor, grid: TokenGrid) -> Tensor:
    if tuple(mask.shape) != grid.as_tuple or not bool(torch.isfinite(mask).all()):
        raise ValueError(f"{name}: expected finite numbers of shape {grid.as_tuple}, got {tuple(mask.shape)}.")
    if bool((mask < 0).any() or (mask > 1).any()):
        raise ValueError(f"{name}: expected values from 0 to 1, got {float(mask.min()):g} to {float(mask.max()):g}.")
    return mask.detach().float().cpu()


def _require_number(name: str, value: float, low: float, high: float = math.inf) -> None:
    if not isinstance(value, (int, float)) or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{name}: expected a finite number from {low:g} to {high:g}, got {value!r}.")
