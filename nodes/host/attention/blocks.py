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
    EndingAttention,
    FirstCallOnly,
    QueriesAndKeys,
    SelfAttention,
    pytorch_attention,
)
from .shots import TokenShots

BlockArguments = dict[str, Any]
BlockFunction = Callable[[BlockArguments], dict[str, torch.Tensor]]
BlockPatch = Callable[[BlockArguments, dict[str, BlockFunction]], dict[str, torch.Tensor]]
"""What the host calls in a block's place: (arguments, {"original_block": the block})."""
OVERRIDE = "optimized_attention_override"


@dataclass(frozen=True, eq=False)
class PassingBlock:
    """A block before the last one: chained to another node's patch, recomputed, cancellable in both directions."""

    prior: BlockPatch | None
    """Another node's patch of the block."""
    plan: MemoryPlan | None
    """Recomputed by this plan in backward; None: what it computes is kept."""
    on_capture: Callable[[QueriesAndKeys], None] | None
    """Is given its q and k. They are outputs beside its tokens, so that a checkpoint gives all three their gradient."""
    shots: TokenShots | None
    """Shots that its self-attention looks within."""

    def __call__(self, args: BlockArguments, extra: dict[str, BlockFunction]) -> dict[str, torch.Tensor]:
        _require_options(args)
        # Hosts write the block's index into the shared options; a recompute must see this block's.
        args = {**args, "transformer_options": dict(args["transformer_options"])}
        tokens = watch_cancel(args.pop("img"))
        block = _chained(self.prior, _with_frozen_closure(extra["original_block"]))
        forward = functools.partial(self._forward, block, args)
        tokens, captured = forward(tokens) if self.plan is None else recomputed(forward, self.plan, tokens)
        if captured is not None:
            self.on_capture(captured)
        return {"img": tokens}

    def _forward(
        self, block: BlockFunction, args: BlockArguments, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, QueriesAndKeys | None]:
        """The block's tokens, and its q and k where they are wanted; run again for a recompute."""
        if self.on_capture is None and self.shots is None:
            return block({**args, "img": tokens})["img"], None
        captured: list[QueriesAndKeys] = []
        first = SelfAttention(None if self.on_capture is None else captured, self.shots)
        options = {**args["transformer_options"], OVERRIDE: FirstCallOnly(first, pytorch_attention)}
        out = block({**args, "img": tokens, "transformer_options": options})["img"]
        return out, captured[0] if captured else None


@dataclass(frozen=True, eq=False)
class LastBlock:
    """The block whose first attention, its self-attention, ends the forward pass."""

    prior: BlockPatch | None
    """Another node's patch of the block."""

    def __call__(self, args: BlockArguments, extra: dict[str, BlockFunction]) -> dict[str, torch.Tensor]:
        watch_cancel(args["img"])
        _require_options(args)
        attention = EndingAttention()
        options = {**args["transformer_options"], OVERRIDE: attention}
        try:
            out = _chained(self.prior, extra["original_block"])({**args, "transformer_options": options})
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


def _require_options(args: BlockArguments) -> None:
    """Refuse a block that is given no options: its attention could not be asked for q and k (0.3.75's S2V)."""
    if "transformer_options" not in args:
        raise ValueError(
            "model: expected one whose blocks are given transformer_options, got one that this ComfyUI leaves without; "
            "update ComfyUI, or take another model."
        )


def _chained(prior: BlockPatch | None, original: BlockFunction) -> BlockFunction:
    if prior is None:
        return original
    return lambda args: prior(args, {"original_block": original})


def _with_frozen_closure(function: BlockFunction) -> BlockFunction:
    """The same function over cells of its own, which keep today's values when the host's loop goes on."""
    if not isinstance(function, FunctionType) or function.__closure__ is None:
        return function
    cells = tuple(CellType(cell.cell_contents) for cell in function.__closure__)
    frozen = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    frozen.__kwdefaults__ = function.__kwdefaults__
    return frozen
