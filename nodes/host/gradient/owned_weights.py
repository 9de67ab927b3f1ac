"""Weights that stay in place from forward to backward. Trap: the host runs nodes under inference mode, where weights
made by a loader stay inference tensors for good, and "inference tensors cannot be saved for backward"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

from ..swap import Swap, swapped_all


def ordinary_weights(network: torch.nn.Module) -> AbstractContextManager[None]:
    """The network with an ordinary tensor over the same storage in the place of each inference tensor, for a while.

    No second copy of the model is held.
    """
    return swapped_all(_ordinary_weights(network))


def _ordinary_weights(network: torch.nn.Module) -> Iterator[Swap]:
    for module in network.modules():
        for entries in (module._parameters, module._buffers):
            for name, held in entries.items():
                if held is not None and held.is_inference():
                    yield entries, name, _stand_in(held)
    for adapter in _adapters_around(network):
        yield adapter, "weights", tuple(ordinary(part) for part in adapter.weights)


def _adapters_around(network: torch.nn.Module) -> Iterator[Any]:
    """The adapters of LoRAs in bypass mode, which stand around a layer's forward and hold tensors of their own."""
    for module in network.modules():
        hook = getattr(vars(module).get("forward"), "__self__", None)
        while hook is not None:
            adapter = getattr(hook, "adapter", None)
            if isinstance(getattr(adapter, "weights", None), (tuple, list)):
                yield adapter
            hook = getattr(getattr(hook, "original_forward", None), "__self__", None)


def ordinary_attributes(holders: Iterable[object]) -> AbstractContextManager[None]:
    """The objects with ordinary tensors in place of the inference tensors among their attributes, for a while."""
    return swapped_all(_ordinary_attributes(holders))


def _ordinary_attributes(holders: Iterable[object]) -> Iterator[Swap]:
    for holder in holders:
        if isinstance(holder, torch.nn.Module):
            yield from _ordinary_weights(holder)
        # Of a class, nobody may write into it.
        attributes = {} if isinstance(holder, type) else getattr(holder, "__dict__", {})
        for name, value in list(attributes.items()):
            if torch.is_tensor(value) and value.is_inference():
                yield holder, name, _stand_in(value)


def ordinary(value: object) -> object:
    """An ordinary tensor over the storage of an inference tensor; any other value as it is."""
    return _stand_in(value) if torch.is_tensor(value) and value.is_inference() else value


def _stand_in(tensor: torch.Tensor) -> torch.Tensor:
    """An ordinary tensor over the storage of an inference tensor; of a quantised one, part by part."""
    fresh = _over_parts(tensor) if hasattr(tensor, "__tensor_flatten__") else _over_storage(tensor)
    _take_over_attributes(fresh, tensor)
    if isinstance(tensor, torch.nn.Parameter) and not isinstance(fresh, torch.nn.Parameter):
        fresh = torch.nn.Parameter(fresh, requires_grad=False)
        _take_over_attributes(fresh, tensor)
    return fresh


def _take_over_attributes(fresh: torch.Tensor, tensor: torch.Tensor) -> None:
    """Copy what others have written on the weight; a quantised one's parts are fresh already."""
    for name, value in vars(tensor).items():
        vars(fresh).setdefault(name, value)


def _over_storage(tensor: torch.Tensor) -> torch.Tensor:
    plain = tensor.as_subclass(torch.Tensor)
    fresh = torch.empty(0, dtype=plain.dtype, device=plain.device)
    fresh = fresh.set_(plain.untyped_storage(), plain.storage_offset(), plain.size(), plain.stride())
    # A class of another pack's (GGUF's) knows what the bytes are, and what to do where they are moved.
    return fresh if type(tensor) in (torch.Tensor, torch.nn.Parameter) else fresh.as_subclass(type(tensor))


def _over_parts(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor subclass that wraps others, by torch's own protocol for taking such apart."""
    names, context = tensor.__tensor_flatten__()
    parts = {name: _stand_in(getattr(tensor, name)) for name in names}
    return type(tensor).__tensor_unflatten__(parts, context, tensor.size(), tensor.stride())
