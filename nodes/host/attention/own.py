"""Guided blocks attend by functions of ours. Trap: packs put theirs into a block's patch, onto its modules and into the
host's module, and a kernel without a backward gives a wrong gradient without an error."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import comfy.ldm.modules.attention
import torch

from ..models.video_model import VideoModel
from ..swap import ABSENT, Swap, swapped_all
from .override import Override, pytorch_attention

BlockArguments = dict[str, Any]
BlockFunction = Callable[[BlockArguments], dict[str, torch.Tensor]]
BlockPatch = Callable[[BlockArguments, dict[str, BlockFunction]], dict[str, torch.Tensor]]
"""What the host calls in a block's place: (arguments, {"original_block": the block})."""
OVERRIDE = "optimized_attention_override"
NAME = "optimized_attention"
"""Of the attention in the modules of the host's networks."""


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
    modules = [each for each in block.modules() if hasattr(each, "num_heads") and each not in compiled]
    yield options, OVERRIDE, attention
    for each in compiled:
        yield each, "forward", each._orig_mod
    for each in block.modules():
        if vars(each).get("_compiled_call_impl") is not None:
            yield each, "_compiled_call_impl", None
    for module in modules:
        if "forward" in vars(module):
            yield module, "forward", ABSENT
    for home in {type(module).__module__ for module in modules}:
        if not _is_hosts(getattr(sys.modules[home], NAME, None)):
            yield sys.modules[home], NAME, functools.partial(attention, None)


def _is_hosts(function: object) -> bool:
    """Whether this is none, or one of the host's attention functions, which look for the override."""
    return function is None or getattr(function, "__module__", None) == comfy.ldm.modules.attention.__name__


@dataclass(eq=False)
class OwnBlock:
    """The host's block, which attends by functions of ours."""

    module: torch.nn.Module
    original: BlockFunction
    """As the host hands it to a patch."""
    attention: Callable[[], Override]
    """Makes the attention of one run."""
    ran: bool = field(default=False, init=False)

    def __call__(self, args: BlockArguments) -> dict[str, torch.Tensor]:
        """What the block makes of its arguments."""
        self.ran = True
        require_options(args)
        with own_attention(self.module, args["transformer_options"], self.attention()):
            return self.original(args)

    def patched_by(
        self, patch: BlockPatch | None, args: BlockArguments, extra: dict[str, BlockFunction]
    ) -> dict[str, torch.Tensor]:
        """What another node's patch makes of the block.

        A patch that leaves the block out counts. One that puts a block of its own in its place does not: nobody knows
        whether that one has a backward.
        """
        if patch is None:
            return self(args)
        out = patch(args, {**extra, "original_block": self})
        return out if self.ran or out["img"] is args["img"] else self(args)


def require_options(args: BlockArguments) -> None:
    """Refuse a block that is given no options: its attention could not be asked for q and k (0.3.75's S2V).

    Raises:
        ValueError: it is given none.
    """
    if "transformer_options" not in args:
        raise ValueError(
            "model: expected one whose blocks are given transformer_options, got one that this ComfyUI leaves without; "
            "update ComfyUI, or take another model."
        )


def own_attention_beside(video_model: VideoModel, last: int) -> AbstractContextManager[None]:
    """Let the side blocks (VACE's) beside the blocks up to `last` attend by PyTorch, backward included."""
    return swapped_all(
        (side.holder, side.key, _OwnSideBlock(side.holder[side.key]))
        for side in video_model.side_blocks()
        if side.beside <= last
    )


class _OwnSideBlock(torch.nn.Module):
    """Stands where a side block stands."""

    def __init__(self, block: torch.nn.Module) -> None:
        super().__init__()
        # In a tuple, or the block would be a child of this module too, and whoever walks the tree would meet it twice.
        self._outside_module_tree = (block,)

    def forward(self, *args: object, transformer_options: dict[str, Any], **kwargs: object) -> object:
        """What the block makes of the same arguments."""
        (block,) = self._outside_module_tree
        with own_attention(block, transformer_options, pytorch_attention):
            return block(*args, transformer_options=transformer_options, **kwargs)
