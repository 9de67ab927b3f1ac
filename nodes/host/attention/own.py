"""Guided blocks attend by functions of ours. Trap: packs put theirs into a block's patch, onto its modules and into the
host's module, and a kernel without a backward gives a wrong gradient without an error."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import comfy.ldm.modules.attention
import torch

from ..swap import ABSENT, Swap, swapped_all
from .override import Override

OVERRIDE = "optimized_attention_override"
NAME = "optimized_attention"
"""Of the attention in the modules of the host's networks."""
HEADS = ("num_heads", "heads", "n_heads")
"""By which the host's attentions know how many heads they have."""


def own_attention(block: torch.nn.Module, options: dict[str, Any], attention: Override) -> AbstractContextManager[None]:
    """Let `block` attend by `attention` while it runs once, and be as its class and the host's module define it.

    Compiled parts run uncompiled: with gradients on and other attention they would be compiled anew, again and again,
    until the compiler gives up and leaves the ordinary steps uncompiled too.

    Args:
        block: of the network, compiled or not.
        options: the transformer options that it is run with.
        attention: takes the place of every attention in it.
    """
    return swapped_all(_own(block, options, attention))


def _own(block: torch.nn.Module, options: dict[str, Any], attention: Override) -> Iterator[Swap]:
    compiled = [each for each in block.modules() if hasattr(each, "_orig_mod")]
    modules = [each for each in block.modules() if _attends(each) and each not in compiled]
    yield options, OVERRIDE, attention
    for each in compiled:
        yield each, "forward", each._orig_mod
    for each in block.modules():
        if vars(each).get("_compiled_call_impl") is not None:
            yield each, "_compiled_call_impl", None
    # The block's own first: it may be the one that stands there for a guided pass.
    for module in dict.fromkeys((getattr(block, "_orig_mod", block), *modules)):
        if "forward" in vars(module):
            yield module, "forward", ABSENT
    for home in {type(module).__module__ for module in modules}:
        if not _is_hosts(getattr(sys.modules[home], NAME, None)):
            yield sys.modules[home], NAME, functools.partial(attention, None)


def _attends(module: torch.nn.Module) -> bool:
    """Whether a module is an attention or a block of one: it knows of heads."""
    return any(hasattr(module, name) for name in HEADS)


def _is_hosts(function: object) -> bool:
    """Whether this is none, or one of the host's attention functions, which look for the override."""
    return function is None or getattr(function, "__module__", None) == comfy.ldm.modules.attention.__name__
