"""What an objective reads of a reference besides its flow: named tensors, the same ones at each noise level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

TargetShapes = tuple[tuple[str, tuple[int, ...]], ...]
"""(name, shape) of each tensor of one noise level."""
MOST_TARGETS, MOST_NAME, MOST_AXES, LONGEST_AXIS = 8, 40, 6, 2**20
MOST_VALUES = 2**28
"""Values of all noise levels together; a file holds four bytes each."""


def require_target_shapes(shapes: TargetShapes, levels: int) -> None:
    """Refuse names and shapes that no objective has; nothing is allocated.

    Raises:
        ValueError: they are none.
    """
    if not isinstance(shapes, tuple) or len(shapes) > MOST_TARGETS:
        raise ValueError(f"targets: expected at most {MOST_TARGETS} names and shapes, got {shapes!r:.200}.")
    values = 0
    for name, shape in shapes:
        if not isinstance(name, str) or not name.isidentifier() or len(name) > MOST_NAME:
            raise ValueError(f"targets: expected a name of at most {MOST_NAME} letters, got {name!r:.200}.")
        sides_ok = all(type(side) is int and 0 < side <= LONGEST_AXIS for side in shape)
        if not 0 < len(shape) <= MOST_AXES or not sides_ok:
            raise ValueError(f"targets: expected a shape of 1 to {MOST_AXES} sides for {name}, got {shape!r:.200}.")
        values += math.prod(shape) * levels
    if len({name for name, _ in shapes}) != len(shapes) or values > MOST_VALUES:
        raise ValueError(f"targets: expected names once each and at most {MOST_VALUES} values, got {shapes!r:.200}.")


def shapes_of(targets: Sequence[Mapping[str, Tensor]]) -> TargetShapes:
    """The names and shapes of the tensors of every noise level.

    Raises:
        ValueError: two levels differ, or a tensor is not finite and floating-point.
    """
    per_level = [tuple((name, tuple(tensor.shape)) for name, tensor in target.items()) for target in targets]
    if len(set(per_level)) > 1:
        raise ValueError(f"targets: expected the same at every noise level, got {per_level!s:.400}.")
    for name, tensor in (entry for target in targets for entry in target.items()):
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"targets: expected finite numbers for {name}, got others.")
    return per_level[0] if per_level else ()


def names_in_file(shapes: TargetShapes, levels: int) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in a motion file, by its name there."""
    return {_name(level, name): shape for level in range(levels) for name, shape in shapes}


def to_file(targets: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors as a file keeps them, float32 on the CPU, by their names there."""
    return {
        _name(level, name): tensor.detach().to("cpu", torch.float32).contiguous().clone()
        for level, target in enumerate(targets)
        for name, tensor in target.items()
    }


def of_file(tensors: Mapping[str, Tensor], shapes: TargetShapes, levels: int) -> tuple[dict[str, Tensor], ...]:
    """The tensors of each noise level in a file; none where it has no shapes."""
    if not shapes:
        return ()
    return tuple({name: tensors[_name(level, name)] for name, _ in shapes} for level in range(levels))


def _name(level: int, name: str) -> str:
    return f"flow.{level}.target.{name}"
