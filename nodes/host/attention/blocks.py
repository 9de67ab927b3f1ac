"""Patches of a network's blocks. Trap: the host hands a block's patch a function that reads its loop variable late, so
that a checkpoint's recompute would run another block; its closure is frozen here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any

import comfy.model_patcher
import torch

from ....fastvmt_core.budget.memory import MemoryPlan
from ..gradient.recompute import recomputed
from ..page.progress import watch_cancel
from .override import (
    Attention,
    CaptureDoneError,
    Compared,
    EndingAttention,
    FirstCallOnly,
    SelfAttention,
    pytorch_attention,
)
from .own import OVERRIDE, BlockArguments, BlockFunction, BlockPatch, OwnBlock, require_options
from .shots import TokenShots


@dataclass(frozen=True, eq=False)
class PassingBlock:
    """A block that runs whole: chained to another node's patch, recomputed, cancellable in both directions."""

    module: torch.nn.Module
    """The network's block."""
    prior: BlockPatch | None
    """Another node's patch of the block."""
    plan: MemoryPlan | None
    """Recomputed by this plan in backward; None: what it computes is kept."""
    on_capture: Callable[[Compared], None] | None
    """Is given its q, k and v, outputs beside its tokens, so that a checkpoint gives all of them their gradient."""
    shots: TokenShots | None
    """Shots that its self-attention looks within."""
    on_output: Callable[[torch.Tensor], None] | None = None
    """Is given the block's tokens."""
    ends: bool = False
    """Whether the forward pass ends with it."""

    def __call__(self, args: BlockArguments, extra: dict[str, BlockFunction]) -> dict[str, torch.Tensor]:
        require_options(args)
        # Hosts write the block's index into the shared options; a recompute must see this block's.
        shared, noted = args["transformer_options"], {}
        args = {**args, "transformer_options": dict(shared)}
        tokens = watch_cancel(args.pop("img"))
        extra = {**extra, "original_block": _with_frozen_closure(extra["original_block"])}
        forward = functools.partial(self._forward, args, extra, noted)
        tokens, captured = forward(tokens) if self.plan is None else recomputed(forward, self.plan, tokens)
        # What another node notes in the options, it may look for in a later block.
        shared.update({**noted, OVERRIDE: pytorch_attention})
        if captured is not None:
            self.on_capture(captured)
        if self.on_output is not None:
            self.on_output(tokens)
        if self.ends:
            raise CaptureDoneError(None)
        return {"img": tokens}

    def _forward(
        self, args: BlockArguments, extra: dict[str, BlockFunction], noted: dict[str, Any], tokens: torch.Tensor
    ) -> tuple[torch.Tensor, Compared | None]:
        """The block's tokens, and its q, k and v where they are wanted; run again for a recompute.

        `noted` gets the options as they are afterwards.
        """
        captured: list[Compared] = []
        first = SelfAttention(None if self.on_capture is None else captured, self.shots)
        own = OwnBlock(self.module, extra["original_block"], lambda: FirstCallOnly(first, pytorch_attention))
        options = dict(args["transformer_options"])
        out = own.patched_by(self.prior, {**args, "img": tokens, "transformer_options": options}, extra)
        noted.update(options)
        return out["img"], captured[0] if captured else None


@dataclass(frozen=True, eq=False)
class LastBlock:
    """The block whose first attention, its self-attention, ends the forward pass."""

    module: torch.nn.Module
    """The network's block."""
    prior: BlockPatch | None
    """Another node's patch of the block."""

    def __call__(self, args: BlockArguments, extra: dict[str, BlockFunction]) -> dict[str, torch.Tensor]:
        watch_cancel(args["img"])
        require_options(args)
        attention = EndingAttention()
        own = OwnBlock(self.module, extra["original_block"], lambda: attention)
        try:
            out = own.patched_by(self.prior, args, extra)
        except Exception:
            if attention.captured is None:
                raise
        # Whatever another node's attention did with the error that was to end it, q and k are there.
        if attention.captured is not None:
            raise CaptureDoneError(attention.captured)
        return out


@dataclass(frozen=True, eq=False)
class ConfinedBlock:
    """A block whose self-attention looks within shots, by the attention that the host or another node chose."""

    prior: BlockPatch | None
    """Another node's patch of the block."""
    shots: TokenShots
    warn: Callable[[str], None]

    def __call__(self, args: BlockArguments, extra: dict[str, BlockFunction]) -> dict[str, torch.Tensor]:
        confined = functools.partial(self._confined, extra["original_block"])
        return confined(args) if self.prior is None else self.prior(args, {**extra, "original_block": confined})

    def _confined(self, original: BlockFunction, args: BlockArguments) -> dict[str, torch.Tensor]:
        if "transformer_options" not in args:
            self.warn(
                "FastVMT: another node (a cache of steps?) runs the model's blocks without their options, so the shots "
                "are drawn together; take it out if they pull at each other."
            )
            return original(args)
        options = args["transformer_options"]
        chosen = options.get(OVERRIDE, _unchanged)

        def within(function: Attention, *tokens: object, **kwargs: object) -> torch.Tensor:
            return self.shots.attend(functools.partial(chosen, function), *tokens, **kwargs)

        return original({**args, "transformer_options": {**options, OVERRIDE: FirstCallOnly(within, chosen)}})


def within_shots(
    model_options: dict[str, Any], shots: TokenShots, depth: int, warn: Callable[[str], None]
) -> dict[str, Any]:
    """A copy of the model options with which all `depth` blocks look within shots; other nodes' patches stay.

    Blocks that stand beside those (VACE's) go on seeing the whole clip. `warn` is given the reason where a block does.
    """
    options = comfy.model_patcher.create_model_options_clone(model_options)
    patches = block_patches(options)
    for block in range(depth):
        patches["double_block", block] = ConfinedBlock(patches.get(("double_block", block)), shots, warn)
    return options


def block_patches(options: dict[str, Any]) -> dict[tuple[str, int], BlockPatch]:
    """The patches of blocks in a copy of model options, to be changed in place."""
    return options.setdefault("transformer_options", {}).setdefault("patches_replace", {}).setdefault("dit", {})


def _unchanged(function: Attention, *tokens: object, **kwargs: object) -> torch.Tensor:
    return function(*tokens, **kwargs)


def _with_frozen_closure(function: BlockFunction) -> BlockFunction:
    """The same function over cells of its own, which keep today's values when the host's loop goes on."""
    if not isinstance(function, FunctionType) or function.__closure__ is None:
        return function
    cells = tuple(CellType(cell.cell_contents) for cell in function.__closure__)
    frozen = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    frozen.__kwdefaults__ = function.__kwdefaults__
    return frozen
