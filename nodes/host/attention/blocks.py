"""Blocks of a network that run for a gradient. Trap: another node's patch may run a block twice, never, or within an
error handler of its own, so that only the block itself knows that it ran."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import comfy.model_patcher
import torch
from comfy.patcher_extension import WrappersMP, add_wrapper
from einops import rearrange

from ....fastvmt_core.budget.memory import MemoryPlan
from ..gradient.recompute import with_backward
from ..models.family import Block
from ..page.progress import watch_cancel
from ..swap import Swap, swapped_all
from .override import (
    Attention,
    CaptureDoneError,
    Compared,
    EndingAttention,
    FirstCallOnly,
    SelfAttention,
    pytorch_attention,
    unchanged,
)
from .own import OVERRIDE, own_attention
from .shots import TokenShots

BlockArguments = dict[str, Any]
BlockFunction = Callable[[BlockArguments], dict[str, torch.Tensor]]
BlockPatch = Callable[[BlockArguments, dict[str, BlockFunction]], dict[str, torch.Tensor]]
"""What the host calls in a block's place: (arguments, {"original_block": the block})."""
OPTIONS = "transformer_options"
Streams = tuple[tuple[str, int], ...]
"""Names of a block's arguments that are tokens, and of how many tensors each is a tuple; 0: it is a tensor itself."""


@dataclass(eq=False)
class Pass:
    """One forward pass, as its blocks meet it."""

    runs: int = 0
    """Runs of blocks so far."""
    ended: bool = False
    """Whether all that is read is there."""

    def end(self) -> None:
        """Leave the pass.

        Raises:
            CaptureDoneError: always.
        """
        self.ended = True
        raise CaptureDoneError


@dataclass(frozen=True, eq=False)
class GuidedBlock:
    """Stands where a block's forward stands for one pass: recomputed, cancellable in both directions, and read."""

    block: Block
    in_pass: Pass
    writes_to_input: bool
    """Whether the block writes into its tokens."""
    plan: MemoryPlan | None = None
    """Recomputed by this plan in backward; None: what it computes is kept."""
    on_capture: Callable[[Compared], None] | None = None
    """Is given q, k and v of its self-attention."""
    shots: TokenShots | None = None
    """Shots that its self-attention looks within."""
    on_output: Callable[[torch.Tensor], None] | None = None
    """Is given the block's tokens, (B, L, C)."""
    ends: bool = False
    """Whether the pass ends with it: where its output is not read, as soon as its q, k and v are there."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        self.in_pass.runs += 1
        module = self.block.module
        call = _by_name(module, args, kwargs)
        # Some hosts give a block none (0.3.75's S2V).
        shared = call.setdefault(OPTIONS, {})
        # Nobody else may hold the tokens, nor is a graph to be held by what it runs again.
        streams = tuple((name, len(call[name]) if isinstance(call[name], tuple) else 0) for name in self.block.streams)
        tokens = [watch_cancel(each) for name, several in streams for each in _several(call.pop(name), several)]
        del args, kwargs
        if self.ends and self.on_output is None:
            return self._end_at_attention({**call, **_named(streams, tokens)})
        call[OPTIONS], noted = dict(shared), {}
        run = functools.partial(_run, module, streams, call, noted, self.shots, self.on_capture is not None)
        out, captured = with_backward(run, self.plan, self.writes_to_input, *tokens)
        del tokens
        # What another node notes in the options, it may look for in a later block.
        shared.update(noted)
        if captured is not None:
            self.on_capture(captured)
        if self.on_output is not None:
            self.on_output(_in_a_row(self.block.axes, out[0] if isinstance(out, tuple) else out))
        if self.ends:
            self.in_pass.end()
        return out

    def _end_at_attention(self, call: dict[str, Any]) -> object:
        def captured(compared: Compared) -> None:
            self.on_capture(compared)
            self.in_pass.end()

        module = self.block.module
        with own_attention(module, call[OPTIONS], EndingAttention(captured)):
            return module.forward(**call)


@dataclass(frozen=True, eq=False)
class GuidedWriter:
    """Stands where the forward of a module stands that writes into some blocks' tokens once they are made.

    It has a gradient then: what autograd keeps of the tokens is as it was before, or computed again.
    """

    module: torch.nn.Module
    forward: Callable[..., object]
    """What it stands in place of."""
    plan: MemoryPlan

    def __call__(self, *args: object, **kwargs: object) -> object:
        call = _by_name(self.module, args, kwargs)
        if call["block_id"] not in self.module.injected_block_id:
            return self.forward(**call)
        tokens = call.pop("x")
        plan = self.plan if call["block_id"] < self.plan.recomputed else None
        # Sound and music are none of the latent's, so that no graph holds what it runs again.
        return with_backward(functools.partial(_written, self.forward, call), plan, True, tokens)


def _written(forward: Callable[..., object], call: dict[str, Any], tokens: torch.Tensor) -> object:
    return forward(x=tokens, **call)


def _run(
    module: torch.nn.Module,
    streams: Streams,
    call: dict[str, Any],
    noted: dict[str, Any],
    shots: TokenShots | None,
    captures: bool,
    *tokens: torch.Tensor,
) -> tuple[object, Compared | None]:
    """What a block gives, and its q, k and v where they are wanted; run again for a recompute.

    `noted` gets the options as they are afterwards.
    """
    options, captured = dict(call[OPTIONS]), []
    attention = FirstCallOnly(SelfAttention(captured if captures else None, shots), pytorch_attention)
    with own_attention(module, options, attention):
        out = module.forward(**{**call, **_named(streams, tokens), OPTIONS: options})
    noted.update(options)
    return out, captured[0] if captured else None


def _by_name(module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, Any]:
    """What a block's forward is called with, by name."""
    return {**dict(zip(_names(type(getattr(module, "_orig_mod", module))), args, strict=False)), **kwargs}


def _several(value: object, several: int) -> Sequence[torch.Tensor]:
    """The tensors of an argument."""
    return value if several else (value,)


def _named(streams: Streams, tokens: Iterable[torch.Tensor]) -> dict[str, object]:
    """Tokens as the arguments of a block."""
    each = iter(tokens)
    return {name: tuple(itertools.islice(each, several)) if several else next(each) for name, several in streams}


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    """Names of what a block's forward takes."""
    return tuple(inspect.signature(kind.forward).parameters)[1:]


@dataclass(frozen=True, eq=False)
class WatchedPatch:
    """Another node's patch of a block, which counts only where it runs the block or leaves it out.

    One that puts a block of its own in its place does not: nobody knows whether that one has a backward.
    """

    patch: BlockPatch
    in_pass: Pass

    def __call__(self, args: BlockArguments, extra: dict[str, BlockFunction]) -> dict[str, torch.Tensor]:
        before = self.in_pass.runs
        out = self.patch(args, extra)
        if self.in_pass.ended:
            # It has caught the error that was to end the pass.
            self.in_pass.end()
        ran = self.in_pass.runs > before
        return out if ran or out["img"] is args["img"] else extra["original_block"](args)


@dataclass(frozen=True, eq=False)
class Confined:
    """Self-attention that looks within shots, by the attention that the host or another node chose."""

    shots: TokenShots
    warn: Callable[[str], None]

    def options(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """The options that confine one run of a block, in place of its call's; empty where it is given none."""
        if OPTIONS not in call:
            self.warn(
                "FastVMT: this ComfyUI or another node (a cache of steps?) runs the model's blocks without their "
                "options, so the shots are drawn together; take such a node out, or update ComfyUI, if they pull at "
                "each other."
            )
            return {}
        chosen = call[OPTIONS].get(OVERRIDE, unchanged)

        def within(function: Attention, *tokens: object, **kwargs: object) -> torch.Tensor:
            return self.shots.attend(functools.partial(chosen, function), *tokens, **kwargs)

        return {OPTIONS: {**call[OPTIONS], OVERRIDE: FirstCallOnly(within, chosen)}}

    def patch(self, prior: BlockPatch | None) -> BlockPatch:
        """A block's patch that confines it, around another node's."""

        def patch(args: BlockArguments, extra: dict[str, BlockFunction]) -> dict[str, torch.Tensor]:
            def block(args: BlockArguments) -> dict[str, torch.Tensor]:
                return extra["original_block"]({**args, **self.options(args)})

            return block(args) if prior is None else prior(args, {**extra, "original_block": block})

        return patch

    def forward(self, module: torch.nn.Module) -> Callable[..., object]:
        """What stands for the forward of a block that the host lets nobody patch."""
        original = module.forward

        def forward(*args: object, **kwargs: object) -> object:
            # Another node's forward may stand there, and take its arguments by its own names.
            return original(*args, **{**kwargs, **self.options(kwargs)})

        return forward


def within_shots(
    model_options: dict[str, Any], shots: TokenShots, blocks: Sequence[Block], warn: Callable[[str], None]
) -> dict[str, Any]:
    """A copy of the model options with which these blocks look within shots; other nodes' patches stay.

    Blocks that stand beside those (VACE's) go on seeing the whole clip. `warn` is given the reason where a block does.
    """
    options = comfy.model_patcher.create_model_options_clone(model_options)
    patches, within = block_patches(options), Confined(shots, warn)
    unpatched = [block.module for block in blocks if block.patch is None]
    for block in blocks:
        if block.patch is not None:
            patches[block.patch] = within.patch(patches.get(block.patch))

    def confined(network: Callable[..., torch.Tensor], *args: object, **kwargs: object) -> torch.Tensor:
        with with_forwards((module, within.forward(module)) for module in unpatched):
            return network(*args, **kwargs)

    if unpatched:
        add_wrapper(WrappersMP.DIFFUSION_MODEL, confined, options, is_model_options=True)
    return options


def _in_a_row(axes: str, tokens: torch.Tensor) -> torch.Tensor:
    """Tokens of a block's axes as (B, L, C)."""
    return rearrange(tokens, f"{axes} -> b {'l' if 'l' in axes else '(f h w)'} c")


def block_patches(options: dict[str, Any]) -> dict[tuple[str, int], BlockPatch]:
    """The patches of blocks in a copy of model options, to be changed in place."""
    return options.setdefault(OPTIONS, {}).setdefault("patches_replace", {}).setdefault("dit", {})


def with_forwards(forwards: Iterable[tuple[torch.nn.Module, Callable[..., object]]]) -> AbstractContextManager[None]:
    """The modules with these in place of their forwards, for a while."""
    return swapped_all(_swaps(forwards))


def _swaps(forwards: Iterable[tuple[torch.nn.Module, Callable[..., object]]]) -> Iterator[Swap]:
    for module, forward in forwards:
        yield module, "forward", forward
        # A block that is compiled in place would be run past its forward.
        if vars(module).get("_compiled_call_impl") is not None:
            yield module, "_compiled_call_impl", None
