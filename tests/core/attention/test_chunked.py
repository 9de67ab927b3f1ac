"""Attention in pieces: torch's own result and gradient, in bounded memory, and only where torch has no fused kernel."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fastvmt_core.attention import chunked

BATCH, HEADS, QUERIES, KEYS, CHANNELS = 2, 3, 37, 41, 8
MOST_LOGITS = 300
"""Seven rows of one head."""
# Sums over 41 keys in another order; bfloat16 rounds the result itself to 3 digits.
CLOSE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(chunked, "MOST_LOGITS", MOST_LOGITS)


class Largest(TorchDispatchMode):
    """The number of values of the largest tensor that any operation makes, forward and backward."""

    values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.values = max(self.values, *made, 0)
        return result


class Alive(TorchDispatchMode):
    """Bytes of the tensors that operations made and that were alive together, at the most."""

    def __init__(self):
        super().__init__()
        self.most = self._now = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves((args, kwargs)) if torch.is_tensor(leaf)}
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if torch.is_tensor(leaf) and leaf.untyped_storage().data_ptr() not in given:
                self._count(size := leaf.untyped_storage().nbytes())
                weakref.finalize(leaf, self._count, -size)
        return result

    def _count(self, size):
        self._now += size
        self.most = max(self.most, self._now)


def qkv(dtype=torch.float32, heads=HEADS, queries=QUERIES, seed=0):
    """As the host makes them: heads beside channels in memory."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((queries, HEADS), (KEYS, heads), (KEYS, heads))
    made = (torch.randn(BATCH, length, n, CHANNELS, generator=generator, dtype=torch.float64) for length, n in shapes)
    return [part.to(dtype).transpose(1, 2).requires_grad_(True) for part in made]


def result_and_gradients(context, inputs, **options):
    """With torch's fused kernels turned off."""
    with sdpa_kernel(SDPBackend.MATH), context:
        out = scaled_dot_product_attention(*inputs, **options)
        weights = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).reshape(out.shape)
        return [out.detach(), *torch.autograd.grad((out * weights).sum(), inputs)]


def masks():
    generator = torch.Generator().manual_seed(1)
    keep = torch.rand(1, 1, QUERIES, KEYS, generator=generator) > 0.3
    keep[..., 5, :] = False
    return {"none": None, "bool": keep, "additive": torch.randn(BATCH, 1, 1, KEYS, generator=generator)}


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("mask", masks())
def test_result_and_gradient_are_torchs_own(dtype, mask):
    mask = masks()[mask]
    options = {"attn_mask": mask.to(dtype) if mask is not None and mask.is_floating_point() else mask}
    largest, plain = Largest(), Largest()
    inputs = qkv(dtype)
    with plain:
        theirs = result_and_gradients(torch.enable_grad(), inputs, **options)
    with largest:
        ours = result_and_gradients(chunked.ChunkedAttention(), inputs, **options)
    for name, our, their in zip(("out", "q", "k", "v"), ours, theirs, strict=True):
        assert our.dtype == dtype and our.shape == their.shape
        assert torch.allclose(our, their, atol=CLOSE[dtype], rtol=CLOSE[dtype]), name
    # Nothing is larger than q, k and v of one clip's heads together, or than a mask that was given.
    given = max(part.numel() for part in (*inputs, *(m for m in [mask] if m is not None)))
    assert plain.values >= BATCH * HEADS * QUERIES * KEYS
    assert mask is not None or largest.values <= max(given, MOST_LOGITS)


def test_scale_and_grouped_heads_are_torchs_own():
    inputs = qkv(torch.float64, heads=1)
    theirs, ours = (
        result_and_gradients(context, inputs, scale=0.4, enable_gqa=True)
        for context in (torch.enable_grad(), chunked.ChunkedAttention())
    )
    assert all(torch.allclose(*pair, atol=1e-12) for pair in zip(ours, theirs, strict=True))


def test_the_gradient_agrees_with_finite_differences():
    inputs = qkv(torch.float64)

    def attention(*inputs):
        with sdpa_kernel(SDPBackend.MATH), chunked.ChunkedAttention():
            return scaled_dot_product_attention(*inputs)

    assert "PiecewiseAttention" in str(attention(*inputs).grad_fn)
    assert torch.autograd.gradcheck(attention, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_the_pieces_take_is_known_before(monkeypatch, dtype):
    """Beside q, k and v and what comes out: one result forward, three gradients in backward."""
    monkeypatch.setattr(chunked, "MOST_LOGITS", 2**16)
    length, cpu = 500, torch.device("cpu")
    inputs = [torch.ones(BATCH, HEADS, length, CHANNELS, dtype=dtype, requires_grad=True) for _ in range(3)]
    with sdpa_kernel(SDPBackend.MATH), chunked.ChunkedAttention():
        with Alive() as forward:
            out = scaled_dot_product_attention(*inputs)
        d_out = torch.ones_like(out)
        with Alive() as backward:
            torch.autograd.grad(out, inputs, d_out)
        predicted = chunked.piece_bytes(BATCH, HEADS, length, CHANNELS, dtype, cpu)
        assert chunked.piece_bytes(1, 1, 256, CHANNELS, dtype, cpu) == 0
    each = out.numel() * out.element_size()
    measured = max(forward.most - each, backward.most - 3 * each)
    assert measured <= predicted <= 1.2 * measured
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        assert chunked.piece_bytes(BATCH, HEADS, length, CHANNELS, dtype, cpu) == 0


@pytest.mark.parametrize("why", ["fused", "small", "causal"])
def test_other_attention_is_left_to_torch(why):
    inputs = qkv(queries=2 if why == "small" else QUERIES)[:3]
    if why == "small":
        inputs = [part[:1, :1] for part in inputs]
    backend = SDPBackend.FLASH_ATTENTION if why == "fused" else SDPBackend.MATH
    with sdpa_kernel(backend), chunked.ChunkedAttention():
        out = scaled_dot_product_attention(*inputs, is_causal=why == "causal")
    assert "Piecewise" not in str(out.grad_fn)
