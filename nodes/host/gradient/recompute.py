"""Blocks that backward computes again. Trap: side blocks (VACE's) take no patch of other nodes, so that for the time of
a forward pass others stand in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from ....fastvmt_core.budget.memory import MemoryPlan
from ..page.progress import watch_cancel

Result = TypeVar("Result")


def recomputed(function: Callable[..., Result], plan: MemoryPlan, *inputs: torch.Tensor, **constants: object) -> Result:
    """function(*inputs, **constants), computed again in backward.

    With an offloading plan the inputs wait in the computer's memory; nobody else may hold them, or nothing is gained.
    """
    if not torch.is_grad_enabled():
        return function(*inputs, **constants)
    # The checkpoint saves its inputs like any function of autograd, and all that is computed inside by itself.
    with saved_tensors_hooks(_to_computer if plan.offloaded else _as_is, _back):
        return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False, **constants)


Packed = tuple[torch.device, torch.Tensor]


def _as_is(tensor: torch.Tensor) -> Packed:
    return tensor.device, tensor


def _to_computer(tensor: torch.Tensor) -> Packed:
    # Apple's GPU shares the computer's memory.
    if tensor.device.type in ("cpu", "mps"):
        return tensor.device, tensor
    there = _room_for(tensor)
    return tensor.device, there.copy_(tensor, non_blocking=there.is_pinned())


def _room_for(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor like this one in the computer's memory; pinned where that can be had, as the copy then holds up nothing.

    The card orders such a copy behind the work that makes the tensor.
    """
    like = {"dtype": tensor.dtype, "device": "cpu"}
    if tensor.device.type == "cuda":
        try:
            return torch.empty(tensor.shape, pin_memory=True, **like)
        except RuntimeError:
            # Systems pin no more than a part of their memory.
            pass
    return torch.empty(tensor.shape, **like)


def _back(packed: Packed) -> torch.Tensor:
    device, tensor = packed
    return tensor.to(device, non_blocking=True)


@contextmanager
def with_recomputed_side_blocks(network: torch.nn.Module, plan: MemoryPlan) -> Iterator[None]:
    """Let VACE's side blocks beside the recomputed blocks be recomputed as well."""
    side_blocks, places = getattr(network, "vace_blocks", None), getattr(network, "vace_layers_mapping", None)
    if not plan.recomputed or not side_blocks or not places:
        yield
        return
    originals = dict(side_blocks._modules)
    try:
        for block, side in places.items():
            if block < plan.recomputed:
                side_blocks._modules[str(side)] = _Recomputed(originals[str(side)], plan)
        yield
    finally:
        side_blocks._modules.update(originals)


class _Recomputed(torch.nn.Module):
    """Stands where a side block stands; the block itself is not its child, so that nobody finds it twice."""

    def __init__(self, block: torch.nn.Module, plan: MemoryPlan) -> None:
        super().__init__()
        self._held = [block]
        self._plan = plan

    def forward(
        self, c: torch.Tensor, x: torch.Tensor, transformer_options: dict[str, Any], **constants: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(skip, c) of the block; c and x are what carries a gradient."""
        block, options = self._held[0], dict(transformer_options)

        def run(c: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return block(c, x=x, transformer_options=options, **constants)

        return recomputed(run, self._plan, watch_cancel(c), x)
