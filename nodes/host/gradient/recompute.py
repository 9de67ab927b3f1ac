"""Blocks that backward computes again. Trap: side blocks (VACE's) take no patch of other nodes, so that for the time of
a forward pass others stand in their place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any, TypeVar

import comfy.model_management
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from ....fastvmt_core.budget.memory import MemoryPlan
from ..models.video_model import VideoModel
from ..page.progress import watch_cancel
from ..swap import swapped, swapped_all

Result = TypeVar("Result")


def recomputed(function: Callable[..., Result], plan: MemoryPlan, *inputs: torch.Tensor) -> Result:
    """function(*inputs), computed again in backward.

    With an offloading plan the inputs wait in system RAM; nobody else may hold them, or nothing is gained.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    # The checkpoint saves its inputs like any function of autograd, and all that is computed inside by itself.
    with saved_tensors_hooks(_to_ram if plan.offloaded else _as_it_is, _back):
        return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)


def recompute_on_any_device() -> AbstractContextManager[None]:
    """Let torch recompute on a device of a package that gives it no module of the device's name (DirectML).

    Its checkpoints ask the module for nothing but its dtypes under autocast, which is off.
    """
    device = comfy.model_management.get_torch_device().type
    module = SimpleNamespace(is_available=lambda: True, get_amp_supported_dtype=list)
    return nullcontext() if hasattr(torch, device) else swapped(torch, device, module)


Packed = tuple[torch.device, torch.Tensor]


def _as_it_is(tensor: torch.Tensor) -> Packed:
    return tensor.device, tensor


def _to_ram(tensor: torch.Tensor) -> Packed:
    # Apple's GPU shares the computer's memory.
    if tensor.device.type in ("cpu", "mps"):
        return tensor.device, tensor
    copy = _empty_in_ram(tensor)
    return tensor.device, copy.copy_(tensor, non_blocking=copy.is_pinned())


def _empty_in_ram(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor like this one in system RAM; pinned where that can be had, as the copy then holds up nothing.

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


def give_back_pinned_memory() -> None:
    """Give the system the pinned memory that nobody uses; torch keeps it, for as long as ComfyUI runs."""
    # Public in no version so far; older ones lack it.
    getattr(torch._C, "_host_emptyCache", bool)()


def with_recomputed_side_blocks(video_model: VideoModel, plan: MemoryPlan) -> AbstractContextManager[None]:
    """Let the side blocks beside the recomputed blocks be recomputed as well."""
    return swapped_all(
        (side.holder, side.key, _RecomputedSideBlock(side.holder[side.key], plan))
        for side in video_model.side_blocks()
        if side.beside < plan.recomputed
    )


class _RecomputedSideBlock(torch.nn.Module):
    """Stands where a side block stands."""

    def __init__(self, block: torch.nn.Module, plan: MemoryPlan) -> None:
        super().__init__()
        # In a tuple, or the block would be a child of this module too, and whoever walks the tree would meet it twice.
        self._outside_module_tree = (block,)
        self._plan = plan

    def forward(
        self, c: torch.Tensor, x: torch.Tensor, transformer_options: dict[str, Any], **constants: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(skip, c) of the block; c and x are what carries a gradient."""
        (block,), options = self._outside_module_tree, dict(transformer_options)

        def run(c: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return block(c, x=x, transformer_options=options, **constants)

        return recomputed(run, self._plan, watch_cancel(c), x)
