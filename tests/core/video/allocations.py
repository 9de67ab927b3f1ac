"""The tensors that a call allocates: each that is large, or how much they take together at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Noted(TorchDispatchMode):
    def __init__(self, at_least: int) -> None:
        super().__init__()
        self._at_least = at_least
        self.sizes: dict[int, int] = {}
        self.kept: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if torch.is_tensor(tensor) and tensor.untyped_storage().nbytes() >= self._at_least:
                self._note(tensor, (args, kwargs))
        return made

    def _note(self, tensor: torch.Tensor, arguments: Any) -> None:
        given = {_storage(each) for each in tree_leaves(arguments) if torch.is_tensor(each)}
        if _storage(tensor) not in given and _storage(tensor) not in self.sizes:
            self.sizes[_storage(tensor)] = tensor.untyped_storage().nbytes()
            # Or its place would be given to the next one, and that one not be noted.
            self.kept.append(tensor)


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def allocated(call: Callable[[], Any], at_least: int) -> list[int]:
    """Bytes of every tensor of `at_least` bytes that `call` allocates, largest first."""
    with torch.no_grad(), _Noted(at_least) as noted:
        call()
    return sorted(noted.sizes.values(), reverse=True)


def allocated_at_most(work: Callable[[], Any]) -> int:
    """Bytes that tensors hold at most while `work` runs, beyond those from before, as torch's allocator notes them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    noted = [each for each in profile.profiler.kineto_results.events() if each.name() == "[memory]"]
    changes = torch.tensor([each.nbytes() for each in sorted(noted, key=lambda each: each.start_ns())])
    return int(changes.cumsum(0).max())
