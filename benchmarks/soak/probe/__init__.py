"""A node for the soak's server that reports what the process holds once everything else has been let go."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import torch

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
FUNCTIONS = {
    (name, key): value
    for name, module in list(sys.modules.items())
    if name.split(".")[0] == "comfy" and module
    for key, value in vars(module).items()
    if callable(value)
}
"""The host's functions as they are at the start, by module and name."""


def held() -> dict[str, Any]:
    """What this process holds: memory and tensors in MB, handles, threads, and what a run could leave in the host.

    Weights of networks do not count among the tensors: the one that a job used is still there, to be looked into.
    """
    gc.collect()
    # A weak reference among them may die while it is asked for its class.
    objects = [each for each in gc.get_objects() if type(each) is not type(gc)]
    networks = [each for each in objects if issubclass(type(each), torch.nn.Module)]
    weights = {id(held) for each in networks for part in (each._parameters, each._buffers) for held in part.values()}
    tensors = [each for each in objects if issubclass(type(each), torch.Tensor) and id(each) not in weights]
    stores = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors if each.is_cpu}
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return {
        "memory_mb": round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 2),
        "tensors": len(tensors),
        "tensors_mb": round(sum(stores.values()) / 1e6, 3),
        "models": sum(type(each).__module__ == "comfy.model_base" for each in networks),
        "handles": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "hooks": sum(len(getattr(each, name, ())) for each in networks for name in HOOKS),
        "wrappers": sum("forward" in vars(each) for each in networks),
        "swapped": sum(vars(sys.modules[name]).get(key) is not value for (name, key), value in FUNCTIONS.items()),
        "modes": [torch.is_grad_enabled(), getattr(sys.modules["comfy.model_management"], "in_training", None)],
    }


class SoakProbe:
    """Shows what is held. The host drops the results of the job before as this one begins, but for the same model's."""

    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "report", "FastVMT/soak", True

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"model": ("MODEL",), "run": ("INT", {"default": 0})}}

    def report(self, model: object, run: int) -> dict:
        return {"ui": {"text": [json.dumps(held())]}}


NODE_CLASS_MAPPINGS = {"SoakProbe": SoakProbe}
