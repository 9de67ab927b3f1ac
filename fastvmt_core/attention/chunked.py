"""Scaled dot product attention in pieces, for devices where torch would build the matrix of all queries and keys.

Axes: B clips, n heads, L queries, S keys, d channels of a head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from .devices import without_autocast
from .matching import compute_dtype

MOST_LOGITS = 2**25
"""Entries of a piece of the matrix: 128 MB in float32."""
MATRICES = 2
"""Such pieces that are alive at once: logits and their softmax, or that and its gradient."""


class ChunkedAttention(TorchFunctionMode):
    """A context in which torch's attention never builds a large matrix, neither forward nor in the backward of it.

    Attention for which torch has a fused kernel on its device, and small attention, are left to torch. Old AMD cards,
    Apple's and DirectML have none: the matrices of one block of 81 frames of 480p would take 26 GB and more.
    """

    def __torch_function__(
        self, function: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        """The function's own result, or attention in pieces."""
        kwargs = kwargs or {}
        if function is scaled_dot_product_attention and _is_large(*args, **kwargs) and not _is_fused(*args, **kwargs):
            return _in_pieces(*args, **kwargs)
        return function(*args, **kwargs)


def piece_bytes(batch: int, heads: int, tokens: int, channels: int, dtype: torch.dtype, device: torch.device) -> int:
    """Bytes at the peak of a self-attention in pieces, beside what it is given and gives; 0 where torch attends.

    Args:
        batch: clips.
        heads: of the attention.
        tokens: of a clip.
        channels: of one head.
        dtype: of q, k and v.
        device: where they lie.
    """
    if batch * heads * tokens**2 <= MOST_LOGITS:
        return 0
    # A few tokens, for torch chooses by all else. Outside inference mode, or it would choose for no backward.
    with torch.inference_mode(False), torch.enable_grad():
        probe = [torch.empty(1, 1, 64, channels, dtype=dtype, device=device, requires_grad=True) for _ in range(3)]
        if _is_fused(*probe):
            return 0
    together, rows = _piece(heads, tokens, tokens)
    width = torch.empty(0, dtype=compute_dtype(probe[0])).element_size()
    logits = MATRICES * rows * tokens
    # k, v and their gradients; q, the output, their gradients and what becomes of them, of the piece's rows.
    computed = (4 * tokens + 6 * rows) * channels
    return together * (logits + computed) * width


def _is_large(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **_: object,
) -> bool:
    """Whether pieces help, and are of a form that they are written for."""
    plain = query.ndim == 4 and dropout_p == 0 and not is_causal
    return plain and math.prod(query.shape[:-1]) * key.shape[-2] > MOST_LOGITS


def _is_fused(*args: object, **kwargs: object) -> bool:
    """Whether torch has a kernel for this attention that does not build the matrix: its own choice."""
    try:
        return torch._fused_sdp_choice(*args, **kwargs) != SDPBackend.MATH.value
    except (NotImplementedError, RuntimeError):
        # Devices of other packages have nothing to choose from.
        return False


def _in_pieces(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *_: object,
    scale: float | None = None,
    enable_gqa: bool = False,
    **__: object,
) -> Tensor:
    """(B, n, L, d): as `scaled_dot_product_attention`, without dropout."""
    if enable_gqa:
        key, value = (part.repeat_interleave(query.shape[1] // part.shape[1], 1) for part in (key, value))
    if attn_mask is not None:
        attn_mask = attn_mask.detach().expand(*query.shape[:-1], key.shape[-2])
    return _PiecewiseAttention.apply(query, key, value, attn_mask, scale or 1 / math.sqrt(query.shape[-1]))


class _PiecewiseAttention(torch.autograd.Function):
    """Attention that keeps q, k and v, and computes each piece again in backward: dlogit = A (dA - sum dA A)."""

    @staticmethod
    def forward(ctx: FunctionCtx, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        ctx.save_for_backward(q, k, v, mask)
        ctx.scale = scale
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        with without_autocast(q.device):
            for heads, pieces in _heads(q, k):
                keys, values = _computed(k[heads]), _computed(v[heads])
                for piece in pieces:
                    attention = _attention(_computed(q[piece]), keys, None if mask is None else mask[piece], scale)
                    out[piece] = torch.bmm(attention, values)
                    del attention
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask = ctx.saved_tensors
        d_q, d_k, d_v = (torch.empty_like(part) for part in (q, k, v))
        with without_autocast(q.device):
            for heads, pieces in _heads(q, k):
                keys, values = _computed(k[heads]), _computed(v[heads])
                d_keys, d_values = torch.zeros_like(keys), torch.zeros_like(values)
                for piece in pieces:
                    queries, d_piece = _computed(q[piece]), _computed(d_out[piece])
                    attention = _attention(queries, keys, None if mask is None else mask[piece], ctx.scale)
                    offset = (d_piece * torch.bmm(attention, values)).sum(-1, keepdim=True)
                    d_values.baddbmm_(attention.mT, d_piece)
                    d_logits = torch.bmm(d_piece, values.mT).sub_(offset).mul_(attention)
                    d_keys.baddbmm_(d_logits.mT, queries, alpha=ctx.scale)
                    d_q[piece] = torch.bmm(d_logits, keys).mul_(ctx.scale)
                    del attention, d_logits
                d_k[heads], d_v[heads] = d_keys, d_values
        return d_q, d_k, d_v, None, None


Index = tuple[int | slice, ...]


def _heads(q: Tensor, k: Tensor) -> Iterator[tuple[Index, list[Index]]]:
    """(clip, heads) that are computed together, and for each the (clip, heads, queries) of its pieces."""
    batch, heads, queries, _ = q.shape
    together, rows = _piece(heads, queries, k.shape[-2])
    for clip in range(batch):
        for head in range(0, heads, together):
            index = clip, slice(head, head + together)
            yield index, [(*index, slice(row, row + rows)) for row in range(0, queries, rows)]


def _piece(heads: int, queries: int, keys: int) -> tuple[int, int]:
    """Heads and queries of one piece."""
    rows = max(1, min(queries, MOST_LOGITS // keys))
    return min(heads, max(1, MOST_LOGITS // (rows * keys))), rows


def _computed(tokens: Tensor) -> Tensor:
    return tokens.to(compute_dtype(tokens))


def _attention(queries: Tensor, keys: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """(heads, rows, S); all 0 for a query that may attend to nothing, as torch's own."""
    logits = torch.bmm(queries, keys.mT).mul_(scale)
    if mask is None:
        return logits.softmax(-1)
    logits = logits.masked_fill_(~mask, -math.inf) if mask.dtype == torch.bool else logits.add_(mask)
    nothing = logits.amax(-1, keepdim=True) == -math.inf
    return logits.softmax(-1).masked_fill_(nothing, 0)
