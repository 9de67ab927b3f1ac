"""Stands in for ComfyUI-TeaCache: a function around the model that swaps the network's forward and skips its blocks.

Traps kept: it keeps its state on the network, by the condition; it counts every call; it has no key
by which to tell it.
"""

from __future__ import annotations

from types import MethodType
from unittest.mock import patch

import torch


class TeaCache:
    """Every second evaluation of a step that is not the first gives the last residual again."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "apply_teacache", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        """Those of the pack."""
        numbers = {name: ("FLOAT", {}) for name in ("rel_l1_thresh", "start_percent", "end_percent")}
        words = {"model_type": (["wan2.1_t2v_1.3B"],), "cache_device": (["cuda", "cpu"],)}
        return {"required": {"model": ("MODEL",), **words, **numbers}}

    def apply_teacache(self, model: object, **_: object) -> tuple:
        """The patched model."""
        return (_cached(model),)


STATE = "teacache_state"
"""What it keeps on the network."""


def _cached(model: object) -> object:
    patched = model.clone()
    network = patched.get_model_object("diffusion_model")
    inner = type(network).forward_orig

    def forward_orig(network: torch.nn.Module, x: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        kept = network.__dict__.setdefault(STATE, {})
        key = tuple(kwargs["transformer_options"]["cond_or_uncond"])
        calls, output = kept.get(key, (0, None))
        if calls % 2 == 0:
            output = inner(network, x, *args, **kwargs)
        kept[key] = (calls + 1, output)
        return output

    def around(function: object, given: dict) -> torch.Tensor:
        first = given["c"]["transformer_options"]["sample_sigmas"][0]
        if given["timestep"][0] == first and 1 in given["cond_or_uncond"]:
            network.__dict__.pop(STATE, None)
        with patch.object(network, "forward_orig", MethodType(forward_orig, network)):
            return function(given["input"], given["timestep"], **given["c"])

    patched.set_model_unet_function_wrapper(around)
    return patched


NODE_CLASS_MAPPINGS = {"TeaCache": TeaCache}
