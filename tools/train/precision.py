"""Where half precision makes training faster."""

from __future__ import annotations

from functools import lru_cache

import torch


@lru_cache
def multiplies_in_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for it; others take several times as long as in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
