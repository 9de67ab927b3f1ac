"""Muon for matrices and convolutions, AdamW for the other weights: the fastest training of small models on a CPU."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import torch

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration (Jordan et al., Muon, 2024)."""


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum, for weights of any shape, flattened to (out, all others).

    torch.optim.Muon takes matrices alone and iterates in bfloat16 everywhere, which CPUs without such instructions do
    eight times slower than float32. Steps have AdamW's size (rms .2 lr).
    """

    def __init__(self, weights: Sequence[torch.nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """The weights move one step along the gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                direction = _orthogonal(weight.grad.lerp(momentum, group["momentum"]).flatten(1))
                size = 0.2 * math.sqrt(max(direction.shape))
                weight.add_(direction.view_as(weight), alpha=-group["lr"] * size)


def make_optimizers(
    named: Iterable[tuple[str, torch.nn.Parameter]], matrices: Sequence[str], muon_lr: float, adam_lr: float
) -> list[torch.optim.Optimizer]:
    """Muon for the weights of two dimensions or more whose name starts with one of ``matrices``, AdamW for the others.

    Weights that require no gradient are left out.
    """
    muon, adam = [], []
    for name, weight in named:
        if not weight.requires_grad:
            continue
        (muon if weight.ndim >= 2 and name.startswith(tuple(matrices)) else adam).append(weight)
    return [Muon(muon, muon_lr), torch.optim.AdamW(adam, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0)]


def _orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The nearest orthogonal matrix, nearly: five Newton-Schulz iterations."""
    a, b, c = NEWTON_SCHULZ
    turned = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if turned else matrix
    x = x / (x.norm() + 1e-7)
    if multiplies_in_bfloat16(matrix.device):
        x = x.bfloat16()
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if turned else x).to(matrix.dtype)


@lru_cache
def multiplies_in_bfloat16(device: torch.device) -> bool:
    """True if the device has instructions for bfloat16; others take several times as long as in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
