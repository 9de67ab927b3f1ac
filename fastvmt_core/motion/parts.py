"""The tensors that a motion is made of, one row of a table each: what is kept, checked, saved and loaded follows it.

Axes: P pairs of latent frames, F latent frames, H and W rows and columns of tokens, C channels of the latent, h and w
its rows and columns (of a thumbnail: pixels).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ..attention.windows import Tiling, pair_count
from ..config import AMFConfig
from ..grid import TokenGrid
from .bounds import last_position
from .fingerprint import ModelFingerprint

MOST_THUMBNAIL = 512
"""Pixels a side."""
LARGEST_PATCH = 4
"""Latent pixels that a token may span, along each side (Wan: 2)."""
LARGEST_OF_LATENT = 1e4
"""A normalised latent has values of a few units."""
_ROUNDING = 0.01
"""Tokens that an expected position may leave the frame by, through rounding."""


class Described(Protocol):
    """What the shapes of a motion's tensors follow from."""

    grid: TokenGrid
    config: AMFConfig
    fingerprint: ModelFingerprint


Owner = Literal["flow", "motion, one per flow", "motion"]
Shape = tuple[tuple[int, int], ...]
"""Smallest and largest size of every axis."""
Bounds = tuple[Tensor, Tensor]
"""Smallest and largest value, one number or one for x and one for y."""


@dataclass(frozen=True)
class Part:
    """One kind of tensor in a motion."""

    name: str
    """Of the attribute that holds it, and of its tensors in a file."""
    owner: Owner
    """Who holds it: every flow, the motion in a tuple of one per flow, or the motion."""
    shape: Callable[[Described], Shape]
    bounds: Callable[[TokenGrid], Bounds] | None = None
    """Limits of its values; None: finite is enough."""
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)
    """What a file keeps it in."""
    rounded: bool = True
    """Whether it may have another floating dtype in memory, and is saved in the first of `dtypes`."""
    required: bool = False
    within: str = "values inside the frame"
    """What an error about its values says was expected."""
    kind: str = "shape"
    """What an error about its shape says was expected."""

    def names(self, flows: int) -> list[str]:
        """The names of its tensors in a file, in the order of the flows."""
        return [self.name] if self.owner == "motion" else [f"flow.{number}.{self.name}" for number in range(flows)]

    def require_shape(self, label: str, shape: tuple[int, ...], motion: Described) -> None:
        """Refuse a shape that `motion` does not allow; nothing is allocated.

        Raises:
            ValueError: it does not.
        """
        allowed = self.shape(motion)
        fits = len(shape) == len(allowed)
        if not fits or not all(low <= side <= high for side, (low, high) in zip(shape, allowed, strict=True)):
            sides = ", ".join(str(low) if low == high else f"{low}..{high}" for low, high in allowed)
            raise ValueError(f"{label}: expected {self.kind} ({sides}) for {motion.grid}, got {shape}.")

    def require(self, label: str, tensor: Tensor, motion: Described) -> None:
        """Refuse a tensor of another shape or dtype, or with values out of bounds.

        Raises:
            ValueError: it is one; the message begins with `label`.
        """
        self.require_shape(label, tuple(tensor.shape), motion)
        if tensor.dtype not in self.dtypes and not (self.rounded and tensor.is_floating_point()):
            raise ValueError(f"{label}: expected {dtype_names(self.dtypes)}, got {tensor.dtype}.")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{label}: expected finite numbers, got NaN or infinity.")
        if self.bounds is not None:
            low, high = (bound.to(tensor) for bound in self.bounds(motion.grid))
            if bool((tensor < low - _ROUNDING).any() or (tensor > high + _ROUNDING).any()):
                least, most = float(tensor.min()), float(tensor.max())
                raise ValueError(f"{label}: expected {self.within} of {motion.grid}, got {least:g} to {most:g}.")

    def to_file(self, tensor: Tensor) -> Tensor:
        """The tensor as a file keeps it: on the CPU, contiguous, its own copy."""
        dtype = tensor.dtype if tensor.dtype in self.dtypes else self.dtypes[0]
        return tensor.detach().to("cpu", dtype).contiguous().clone()


def dtype_names(dtypes: Collection[torch.dtype]) -> str:
    """'float16, bfloat16 or float32'."""
    *others, last = (str(dtype).removeprefix("torch.") for dtype in dtypes)
    return f"{', '.join(others)} or {last}" if others else last


def _exactly(*sides: int) -> Shape:
    return tuple((side, side) for side in sides)


def _displacements(motion: Described) -> Shape:
    """(P, H, W, 2)."""
    grid = motion.grid
    return _exactly(pair_count(grid.frames, motion.config.temporal_span), grid.height, grid.width, 2)


def _centres(motion: Described) -> Shape:
    """(P, tiles, 2)."""
    grid, config = motion.grid, motion.config
    return _exactly(
        pair_count(grid.frames, config.temporal_span), Tiling(grid.height, grid.width, config.tile).count, 2
    )


def _half_displacements(motion: Described) -> Shape:
    """(P, H / 2, W / 2, 2), rounded up."""
    grid = motion.grid.halved
    return _exactly(pair_count(grid.frames, motion.config.temporal_span), grid.height, grid.width, 2)


def _half_centres(motion: Described) -> Shape:
    """(P, tiles, 2) of the grid at half size."""
    grid, config = motion.grid.halved, motion.config
    tiles = Tiling(grid.height, grid.width, config.tile).count
    return _exactly(pair_count(grid.frames, config.temporal_span), tiles, 2)


def _frame_flow(motion: Described) -> Shape:
    """(2, F - 1, H, W, 2)."""
    grid = motion.grid
    return _exactly(2, grid.frames - 1, grid.height, grid.width, 2)


def _mask(motion: Described) -> Shape:
    """(F, H, W)."""
    return _exactly(*motion.grid.as_tuple)


def _latent(motion: Described) -> Shape:
    """(1, C, F, h, w), each token of which spans 1 to `LARGEST_PATCH` latent pixels."""
    grid = motion.grid
    fixed = _exactly(1, motion.fingerprint.latent_channels, grid.frames)
    return *fixed, (grid.height, LARGEST_PATCH * grid.height), (grid.width, LARGEST_PATCH * grid.width)


def _thumbnail(motion: Described) -> Shape:
    """(h, w, 3)."""
    return (1, MOST_THUMBNAIL), (1, MOST_THUMBNAIL), (3, 3)


def _inside(grid: TokenGrid) -> Bounds:
    """Displacements no longer than the frame."""
    return -last_position(grid), last_position(grid)


def _of_a_latent(grid: TokenGrid) -> Bounds:
    return torch.tensor(-LARGEST_OF_LATENT), torch.tensor(LARGEST_OF_LATENT)


def _positions(grid: TokenGrid) -> Bounds:
    return torch.zeros(2), last_position(grid)


def _inside_half(grid: TokenGrid) -> Bounds:
    return _inside(grid.halved)


def _positions_at_half(grid: TokenGrid) -> Bounds:
    return _positions(grid.halved)


def _shares(grid: TokenGrid) -> Bounds:
    return torch.zeros(()), torch.ones(())


LATENT_DTYPES = (torch.float16, torch.bfloat16, torch.float32)

PARTS = (
    Part("displacement", "flow", _displacements, _inside, required=True),
    Part("centres", "flow", _centres, _positions, required=True),
    Part("static_bias", "motion, one per flow", _displacements, _inside),
    Part("backward", "motion, one per flow", _displacements, _inside),
    Part(
        "reference",
        "motion",
        _latent,
        _of_a_latent,
        dtypes=LATENT_DTYPES,
        rounded=False,
        within=f"values of a latent, at most {LARGEST_OF_LATENT:g},",
        kind="a latent",
    ),
    Part("frame_flow", "motion", _frame_flow, _inside),
    Part("mask", "motion", _mask, _shares),
    Part("half_displacement", "motion, one per flow", _half_displacements, _inside_half),
    Part("half_centres", "motion, one per flow", _half_centres, _positions_at_half),
    Part("thumbnail", "motion", _thumbnail, dtypes=(torch.uint8,), rounded=False, kind="an image"),
)
