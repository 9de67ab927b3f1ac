"""Random weights for small models."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tools.host.quantised import Weights


def random_weights(shapes: Weights, seed: int = 0) -> Weights:
    """Random weights of these names and shapes, at a scale at which attention tells tokens apart."""
    generator = torch.Generator().manual_seed(seed)
    return {name: random_weight(name, tensor.shape, generator) for name, tensor in shapes.items()}


def random_weight(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Random values for the weight of that name."""
    values = torch.randn(shape, generator=generator)
    if len(shape) == 1 and "norm" in name and name.endswith((".weight", ".scale")):
        return 1 + 0.1 * values
    if len(shape) > 1 and not name.endswith("modulation"):
        return values / math.sqrt(math.prod(shape[1:]))
    return 0.1 * values
