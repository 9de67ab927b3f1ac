"""Kernels of the host's that have no backward, and what stands in for them. Trap: some return a result without a
gradient rather than an error, and modules bind the host's attention when they are imported."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager

import comfy.ldm.modules.attention
import comfy.ops
import torch

from ....fastvmt_core.attention.chunked import ChunkedAttention
from ..swap import Swap, swapped_all

ATTENTION_NAMES = ("optimized_attention", "optimized_attention_masked")
"""By which modules of the host's, and of packs', import the attention that the host chose at its start."""

FUSED = ("rms_rope_split_half",)
"""Kernels of comfy_kitchen that networks call whether or not the host is in training (Cosmos Predict 2)."""


def attention_with_backward(*args: object, **kwargs: object) -> torch.Tensor:
    """PyTorch's attention, as the host calls it; in pieces where it would build the matrix of all tokens.

    Raises:
        ValueError: what it gives has lost the gradient of what it was given.
    """
    with ChunkedAttention():
        out = comfy.ldm.modules.attention.attention_pytorch(*args, **{**kwargs, "_inside_attn_wrapper": True})
    if torch.is_grad_enabled() and not out.requires_grad and any(_has_gradient(each) for each in args):
        raise ValueError(
            "attention: expected PyTorch's scaled_dot_product_attention, got a function without a gradient that a node "
            "or pack has put in its place; switch that off (a global SageAttention patch, for example)."
        )
    return out


def _has_gradient(value: object) -> bool:
    return torch.is_tensor(value) and value.requires_grad


def bound_attention_with_backward() -> AbstractContextManager[None]:
    """Let attention that is given no options, and so no override, have a backward too.

    Side blocks call it so (Animate's face blocks, MultiTalk's): with SageAttention their gradient would be missing.
    """
    host = comfy.ldm.modules.attention
    chosen = [getattr(host, name) for name in ATTENTION_NAMES]
    stand_in = host.wrap_attn(attention_with_backward)
    return swapped_all(
        (module, name, stand_in)
        for module in list(sys.modules.values())
        for name in ATTENTION_NAMES
        if any(getattr(module, "__dict__", {}).get(name) is attention for attention in chosen)
    )


def fused_kernels_with_backward() -> AbstractContextManager[None]:
    """Let networks of hosts of 2026 compute by PyTorch's operations what comfy_kitchen has one kernel for."""
    return swapped_all(_plain_kernels())


def _plain_kernels() -> Iterator[Swap]:
    kitchen = getattr(sys.modules.get("comfy.quant_ops"), "ck", None)
    for name in FUSED:
        if hasattr(kitchen, name):
            yield kitchen, name, getattr(importlib.import_module(f"{kitchen.__name__}.backends.eager"), name)


def linear_layers_with_backward(network: torch.nn.Module) -> AbstractContextManager[None]:
    """Let layers of `--fast cublas_ops`, an optional package's, multiply by PyTorch: theirs have no backward."""
    return swapped_all(_plain_layers(network))


def _plain_layers(network: torch.nn.Module) -> Iterator[Swap]:
    package = getattr(comfy.ops, "cublas_ops", None)
    plain = comfy.ops.disable_weight_init.Linear
    for layer in network.modules() if package is not None else ():
        if isinstance(layer, package.Linear):
            yield *_innermost_forward(layer), functools.partial(plain.forward, layer)
            yield layer, "forward_comfy_cast_weights", functools.partial(plain.forward_comfy_cast_weights, layer)


def _innermost_forward(layer: torch.nn.Module) -> tuple[object, str]:
    """(holder, name) of the layer's own forward: LoRAs in bypass mode stand around it, one around the other."""
    holder, name = layer, "forward"
    while hasattr(hook := getattr(vars(holder).get(name), "__self__", None), "original_forward"):
        holder, name = hook, "original_forward"
    return holder, name
