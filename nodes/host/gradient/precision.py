"""The precision that the host computes in. Trap: its products in fp8 have no backward, and half precision overflows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch

from ..swap import swapped

if TYPE_CHECKING:
    from comfy.model_base import BaseModel


def computing_dtype(base: BaseModel) -> torch.dtype:
    """The dtype that a forward pass of this model computes in."""
    return base.manual_cast_dtype or base.get_dtype()


@contextmanager
def float32_pass(base: BaseModel) -> Iterator[None]:
    """Let the host compute this model in float32, casting weights at use as it does for cards without bfloat16."""
    with ExitStack() as scopes:
        scopes.enter_context(swapped(base, "manual_cast_dtype", torch.float32))
        for module in base.diffusion_model.modules():
            if hasattr(module, "comfy_cast_weights"):
                scopes.enter_context(swapped(module, "comfy_cast_weights", True))
        yield


@contextmanager
def full_precision_products(network: torch.nn.Module) -> Iterator[None]:
    """Let quantised layers multiply in the computing dtype: products in fp8 have no backward on older hosts."""
    with ExitStack() as scopes:
        for module in network.modules():
            if getattr(module, "_full_precision_mm", True) is False:
                scopes.enter_context(swapped(module, "_full_precision_mm", True))
        yield
