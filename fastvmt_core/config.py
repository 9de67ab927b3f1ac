"""Frozen hyper-parameters of FastVMT and their defaults, which nodes and tools read from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from .checks import is_number, is_whole, require, require_choice, require_number, require_positive, require_whole

Centre = Literal["self", "expectation", "argmax"]
StepSchedule = Literal["constant", "linear", "cosine"]
Fit = Literal["crop", "pad", "stretch"]
CutHandling = Literal["detect", "ignore"]
MemoryLevel = Literal["auto", "fastest", "smallest"]
Optimizer = Literal["adamw", "polyak"]
Resolution = Literal["full", "half", "half then full"]

AUTO_BLOCK = -1
MOST_TOKENS = 4096
"""A side of a window or a tile, at most: more than any frame has."""
MOST_CURVE_POINTS = 32
LARGEST_CURVE_FACTOR = 2.0
PIXELS_PER_TOKEN = 16
"""Wan's VAE (8 pixels to a latent pixel) times the DiT's patch (2 latent pixels to a token)."""
WIDE_LATENT_CHANNELS = 48
"""Of Wan 2.2 5B's VAE, which makes one latent pixel of 16."""


@dataclass(frozen=True)
class AMFConfig:
    """How attention motion flow is read from a block's queries and keys (FastVMT section 4).

    Raises:
        ValueError: a field is out of its range; the message names the field.
    """

    temporal_span: int = 4
    """s_f, latent frames: frame i is matched with frames i .. i + s_f - 1."""
    window: int | None = 21
    """l, tokens: side of the square each query attends to in the other frame; None is the whole frame (DiTFlow)."""
    tile: tuple[int, int] = (3, 4)
    """(t_h, t_w), tokens: neighbours that share one window."""
    sharpness: float = 1.0
    """tau, multiplies the logits: larger makes the expected position follow the best match."""
    centre: Centre = "self"
    """Window centre of a tile: its own position (self), or the expected or best-matching position of its representative
    query in the other frame."""

    def __post_init__(self) -> None:
        require_whole("temporal_span", self.temporal_span)
        window_ok = self.window is None or (is_whole(self.window, 1) and self.window <= MOST_TOKENS)
        require(window_ok, "window", f"None or a whole number from 1 to {MOST_TOKENS}", self.window)
        sides_ok = isinstance(self.tile, tuple) and len(self.tile) == 2 and all(is_whole(t, 1) for t in self.tile)
        tile_ok = sides_ok and max(self.tile) <= MOST_TOKENS
        require(tile_ok, "tile", f"two whole numbers (rows, columns) from 1 to {MOST_TOKENS}", self.tile)
        require_positive("sharpness", self.sharpness)
        require_choice("centre", self.centre, get_args(Centre))


@dataclass(frozen=True)
class LossWeights:
    """The weights of the two losses, and the course of the learning rate over the guided steps.

    AdamW cancels the scale of the gradient, so `amf` and `consistency` set only a ratio. The learning rate sets how
    far the latent moves; `schedule` and `curve` multiply it.

    Raises:
        ValueError: a field is out of its range; the message names the field.
    """

    amf: float = 5.0
    """lambda_amf, weight of the AMF loss (paper: 5)."""
    consistency: float = 1.0
    """lambda_window, weight of the consistency loss, the paper's corresponding-window loss (paper: 1)."""
    distance_decay: float = 0.2
    """alpha in [0, 1]: pairs d frames apart count 1 - alpha (d - 1) / (s_f - 1)."""
    self_pairs: float = 1.0
    """w_0: weight of the pairs (i, i), which carry layout rather than movement."""
    schedule: StepSchedule = "constant"
    """Course of the learning rate from pure noise (1) to `end_percent`; linear and cosine fall to 0."""
    released_scale: bool = False
    """The released code's ratio: the AMF loss sums over the tokens, the consistency loss takes the unsquared norm."""
    curve: tuple[tuple[float, float], ...] = ()
    """(position, factor) of points that straight lines join, from position 0 (pure noise) to 1
    (`end_percent`); the factor multiplies the schedule's. Without points: 1 throughout."""

    def __post_init__(self) -> None:
        for name in ("amf", "consistency", "self_pairs"):
            require_number(name, getattr(self, name))
        require_number("distance_decay", self.distance_decay, high=1.0)
        require_choice("schedule", self.schedule, get_args(StepSchedule))
        require(isinstance(self.released_scale, bool), "released_scale", "True or False", self.released_scale)
        self._require_curve()

    def _require_curve(self) -> None:
        points = self.curve
        pairs = isinstance(points, tuple) and all(isinstance(point, tuple) and len(point) == 2 for point in points)
        pairs_ok = pairs and (not points or 2 <= len(points) <= MOST_CURVE_POINTS)
        require(pairs_ok, "curve", f"no points, or 2 to {MOST_CURVE_POINTS} pairs (position, factor)", points)
        factors_ok = all(is_number(factor, 0.0, LARGEST_CURVE_FACTOR) for _, factor in points)
        require(factors_ok, "curve", f"factors from 0 to {LARGEST_CURVE_FACTOR:g}", points)
        positions = [position for position, _ in points]
        rising = all(is_number(each, 0.0, 1.0) for each in positions) and positions == sorted(set(positions))
        ends_ok = not points or (rising and positions[0] == 0 and positions[-1] == 1)
        require(ends_ok, "curve", "positions that rise from 0 to 1, each once", points)


@dataclass(frozen=True)
class AdaptiveInterval:
    """Adaptive interval between gradient evaluations, instead of every Delta-th inner step.

    Raises:
        ValueError: a field is out of its range; the message names the field.
    """

    cosine: float = 0.8
    """The interval grows while the cosine of the last two fresh gradients is at least this, else it shrinks."""
    shortest: int = 2
    """Inner steps: lower bound of the interval; with 2 a run evaluates at most half of Delta 1's gradients."""
    longest: int = 5
    """Inner steps: upper bound of the interval."""

    def __post_init__(self) -> None:
        require_number("cosine", self.cosine, low=-1.0, high=1.0)
        require_whole("shortest", self.shortest)
        long_ok = is_whole(self.longest, 1) and self.longest >= self.shortest
        require(long_ok, "longest", f"a whole number of at least shortest = {self.shortest}", self.longest)


@dataclass(frozen=True)
class GuidanceConfig:
    """How the latent is optimised at each guided step (FastVMT section 4, released settings).

    Raises:
        ValueError: a field is out of its range; the message names the field.
    """

    inner_steps: int = 10
    """J, AdamW steps on the latent at each guided step."""
    lr_start: float = 0.003
    """Learning rate of the first inner step, in latent units per step."""
    lr_end: float = 0.002
    """Learning rate that the inner steps fall to linearly (reached at step J, which is not run)."""
    gradient_interval: int = 3
    """Delta, inner steps: a fresh gradient at every Delta-th; between them the cached one is applied again."""
    end_percent: float = 0.2
    """Guided steps are those above the sigma at this share of the model's own schedule (released: 10 of 50)."""
    strength: float = 1.0
    """Multiplies the learning rate."""
    adaptive: AdaptiveInterval | None = None
    """When given, replaces the fixed `gradient_interval`."""
    memory: MemoryLevel = "auto"
    """VRAM for the gradient: all that helps (fastest), as little as possible (smallest), or what is free (auto)."""
    optimizer: Optimizer = "adamw"
    """The paper's AdamW, or the Polyak step, which needs no learning rate and no interval: it goes by the loss."""
    every: int = 1
    """Guide every n-th of the steps above `end_percent`, from the first."""
    resolution: Resolution = "full"
    """Of the latent that gradients are evaluated at: its own, half its height and width, or one after the other."""

    def __post_init__(self) -> None:
        for name in ("inner_steps", "gradient_interval", "every"):
            require_whole(name, getattr(self, name))
        for name in ("lr_start", "lr_end", "strength"):
            require_number(name, getattr(self, name))
        require_number("end_percent", self.end_percent, high=1.0)
        adaptive_ok = self.adaptive is None or isinstance(self.adaptive, AdaptiveInterval)
        require(adaptive_ok, "adaptive", "None or an AdaptiveInterval", self.adaptive)
        for name, choices in (("memory", MemoryLevel), ("optimizer", Optimizer), ("resolution", Resolution)):
            require_choice(name, getattr(self, name), get_args(choices))


@dataclass(frozen=True)
class ClipConfig:
    """What a reference clip is fitted to before the VAE encodes it.

    Raises:
        ValueError: a field is out of its range; the message names the field.
    """

    width: int = 832
    """Pixels, a multiple of 16 (VAE 8 x patch 2); 0 takes the clip's own, rounded down."""
    height: int = 480
    """Pixels, likewise."""
    length: int = 81
    """Frames at most, rounded down to 4n + 1; 0 takes all."""
    fit: Fit = "crop"
    """What happens if the clip has another aspect ratio: cut off, add black borders, or stretch."""
    source_fps: float = 16.0
    """Frames per second of the clip; 0 takes its frames as they are."""
    target_fps: float = 16.0
    """Frames per second of the generated video (Wan 2.1: 16)."""

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            side = getattr(self, name)
            side_ok = is_whole(side, 0) and side % PIXELS_PER_TOKEN == 0
            require(side_ok, name, f"0 or a multiple of {PIXELS_PER_TOKEN}", side)
        require(is_whole(self.length, 0), "length", "0 or a number of frames", self.length)
        require_choice("fit", self.fit, get_args(Fit))
        fps = self.source_fps
        require(fps == 0 or is_number(fps, 0.001), "source_fps", "0 or at least 0.001 frames per second", fps)
        require_positive("target_fps", self.target_fps)


@dataclass(frozen=True)
class InversionConfig:
    """Where in the model, and at which noise level, the reference's motion is read (FastVMT section 4).

    Raises:
        ValueError: a field is out of its range; the message names the field.
    """

    reference_sigma: float = 0.3
    """Noise level of the reference: above about .9 attention shows noise and appearance, not motion."""
    block: int = AUTO_BLOCK
    """b, counted from 0; AUTO_BLOCK: the paper's 15th (14) where the model has 28 blocks or more, else the middle."""
    more_blocks: tuple[int, ...] = ()
    """Blocks to average with that one."""
    cuts: CutHandling = "detect"
    """Whether cuts of the reference are detected, so that pairs of frames across a cut are left out."""

    def __post_init__(self) -> None:
        require_number("reference_sigma", self.reference_sigma, high=1.0)
        require(is_whole(self.block, AUTO_BLOCK), "block", f"{AUTO_BLOCK} (auto) or a block's number", self.block)
        more_ok = isinstance(self.more_blocks, tuple) and all(is_whole(block, 0) for block in self.more_blocks)
        require(more_ok, "more_blocks", "blocks' numbers, from 0", self.more_blocks)
        require_choice("cuts", self.cuts, get_args(CutHandling))

    def resolve_blocks(self, depth: int) -> tuple[int, ...]:
        """The blocks to read in a model of `depth` blocks, in rising order.

        Raises:
            ValueError: the model has no such block, or one is named twice.
        """
        first = self.block
        if first == AUTO_BLOCK:
            first = 14 if depth >= 28 else depth // 2
        require(first < depth, "block", f"{AUTO_BLOCK} (auto) to {depth - 1}, as the model has {depth}", first)
        last = f"blocks from 0 to {depth - 1}, as the model has {depth}"
        require(all(block < depth for block in self.more_blocks), "more_blocks", last, self.more_blocks)
        blocks = tuple(sorted({first, *self.more_blocks}))
        once = f"each block once, and not {first}, which is read anyway"
        require(len(blocks) == 1 + len(self.more_blocks), "more_blocks", once, self.more_blocks)
        return blocks

    def levels(self, sigmas: Sequence[float] | None) -> tuple[float, ...]:
        """The noise levels to read at: `reference_sigma`, or those of `sigmas` above 0.

        Raises:
            ValueError: `sigmas` has no level in (0, 1].
        """
        if sigmas is None:
            return (self.reference_sigma,)
        levels = tuple(float(sigma) for sigma in sigmas if float(sigma) > 0)
        require(bool(levels) and max(levels) <= 1, "sigmas", "noise levels above 0, at most 1", levels)
        return levels


@dataclass(frozen=True)
class TrajectoryConfig:
    """How trajectories are estimated from the reference's latent by block matching; edits of a motion follow them.

    Raises:
        ValueError: a field is out of its range; the message names the field.
    """

    reach: float = 4.0
    """Tokens: search radius, how far an object may move from one latent frame to the next."""
    block: int = 3
    """Latent pixels, odd: side of the blocks that are matched."""
    stillness: float = 1.0
    """Cost of a displacement of `reach`, as a share of the error at displacement 0 plus the latent's variance."""
    halo: int = 1
    """Tokens around a moving object that are carried with it."""
    moving: float = 0.5
    """Tokens: a trajectory that extends farther than this counts as moving."""

    def __post_init__(self) -> None:
        for name in ("reach", "moving"):
            require_positive(name, getattr(self, name))
        require(is_whole(self.block, 1) and self.block % 2 == 1, "block", "an odd number of at least 1", self.block)
        require_number("stillness", self.stillness)
        require_whole("halo", self.halo, low=0)


@dataclass(frozen=True)
class CutConfig:
    """When two neighbouring frames, of a video or of its latent, count as two shots.

    Raises:
        ValueError: a field is out of its range; the message names the field.
    """

    change: float = 1.5
    """Of the video: how many times the largest change of the frames around it a change has to exceed. What this, the
    likeness and the unseen share detect is listed in benchmarks/quality/cuts.md."""
    around: int = 3
    """Changes on each side that a change is compared with."""
    least: float = 0.001
    """Mean change of a pixel, 1 from black to white, up to which a frame counts as a repeat of the last one, whatever
    its noise. It is added to what a change is compared with."""
    share: float = 0.08
    """Of the latent: the mismatch of two frames is a mean over this share of tokens, those that match worst."""
    ratio: float = 1.15
    """How many times the mean mismatch of the clip's other neighbours it has to exceed. On the tiny model's clips that
    detects all cuts in 33 frames and three of eight in 17. A sudden jump of the subject often counts as a cut; steady,
    fast or deforming motion does not (benchmarks/results/cuts.json)."""
    shortest: int = 4
    """Latent frames: a shorter clip has too few neighbours to compare with."""
    likeness: float = 0.8
    """Of the video: correlation from which on two blocks of frames show the same."""
    unseen: float = 0.5
    """Of the video: share of a frame's blocks that the other has nothing like, in both directions."""

    def __post_init__(self) -> None:
        for name in ("change", "ratio"):
            require_number(name, getattr(self, name), low=1.0)
        for name in ("least", "share", "likeness", "unseen"):
            require_positive(name, getattr(self, name), high=1.0)
        require_whole("around", self.around)
        require_whole("shortest", self.shortest, low=3)


@dataclass(frozen=True)
class SurveyConfig:
    """The clips that a model is tested with, to find the block that separates motion from appearance.

    Raises:
        ValueError: a field is out of its range; the message names the field.
    """

    width: int = 320
    """Pixels, a multiple of 16."""
    height: int = 192
    """Pixels, likewise."""
    length: int = 17
    """Frames, 4n + 1, at least 5."""
    sigmas: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    """Noise levels in (0, 1]."""

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            side = getattr(self, name)
            side_ok = is_whole(side, PIXELS_PER_TOKEN) and side % PIXELS_PER_TOKEN == 0
            require(side_ok, name, f"a multiple of {PIXELS_PER_TOKEN}", side)
        require(is_whole(self.length, 5) and self.length % 4 == 1, "length", "4n + 1 frames, at least 5", self.length)
        levels_ok = bool(self.sigmas) and all(is_number(sigma, 0.0, 1.0) and sigma > 0 for sigma in self.sigmas)
        require(levels_ok, "sigmas", "noise levels above 0, at most 1", self.sigmas)
