"""Blocks that backward computes again. Trap: some blocks write into their input, so that a tensor is no longer what it
was when autograd took note of it, and a gradient by torch's own checkpoints is wrong without an error."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch.autograd.graph import saved_tensors_hooks

from ....fastvmt_core.budget.memory import MemoryPlan

Result = TypeVar("Result")


def with_backward(
    function: Callable[..., Result], plan: MemoryPlan | None, writes_to_input: bool, *streams: torch.Tensor
) -> Result:
    """function(*streams), through which a gradient can go back.

    Args:
        function: a run of a block. It holds no tensor of a graph, or that graph would hold itself.
        plan: by which it is computed again in backward; with an offloading one the streams wait in system RAM, and
            nobody else may hold them, or nothing is gained. None: what it computes is kept.
        writes_to_input: whether the block writes into its streams.
        streams: tokens, each (B, L, C).

    Raises:
        ValueError: in backward, where a tensor that was needed has been overwritten, or the block computes otherwise
            the second time.
    """
    if not torch.is_grad_enabled():
        return function(*streams)
    if plan is not None:
        return _Recomputed(function, plan.offloaded, writes_to_input, streams).run(streams)
    if writes_to_input:
        with saved_tensors_hooks(_AsTheyAre(streams).keep, _unchanged):
            return function(*streams)
    return function(*streams)


Kept = tuple[torch.Tensor, int]
"""A tensor and its version, which counts what was written into it."""


class _AsTheyAre:
    """Keeps tensors as they are now, with copies of the streams into which the block goes on to write."""

    def __init__(self, streams: Sequence[torch.Tensor]) -> None:
        self._memory = {stream.untyped_storage().data_ptr() for stream in streams}
        self._last: tuple[object, torch.Tensor | None] = (None, None)

    def keep(self, tensor: torch.Tensor) -> Kept:
        """The tensor, or a copy; one that several operations need is copied once."""
        tensor = tensor.detach()
        if self._memory and tensor.untyped_storage().data_ptr() in self._memory:
            state = tensor.data_ptr(), tensor.shape, tensor.stride(), tensor._version
            if self._last[0] != state:
                self._last = state, tensor.clone()
            tensor = self._last[1]
        return tensor, tensor._version


def _unchanged(kept: Kept) -> torch.Tensor:
    tensor, version = kept
    if tensor._version != version:
        raise ValueError(
            "model: expected blocks that write into nothing but their tokens, got one that writes into what its "
            "gradient needs; such a model cannot be guided."
        )
    return tensor


class _Saved:
    """Stands in the graph for a tensor that the recomputed block makes again once backward asks for it."""

    __slots__ = ("__weakref__", "_block", "kept")

    def __init__(self, block: _Recomputed) -> None:
        self._block = block
        self.kept: Kept | None = None

    def get(self) -> torch.Tensor:
        """The tensor; the first one to be asked for has all of the block's computed."""
        if self.kept is None:
            self._block.compute_again()
        if self.kept is None:
            raise ValueError(
                "model: expected a block that computes the same twice, got another number of operations; take out "
                "nodes that change the model's blocks as they run."
            )
        return _unchanged(self.kept)


class _EnoughError(Exception):
    """Ends a second run once all that backward needs is there: the block's last product is not."""


class _Recomputed:
    """One run of a block, of which autograd keeps nothing but the streams."""

    def __init__(
        self,
        function: Callable[..., Result],
        offloaded: bool,
        writes_to_input: bool,
        streams: Sequence[torch.Tensor],
    ) -> None:
        put_away = _to_ram if offloaded else _as_it_is
        self._function, self._writes_to_input = function, writes_to_input
        self._streams = [(put_away(stream), stream.requires_grad) for stream in streams]
        self._saved: list[weakref.ref[_Saved]] = []

    def run(self, streams: Sequence[torch.Tensor]) -> Result:
        """What the block makes of its streams."""
        with saved_tensors_hooks(self._stand_in, _Saved.get):
            return self._function(*self._writable(streams))

    def compute_again(self) -> None:
        """Give each stand-in that is still in the graph its tensor."""
        wanted, positions = [saved() for saved in self._saved], itertools.count()
        last = max(position for position, saved in enumerate(wanted) if saved is not None)
        with torch.enable_grad():
            streams = [_back(*packed).detach().requires_grad_(needs) for packed, needs in self._streams]
            streams = self._writable(streams)
        as_they_are = _AsTheyAre(streams if self._writes_to_input else ())

        def keep(tensor: torch.Tensor) -> None:
            position = next(positions)
            if wanted[position] is not None:
                wanted[position].kept = as_they_are.keep(tensor)
            if position == last:
                raise _EnoughError

        try:
            with torch.enable_grad(), saved_tensors_hooks(keep, _unchanged):
                self._function(*streams)
        except _EnoughError:
            pass

    def _stand_in(self, _: torch.Tensor) -> _Saved:
        saved = _Saved(self)
        self._saved.append(weakref.ref(saved))
        return saved

    def _writable(self, streams: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        return [stream.clone() for stream in streams] if self._writes_to_input else streams


Packed = tuple[torch.device, torch.Tensor]


def _as_it_is(tensor: torch.Tensor) -> Packed:
    return tensor.device, tensor.detach()


def _to_ram(tensor: torch.Tensor) -> Packed:
    tensor = tensor.detach()
    # Apple's GPU shares the computer's memory.
    if tensor.device.type in ("cpu", "mps"):
        return tensor.device, tensor
    copy = _empty_in_ram(tensor)
    return tensor.device, copy.copy_(tensor, non_blocking=copy.is_pinned())


def _empty_in_ram(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor like this one in system RAM; pinned where that can be had, as the copy then holds up nothing.

    The card orders such a copy behind the work that makes the tensor.
    """
    like = {"dtype": tensor.dtype, "device": "cpu"}
    if tensor.device.type == "cuda":
        try:
            return torch.empty(tensor.shape, pin_memory=True, **like)
        except RuntimeError:
            # Systems pin no more than a part of their memory.
            pass
    return torch.empty(tensor.shape, **like)


def _back(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(device, non_blocking=True)


def give_back_pinned_memory() -> None:
    """Give the system the pinned memory that nobody uses; torch keeps it, for as long as ComfyUI runs."""
    # Public in no version so far; older ones lack it.
    getattr(torch._C, "_host_emptyCache", bool)()
