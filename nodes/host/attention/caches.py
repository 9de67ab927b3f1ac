"""Other nodes' caches and compilers, which a guided forward pass leaves out. Trap: a cache would count that pass as
a step of its own or skip it, and a compiled graph cannot be left in the middle."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP

from ..swap import ABSENT, swapped
from .prompts import KEY as PLACED_PROMPTS

LEFT_OUT = ("easycache", "lazycache", "torch.compile", PLACED_PROMPTS)
"""Keys of the host's own wrappers of that kind, and of ours that places prompts: the reference was read without."""
KINDS = (WrappersMP.DIFFUSION_MODEL, WrappersMP.CALC_COND_BATCH, WrappersMP.APPLY_MODEL)


def leave_out_caches(options: dict[str, Any]) -> None:
    """Take the caches out of a copy of model options, in place; all other wrappers stay."""
    if is_cache(options.get("model_function_wrapper")):
        del options["model_function_wrapper"]
    wrappers = options.get("transformer_options", {}).get("wrappers", {})
    for kind in KINDS:
        for key in LEFT_OUT:
            wrappers.get(kind, {}).pop(key, None)


def without_cached_forward(network: torch.nn.Module) -> AbstractContextManager[None]:
    """The network without a forward that a cache has hung onto it, for a while."""
    return swapped(network, "forward", ABSENT) if is_cache(vars(network).get("forward")) else nullcontext()


def is_cache(wrapper: object) -> bool:
    """Whether a function around the whole model is another pack's cache (TeaCache and its kin).

    It has no key to tell it by: the word is looked for in its name, the keys it uses and its file's name. The pack's
    folder, which people rename, does not count.
    """
    if wrapper is None:
        return False
    named = wrapper if hasattr(wrapper, "__qualname__") else type(wrapper)
    # The host names a pack's modules by their whole path.
    file = re.split(r"[./\\]", named.__module__.rpartition("custom_nodes")[2])[2:]
    code = getattr(getattr(wrapper, "__func__", wrapper), "__code__", None)
    words = () if code is None else (*code.co_freevars, *(const for const in code.co_consts if _is_word(const)))
    return any("cache" in word.lower() for word in (named.__qualname__, *file, *words))


def _is_word(constant: object) -> bool:
    """Whether a constant of a function's code is a key or a name, not a sentence."""
    return isinstance(constant, str) and " " not in constant
