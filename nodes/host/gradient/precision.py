"""The precision that the host computes in. Trap: its products in fp8 have no backward, and half precision overflows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch

from ..swap import Swap, swapped_all

if TYPE_CHECKING:
    from comfy.model_base import BaseModel


def computing_dtype(base: BaseModel) -> torch.dtype:
    """The dtype that a forward pass of this model computes in."""
    return base.manual_cast_dtype or base.get_dtype()


def float32_pass(base: BaseModel) -> AbstractContextManager[None]:
    """Let the host compute this model in float32, casting weights at use as it does for cards without bfloat16."""
    return swapped_all(_in_float32(base))


def _in_float32(base: BaseModel) -> Iterator[Swap]:
    yield base, "manual_cast_dtype", torch.float32
    for module in base.diffusion_model.modules():
        if hasattr(module, "comfy_cast_weights"):
            yield module, "comfy_cast_weights", True


def full_precision_products(network: torch.nn.Module) -> AbstractContextManager[None]:
    """Let quantised layers multiply in the computing dtype: products in fp8 have no backward on older hosts."""
    return swapped_all(
        (module, "_full_precision_mm", True)
        for module in network.modules()
        if getattr(module, "_full_precision_mm", True) is False
    )
