"""The host's VAE in half the time on a CPU. Trap: without AVX-512 torch's conv3d is six times slower than conv2d, and
its norm over channels is slow everywhere; both are swapped in this process for the same arithmetic, to rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

_conv3d, _normalize = F.conv3d, F.normalize


@contextmanager
def quick_cpu() -> Iterator[None]:
    """Every module of this process uses the functions below while the block runs."""
    F.conv3d, F.normalize = conv3d, normalize
    try:
        yield
    finally:
        F.conv3d, F.normalize = _conv3d, _normalize


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: str | int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    """As torch's; for one clip (1, C, T, H, W) at stride 1 the frames that a kernel sees are stacked as channels."""
    simple = _all(stride, 1) and _all(dilation, 1) and groups == 1 and not isinstance(padding, str)
    if not (simple and x.ndim == 5 and len(x) == 1 and x.device.type == "cpu" and x.dtype == torch.float32):
        return _conv3d(x, weight, bias, stride, padding, dilation, groups)
    depth, high, wide = (padding,) * 3 if isinstance(padding, int) else padding
    frames = F.pad(x, (0, 0, 0, 0, depth, depth))[0].transpose(0, 1)
    taps = weight.shape[2]
    count = len(frames) - taps + 1
    stacked = torch.cat([frames[tap : tap + count] for tap in range(taps)], dim=1)
    kernel = weight.transpose(1, 2).flatten(1, 2)
    return F.conv2d(stacked, kernel, bias, padding=(high, wide)).transpose(0, 1)[None]


def normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """As torch's; the Euclidean norm is the root of a sum."""
    if p != 2.0 or out is not None or x.dtype != torch.float32:
        return _normalize(x, p, dim, eps, out)
    return x / x.square().sum(dim, keepdim=True).sqrt().clamp_min(eps)


def _all(value: int | tuple[int, ...], expected: int) -> bool:
    return all(each == expected for each in ((value,) if isinstance(value, int) else value))
