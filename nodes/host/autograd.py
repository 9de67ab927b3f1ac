"""Gradients inside the host. Trap: it runs nodes under inference mode, where weights made by a loader stay
inference tensors for good, and "inference tensors cannot be saved for backward"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import comfy.model_management
import torch

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


def require_owned_weights(model: ModelPatcher) -> None:
    """Refuse a model whose weights are lent from buffers that the next layer overwrites: its gradient would be wrong.

    Raises:
        ValueError: the host streams this model's weights (dynamic VRAM).
    """
    if getattr(model, "is_dynamic", bool)():
        raise ValueError(
            "model: expected weights that stay in place for the backward pass, got a model under dynamic VRAM; start "
            "ComfyUI with --disable-dynamic-vram."
        )


@contextmanager
def gradient_scope(network: torch.nn.Module) -> Iterator[None]:
    """Let autograd run through `network`, whose weights stay frozen, and leave no trace afterwards.

    Weights and buffers that are inference tensors are stood in for by tensors over the same storage, so that no second
    copy of the model is held.
    """
    with torch.inference_mode(False), torch.enable_grad(), _host_in_training(), _stand_ins(network):
        yield


@contextmanager
def _host_in_training() -> Iterator[None]:
    """Make hosts of 2026 and later take the kernels that have a backward."""
    if not hasattr(comfy.model_management, "in_training"):
        yield
        return
    before = comfy.model_management.in_training
    comfy.model_management.in_training = True
    try:
        yield
    finally:
        comfy.model_management.in_training = before


@contextmanager
def _stand_ins(network: torch.nn.Module) -> Iterator[None]:
    """Swap each inference tensor of the module for a stand-in, and put it back whatever happens."""
    swapped: list[tuple[dict[str, torch.Tensor], str, torch.Tensor, torch.Tensor]] = []
    try:
        for module in network.modules():
            for held in (module._parameters, module._buffers):
                for name, tensor in held.items():
                    if tensor is not None and tensor.is_inference():
                        swapped.append((held, name, tensor, _stand_in(tensor)))
                        held[name] = swapped[-1][3]
        yield
    finally:
        for held, name, original, stand_in in swapped:
            # Whoever replaced the weight in the meantime (the host's offloading, a hook) keeps what it put there.
            if held.get(name) is stand_in:
                held[name] = original


def _stand_in(tensor: torch.Tensor) -> torch.Tensor:
    """An ordinary tensor over the storage of an inference tensor; quantised wrappers are cloned, part by part."""
    plain = tensor.data if isinstance(tensor, torch.nn.Parameter) else tensor
    if type(plain) is torch.Tensor:
        fresh = torch.empty(0, dtype=plain.dtype, device=plain.device)
        fresh.set_(plain.untyped_storage(), plain.storage_offset(), plain.size(), plain.stride())
    else:
        fresh = plain.clone()
    if isinstance(tensor, torch.nn.Parameter):
        fresh = torch.nn.Parameter(fresh, requires_grad=False)
        fresh.__dict__.update(tensor.__dict__)
    return fresh
