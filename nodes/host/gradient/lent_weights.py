"""Weights that the host lends a layer for one call. Trap: where it streams them (dynamic VRAM), the next layer's
overwrite them before backward has read them, and the gradient is wrong without an error."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import comfy.ops
import torch

from ..swap import swapped_all
from .owned_weights import ordinary

Cast = Callable[..., tuple[Any, ...]]
"""`comfy.ops.cast_bias_weight`: a layer's weight and bias, ready for one input."""
QUANTISED = getattr(comfy.ops, "QuantizedTensor", ())
"""The host's class of weights in fewer bits; () where it has none."""


def kept_weights() -> AbstractContextManager[None]:
    """Let every layer compute with weights that stay in place until backward has read them."""
    uncast = getattr(comfy.ops, "uncast_bias_weight", None)
    if uncast is None:
        # A host that knows no un-cast lends nothing.
        return nullcontext()
    cast = comfy.ops.cast_bias_weight
    keeping = keeping_cast(cast, uncast)
    return swapped_all((names, name, keeping) for names, name in _holders(cast))


def _holders(function: Cast) -> list[tuple[dict[str, Any], str]]:
    """(names of a module, name): where a function of the host's is called from, by packs that imported it as well."""
    modules = [getattr(module, "__dict__", None) for module in list(sys.modules.values())]
    dicts = {id(names): names for names in modules if isinstance(names, dict)}
    return [(names, name) for names in dicts.values() for name, value in list(names.items()) if value is function]


def keeping_cast(cast: Cast, uncast: Callable[..., None]) -> Cast:
    """The host's cast, whose weights stay what they are for as long as anybody holds them.

    What is lent is copied and given back at once, also for callers who would not give it back; what the host made for
    this call alone is handed on. Quantised weights are handed out in the dtype of the input: their own products have
    no backward, or one of another precision.

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
                    weight = _kept(weight, layer.weight, lease)
                bias = _kept(bias, layer.bias, lease)
        finally:
            uncast(layer, weight, bias, lease)
        return (weight, bias, None) if offloadable else (weight, bias)

    return cast_and_keep


def _kept(given: torch.Tensor | None, own: torch.Tensor | None, lease: object) -> torch.Tensor | None:
    """A tensor that nobody overwrites: the layer's own, one that no lease is about, or a copy of any other."""
    if given is own:
        return given
    # Not every lease is about memory that is lent (0.33 hands one out with each cast), but without one none is.
    return ordinary(given) if lease is None else given.clone()
