"""Work on whatever device holds q and k: small tensors that are copied there once, and autocast kept out."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
from torch import Tensor


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """`values`, a small tensor on the CPU, on `device`: copied at the first use of such values, and not to be changed.

    A copy at every use would hold up the device's queue thousands of times in a gradient.
    """
    if device.type == "cpu":
        return values
    return _copied(values.numpy().tobytes(), values.dtype, tuple(values.shape), device)


@lru_cache(maxsize=64)
def _copied(content: bytes, dtype: torch.dtype, shape: tuple[int, ...], device: torch.device) -> Tensor:
    # A tensor of inference mode could not be used under autograd later.
    with torch.inference_mode(False):
        return torch.frombuffer(bytearray(content), dtype=dtype).reshape(shape).to(device)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context in which autocast leaves `device` alone.

    Where it is off already nothing is asked of torch: devices that it has no autocast for (DirectML) would raise.
    """
    if not (torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
