"""Attention functions that stand where the host's attention is called. Trap: nothing but its place, first in its block,
tells a self-attention from a cross-attention, which may compare as many tokens."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NoReturn

import torch

from ..gradient.kernels import attention_with_backward
from .shots import TokenShots

Attention = Callable[..., torch.Tensor]
"""(q, k, v, heads, ...) -> (B, L, heads * d), as the host's optimized_attention."""
Override = Callable[..., torch.Tensor]
"""(the host's attention, q, k, v, heads, ...), as the host's optimized_attention_override."""
Compared = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""q, k and v as the attention is given them, (B, L, heads, d)."""


def compared(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, skip_reshape: bool = False, **_: object
) -> Compared:
    """q, k and v of a call of the host's attention, (B, L, heads * d), or (B, heads, L, d) with `skip_reshape`."""
    if skip_reshape:
        return tuple(tokens.transpose(1, 2) for tokens in (q, k, v))
    return tuple(tokens.unflatten(-1, (heads, -1)) for tokens in (q, k, v))


class CaptureDoneError(Exception):
    """Ends a forward pass as soon as all that is read is there; never leaves this folder."""


def pytorch_attention(_: Attention, *args: object, **kwargs: object) -> torch.Tensor:
    """Attention with a right backward, whatever fused kernel the host or another node chose."""
    return attention_with_backward(*args, **kwargs)


def unchanged(function: Attention, *args: object, **kwargs: object) -> torch.Tensor:
    """The host's attention, as where there is no override."""
    return function(*args, **kwargs)


class FirstCallOnly:
    """For one run of a block: one override for its first attention, another for those that follow.

    The first is the self-attention in every block of the host's. One object serves one run: a second run of the block
    needs its own.
    """

    def __init__(self, first: Override, others: Override) -> None:
        self._first, self._others = first, others
        self._called = False

    def __call__(self, *args: object, **kwargs: object) -> torch.Tensor:
        attention = self._others if self._called else self._first
        self._called = True
        return attention(*args, **kwargs)


class SelfAttention:
    """A block's self-attention by PyTorch, which notes its q, k and v and looks no further than its shot.

    Args:
        captured: where q, k and v are noted; None: they are not.
        shots: None: all tokens look at all.
    """

    def __init__(self, captured: list[Compared] | None, shots: TokenShots | None) -> None:
        self._captured, self._shots = captured, shots

    def __call__(
        self,
        function: Attention,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        heads: int,
        *args: object,
        **kwargs: object,
    ) -> torch.Tensor:
        if self._captured is not None:
            self._captured.append(compared(q, k, v, heads, **kwargs))

        attention = functools.partial(pytorch_attention, function)
        if self._shots is None:
            return attention(q, k, v, heads, *args, **kwargs)
        return self._shots.attend(attention, q, k, v, heads, *args, **kwargs)


class EndingAttention:
    """Hands over q, k and v of a block's self-attention to a function that ends the forward pass."""

    def __init__(self, captured: Callable[[Compared], NoReturn]) -> None:
        self._captured = captured

    def __call__(
        self, _: Attention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, *__: object, **how: object
    ) -> NoReturn:
        self._captured(compared(q, k, v, heads, **how))
