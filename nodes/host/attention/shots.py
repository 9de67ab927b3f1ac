"""Self-attention that looks no further than its shot. Trap: nothing but its place, first in its block, tells a
self-attention from a cross-attention, which may compare as many tokens."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import comfy.model_patcher
import torch

from ....fastvmt_core.video.cuts import shots

if TYPE_CHECKING:
    from ....fastvmt_core.grid import TokenGrid

Attention = Callable[..., torch.Tensor]
"""(q, k, v, heads, ...) -> (B, L, heads * d), as the host's optimized_attention."""
Override = Callable[..., torch.Tensor]
"""(the host's attention, q, k, v, heads, ...), as the host's optimized_attention_override."""


@dataclass(frozen=True)
class TokenShots:
    """Which of the tokens that a model's self-attentions compare belong to which shot."""

    grid: TokenGrid
    """Of the video's tokens."""
    cuts: Sequence[int]
    """Frames of the grid that begin a new shot."""
    first: int
    """Tokens before the video's: references, as those after it. Each shot sees them, and they see all shots."""

    def attend(
        self, attention: Attention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *args: object, **kwargs: object
    ) -> torch.Tensor:
        """`attention` of q, k, v (B, L, heads * d), shot by shot; as it is with a mask or where L is not the clip's."""
        length, end, frame = q.shape[1], self.first + self.grid.tokens, self.grid.height * self.grid.width
        if k.shape[1] != length or length < end or kwargs.get("mask") is not None:
            return attention(q, k, v, *args, **kwargs)

        def seen_from(shot: slice, tokens: torch.Tensor) -> torch.Tensor:
            if end - self.first == length:
                return tokens[:, shot]
            return torch.cat([tokens[:, : self.first], tokens[:, shot], tokens[:, end:]], dim=1)

        parts = []
        if self.first:
            parts.append(attention(q[:, : self.first], k, v, *args, **kwargs))
        for frames in shots(self.cuts, self.grid.frames):
            shot = slice(self.first + frames.start * frame, self.first + frames.stop * frame)
            parts.append(attention(q[:, shot], seen_from(shot, k), seen_from(shot, v), *args, **kwargs))
        if end < length:
            parts.append(attention(q[:, end:], k, v, *args, **kwargs))
        return torch.cat(parts, dim=1)


def within_shots(
    model_options: dict[str, Any], token_shots: TokenShots, depth: int, warn: Callable[[str], None]
) -> dict[str, Any]:
    """A copy of the model options with which all `depth` blocks look within shots; other nodes' patches stay.

    Blocks that stand beside those (VACE's) go on seeing the whole clip. `warn` is told why a block does.
    """
    options = comfy.model_patcher.create_model_options_clone(model_options)
    replaced = options.setdefault("transformer_options", {}).setdefault("patches_replace", {}).setdefault("dit", {})
    for block in range(depth):
        replaced["double_block", block] = _block_within(token_shots, replaced.get(("double_block", block)), warn)
    return options


def _block_within(token_shots: TokenShots, prior: Callable | None, warn: Callable[[str], None]) -> Callable:
    """A block whose self-attention looks within shots, by the attention that the host or another node chose."""

    def run_block(args: dict[str, Any], extra: dict[str, Callable]) -> dict[str, torch.Tensor]:
        original = extra["original_block"]

        def confined(args: dict[str, Any]) -> dict[str, torch.Tensor]:
            if "transformer_options" not in args:
                warn(
                    "FastVMT: another node (a cache of steps?) runs the model's blocks without their options, so the "
                    "shots are drawn together; take it out if they pull at each other."
                )
                return original(args)
            options = args["transformer_options"]
            chosen = options.get("optimized_attention_override", _hosts_own)

            def own(function: Attention, *tokens: object, **how: object) -> torch.Tensor:
                return token_shots.attend(functools.partial(chosen, function), *tokens, **how)

            options = {**options, "optimized_attention_override": own_and_others(own, chosen)}
            return original({**args, "transformer_options": options})

        return confined(args) if prior is None else prior(args, {**extra, "original_block": confined})

    return run_block


def _hosts_own(function: Attention, *tokens: object, **how: object) -> torch.Tensor:
    return function(*tokens, **how)


def own_and_others(own: Override, others: Override) -> Override:
    """For one run of a block: `own` for its self-attention, `others` for those that follow."""
    called = False

    def attend(*args: object, **kwargs: object) -> torch.Tensor:
        nonlocal called
        attention, called = others if called else own, True
        return attention(*args, **kwargs)

    return attend
