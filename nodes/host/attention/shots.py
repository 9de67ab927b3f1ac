"""Self-attention that looks no further than its shot. Trap: reference frames stand before or after the video's tokens,
belong to no shot and must stay visible to all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ....fastvmt_core.grid import TokenGrid
from ....fastvmt_core.video.cuts import shots


@dataclass(frozen=True, eq=False)
class TokenShots:
    """Which of the tokens that a model's self-attentions compare belong to which shot."""

    grid: TokenGrid
    """Of the video's tokens."""
    cuts: Sequence[int]
    """Frames of the grid that begin a new shot."""
    first: int
    """Tokens before the video's: references, as those after it. Each shot sees them, and they see all shots."""

    def attend(
        self,
        attention: Callable[..., torch.Tensor],
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *args: object,
        **kwargs: object,
    ) -> torch.Tensor:
        """`attention` of q, k, v (B, L, heads * d), shot by shot; of all at once with a mask or where L is another."""
        length, end, frame = q.shape[1], self.first + self.grid.tokens, self.grid.height * self.grid.width
        if k.shape[1] != length or length < end or kwargs.get("mask") is not None:
            return attention(q, k, v, *args, **kwargs)

        def visible_from(shot: slice, tokens: torch.Tensor) -> torch.Tensor:
            if end - self.first == length:
                return tokens[:, shot]
            return torch.cat([tokens[:, : self.first], tokens[:, shot], tokens[:, end:]], dim=1)

        parts = []
        if self.first:
            parts.append(attention(q[:, : self.first], k, v, *args, **kwargs))
        for frames in shots(self.cuts, self.grid.frames):
            shot = slice(self.first + frames.start * frame, self.first + frames.stop * frame)
            parts.append(attention(q[:, shot], visible_from(shot, k), visible_from(shot, v), *args, **kwargs))
        if end < length:
            parts.append(attention(q[:, end:], k, v, *args, **kwargs))
        return torch.cat(parts, dim=1)
