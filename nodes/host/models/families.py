"""The table of the families of video DiTs that can be guided: a new one is a file and a line here."""

from __future__ import annotations

import torch

from .cosmos import COSMOS, COSMOS_PREDICT2
from .family import Family, RefusedFamily
from .hunyuan import HUNYUAN
from .kandinsky5 import KANDINSKY5
from .ltxv import LTX2, LTXV
from .mochi import MOCHI
from .wan import WAN

FAMILIES: tuple[Family, ...] = (WAN, LTXV, LTX2, HUNYUAN, COSMOS_PREDICT2, MOCHI, COSMOS, KANDINSKY5)
"""The special before the general: the first row that accepts a network counts."""
REFUSED: tuple[RefusedFamily, ...] = (
    RefusedFamily(
        name="MiniMax H3",
        parts=("video_patch_proj", "audio_patch_proj"),
        reason="its latent frames hold 1, 4, 4, 4 and 4 frames of the video in turn, so that a motion from each to the "
        "next has no one length in time, and it draws no video without sound",
    ),
)
"""Recognised before a network is asked what it lacks."""


def family_of(network: torch.nn.Module) -> Family:
    """The family of a network.

    Raises:
        ValueError: no row accepts it; the message names what each family misses, or why its own is refused.
    """
    for refused in REFUSED:
        if all(hasattr(network, part) for part in refused.parts):
            known = ", ".join(family.name for family in FAMILIES)
            raise ValueError(
                f"model: expected a video model of {known}, got {refused.name}, which is not guided: {refused.reason}; "
                "connect a model of one of those."
            )
    for family in FAMILIES:
        if not family.missing_parts(network):
            return family
    missing = "; ".join(f"{family.name}: no {', '.join(family.missing_parts(network))}" for family in FAMILIES)
    raise ValueError(
        "model: expected a native video model of a known family (from Load Diffusion Model), got "
        f"{type(network).__name__} ({missing}); connect a model of one of them."
    )
