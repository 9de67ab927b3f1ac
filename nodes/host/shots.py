"""Self-attention that looks no further than its shot. Trap: nothing but its place, first in its block, tells a
self-attention from a cross-attention, which may compare as many tokens."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import comfy.model_patcher
import torch

from ...fastvmt_core.cuts import shots

if TYPE_CHECKING:
    from ...fastvmt_core.grid import TokenGrid

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
    """Tokens before the video's: references, as those after it. They see all shots, and each shot sees them."""

    def attend(
        self, attention: Attention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *args: object, **kwargs: object
    ) -> torch.Tensor:
        """`attention` of q, k, v (B, L, heads * d), shot by shot; as it is where L are not the clip's tokens."""
        length, end, frame = q.shape[1], self.first + self.grid.tokens, self.grid.height * self.grid.width
        if k.shape[1] != length or length < end or kwargs.get("mask") is not None:
            return attention(q, k, v, *args, **kwargs)

        def within(shot: range) -> torch.Tensor:
            start, stop = self.first + shot.start * frame, self.first + shot.stop * frame
            seen = ([tokens[:, : self.first], tokens[:, start:stop], tokens[:, end:]] for tokens in (k, v))
            return attention(q[:, start:stop], *(torch.cat(parts, dim=1) for parts in seen), *args, **kwargs)

        parts = [within(shot) for shot in shots(self.cuts, self.grid.frames)]
        before, after = (q[:, : self.first], q[:, end:])
        return torch.cat(
            [
                *([attention(before, k, v, *args, **kwargs)] if before.shape[1] else []),
                *parts,
                *([attention(after, k, v, *args, **kwargs)] if after.shape[1] else []),
            ],
            dim=1,
        )


def within_shots(model_options: dict[str, Any], token_shots: TokenShots, depth: int) -> dict[str, Any]:
    """A copy of the model options with which all `depth` blocks look within shots; other nodes' patches stay."""
    options = comfy.model_patcher.create_model_options_clone(model_options)
    replaced = options.setdefault("transformer_options", {}).setdefault("patches_replace", {}).setdefault("dit", {})
    for block in range(depth):
        replaced["double_block", block] = _block_within(token_shots, replaced.get(("double_block", block)))
    return options


def _block_within(token_shots: TokenShots, prior: Callable | None) -> Callable:
    """A block whose self-attention looks within shots, with the attention that the host or another node chose."""

    def run_block(args: dict[str, Any], extra: dict[str, Callable]) -> dict[str, torch.Tensor]:
        options = dict(args["transformer_options"])
        chosen = options.get("optimized_attention_override", lambda function, *tokens, **how: function(*tokens, **how))

        def own(function: Attention, *tokens: object, **how: object) -> torch.Tensor:
            return token_shots.attend(functools.partial(chosen, function), *tokens, **how)

        options["optimized_attention_override"] = own_and_others(own, chosen)
        args = {**args, "transformer_options": options}
        return extra["original_block"](args) if prior is None else prior(args, extra)

    return run_block


def own_and_others(own: Override, others: Override) -> Override:
    """For one run of a block: `own` for its self-attention, `others` for those that follow."""
    called = False

    def attend(*args: object, **kwargs: object) -> torch.Tensor:
        nonlocal called
        attention, called = others if called else own, True
        return attention(*args, **kwargs)

    return attend
