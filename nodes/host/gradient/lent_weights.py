"""Weights that the host lends a layer for one call. Trap: where it streams them (dynamic VRAM), the next layer's
overwrite them before backward has read them, and the gradient is wrong without an error."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import comfy.ops
import torch

from ..swap import swapped

Cast = Callable[..., tuple[Any, ...]]
"""`comfy.ops.cast_bias_weight`: a layer's weight and bias, ready for one input."""
QUANTISED = getattr(comfy.ops, "QuantizedTensor", ())
"""The host's class of weights in fewer bits; () where it has none."""


@contextmanager
def kept_weights() -> Iterator[None]:
    """Let every layer compute with weights that stay in place until backward has read them."""
    uncast = getattr(comfy.ops, "uncast_bias_weight", None)
    with ExitStack() as scopes:
        # A host that knows no un-cast lends nothing.
        if uncast is not None:
            cast = comfy.ops.cast_bias_weight
            keeping = keeping_cast(cast, uncast)
            for names, name in _holders(cast):
                scopes.enter_context(swapped(names, name, keeping))
        yield


def _holders(function: Cast) -> list[tuple[dict[str, Any], str]]:
    """(names of a module, name): where a function of the host's is called from, by packs that imported it as well."""
    modules = [getattr(module, "__dict__", None) for module in list(sys.modules.values())]
    dicts = {id(names): names for names in modules if isinstance(names, dict)}
    return [(names, name) for names in dicts.values() for name, value in list(names.items()) if value is function]


def keeping_cast(cast: Cast, uncast: Callable[..., None]) -> Cast:
    """The host's cast, whose weights stay what they are for as long as anybody holds them.

    What is lent is copied and given back at once, also for callers who would not give it back. Quantised weights are
    handed out in the dtype of the input: their own products have no backward, or one of another precision.

    Args:
        cast: `comfy.ops.cast_bias_weight`.
        uncast: `comfy.ops.uncast_bias_weight`, its counterpart.
    """

    @functools.wraps(cast)
    def cast_and_keep(
        layer: torch.nn.Module,
        input: torch.Tensor | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
        bias_dtype: torch.dtype | None = None,
        offloadable: bool = False,
        **more: object,
    ) -> tuple[Any, ...]:
        # As everywhere in the host: what it keeps of a cast was made in this mode, and can be written to in no other.
        with torch.inference_mode():
            weight, bias, lease = cast(layer, input, dtype, device, bias_dtype, offloadable=True, **more)
        try:
            with torch.no_grad():
                if isinstance(weight, QUANTISED) and input is not None:
                    weight = weight.dequantize().to(dtype or input.dtype)
                else:
                    weight = _kept(weight, layer.weight)
                bias = _kept(bias, layer.bias)
        finally:
            uncast(layer, weight, bias, lease)
        return (weight, bias, None) if offloadable else (weight, bias)

    return cast_and_keep


def _kept(given: torch.Tensor | None, own: torch.Tensor | None) -> torch.Tensor | None:
    """A tensor that nobody overwrites: the layer's own, or a copy of any other, which may be lent."""
    return given if given is own else given.clone()
