"""Prompts that only a part of the frame reads. Trap: the host joins the texts of a batch without a mask, so which
tokens of a text are whose is known by their place alone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ....fastvmt_core.grid import TokenGrid
from ....fastvmt_core.guidance.schedule import is_above
from .override import Attention, unchanged
from .own import OVERRIDE

KEY = "fastvmt_place_subject"
"""Of the wrappers that place a subject."""
AXIS = -2
"""Of the tokens in q, k, v and in what the attention gives."""


@dataclass(frozen=True, eq=False)
class PlacedPrompts:
    """One run's positive prompts by place: outside a mask the background's is read instead.

    Inside, what a cross-attention reads of the positive prompt, p, and of the background's, b, becomes
    b + strength (p - b): what the subject alone adds is emphasised, as in normalised attention guidance (arXiv
    2505.21179) what a negative prompt lacks, but without that method's normalisation.
    """

    background: torch.Tensor
    """(1, T, C), text features."""
    inside: torch.Tensor
    """(F, H, W) bool: the video's tokens where the subject is."""
    strength: float
    first: int
    """Tokens before the video's, as of `VideoModel.first_token`; they and those after it read what they read before."""
    leading: int
    """Frames of the latent before the video's."""
    end_sigma: float
    """Prompts are placed above this noise level."""
    positive: Collection[object]
    """`uuid` of the run's positive conditions; all others stay as they are."""
    patch: tuple[int, int, int]
    """The network's: latent frames, rows and columns to one token."""

    def wrap(
        self,
        executor: Callable[..., torch.Tensor],
        x: torch.Tensor,
        t: torch.Tensor,
        c_concat: torch.Tensor | None = None,
        c_crossattn: torch.Tensor | None = None,
        control: object = None,
        transformer_options: dict[str, Any] | None = None,
        **conditions: object,
    ) -> torch.Tensor:
        """Evaluate the model with placed prompts (an APPLY_MODEL wrapper).

        Raises:
            ValueError: the model is evaluated on a part of the video.
        """
        options = dict(transformer_options or {})
        placed = [each in self.positive for each in options.get("uuids", ())]
        if c_crossattn is not None and any(placed) and is_above(float(t.max()), self.end_sigma):
            window = options.get("context_window")
            inside = self.inside if window is None else window.get_tensor(self.inside[None, None])[0, 0]
            inside = inside.to(x.device)
            grid, whole = TokenGrid.of_latent(x.shape, self.patch), TokenGrid(*inside.shape)
            if grid != dataclasses.replace(whole, frames=whole.frames + self.leading):
                raise ValueError(
                    f"positive: expected a prompt for all of the video beside Place Subject, {whole}, got one for "
                    f"{grid}; take out nodes that set conditioning areas or split the video."
                )
            texts = _Texts(self, inside, placed, c_crossattn)
            c_crossattn = texts.joined
            options[OVERRIDE] = functools.partial(texts.attend, options.get(OVERRIDE, unchanged))
        return executor(x, t, c_concat, c_crossattn, control, options, **conditions)


class _Texts:
    """The texts of one batch, each with the background's behind it."""

    def __init__(self, prompts: PlacedPrompts, inside: torch.Tensor, placed: Sequence[bool], own: torch.Tensor) -> None:
        # Counted from the end, the first token is the nearer the fewer frames there are.
        self._first = prompts.first + (prompts.inside.numel() - inside.numel() if prompts.first < 0 else 0)
        self._inside = prompts.strength * inside.flatten()
        # A condition has several rows where there are several videos.
        count = len(own) // len(placed)
        self._rows = [row for row in range(len(own)) if placed[row // count]]
        parts = [own, prompts.background.to(own).expand(len(own), -1, -1)]
        end = own.shape[1] + parts[1].shape[1]
        self._own, self._background = slice(own.shape[1]), slice(own.shape[1], end)
        # A self-attention compares whole frames of tokens: never as many as a text.
        if end % inside[0].numel() == 0:
            parts.append(own.new_zeros(len(own), 1, own.shape[2]))
        self.joined = torch.cat(parts, dim=1)

    def attend(
        self,
        chosen: Callable[..., torch.Tensor],
        function: Attention,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *args: object,
        **kwargs: object,
    ) -> torch.Tensor:
        """The host's attention (an optimized_attention_override); where k and v are these texts, each in its place."""
        if k.shape[AXIS] != self.joined.shape[1] or len(k) != len(self.joined):
            return chosen(function, q, k, v, *args, **kwargs)
        out = chosen(function, q, k[..., self._own, :], v[..., self._own, :], *args, **kwargs)
        share, first = out.new_ones(q.shape[AXIS], 1), self._first % q.shape[AXIS]
        share[first : first + len(self._inside), 0] = self._inside.to(share)
        # Row by row: slices copy nothing, and what stands beside the attention's own result is one row of it.
        for row in self._rows:
            part, text = slice(row, row + 1), self._background
            there = chosen(function, q[part], k[part][..., text, :], v[part][..., text, :], *args, **kwargs)
            out[part] = there.lerp_(out[part], share)
        return out
