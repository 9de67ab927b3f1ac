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
    """Tokens before the video's: references and text, as those after it. Each shot sees them, and they see all shots.
    Negative: the place of the video's first counted from the end."""

    def attend(
        self,
        attention: Callable[..., torch.Tensor],
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *args: object,
        **kwargs: object,
    ) -> torch.Tensor:
        """`attention` of q, k, v (B, L, heads * d) or (B, heads, L, d), shot by shot.

        Of all at once with a mask that is not the same for all queries, or where L is another.
        """
        length, mask = q.shape[-2], kwargs.get("mask")
        first = self.first % length
        end, frame = first + self.grid.tokens, self.grid.height * self.grid.width
        # Along the keys alone: which tokens of a text are padding.
        masked = any(torch.is_tensor(each) for each in args) or (mask is not None and not _is_of_keys(mask, length))
        if k.shape[-2] != length or length < end or masked:
            return attention(q, k, v, *args, **kwargs)

        def of(queries: slice, shot: slice) -> torch.Tensor:
            keys = [part for part in (slice(0, first), shot, slice(end, length)) if part.start < part.stop]
            seen = {} if mask is None else {"mask": torch.cat([mask[..., part] for part in keys], dim=-1)}
            k_seen, v_seen = (
                each[..., shot, :] if len(keys) == 1 else torch.cat([each[..., part, :] for part in keys], dim=-2)
                for each in (k, v)
            )
            return attention(q[..., queries, :], k_seen, v_seen, *args, **{**kwargs, **seen})

        video = slice(first, end)
        parts = [of(slice(0, first), video)] if first else []
        for frames in shots(self.cuts, self.grid.frames):
            shot = slice(first + frames.start * frame, first + frames.stop * frame)
            parts.append(of(shot, shot))
        if end < length:
            parts.append(of(slice(end, length), video))
        return torch.cat(parts, dim=-2)


def _is_of_keys(mask: torch.Tensor, keys: int) -> bool:
    return mask.shape[-1] == keys and (mask.ndim < 2 or mask.shape[-2] == 1)
