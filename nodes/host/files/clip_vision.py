"""Features of frames from the host's CLIP vision. Trap: it takes all frames at once if it is given all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from comfy.clip_vision import ClipVisionModel

BATCH = 16


def image_features(clip_vision: ClipVisionModel, frames: torch.Tensor) -> torch.Tensor:
    """(T, d) float32 on the CPU: CLIP's embedding of each frame (T, H, W, 3) in [0, 1]."""
    parts = [clip_vision.encode_image(part)["image_embeds"] for part in frames.split(BATCH)]
    return torch.cat([part.float().cpu() for part in parts])
