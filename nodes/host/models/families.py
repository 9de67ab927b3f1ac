"""The table of the families of video DiTs that can be guided: a new one is a file and a line here."""

from __future__ import annotations

import torch

from .cosmos import COSMOS, COSMOS_PREDICT2
from .family import Family
from .hunyuan import HUNYUAN
from .kandinsky5 import KANDINSKY5
from .ltxv import LTX2, LTXV
from .mochi import MOCHI
from .wan import WAN

FAMILIES: tuple[Family, ...] = (WAN, LTXV, LTX2, HUNYUAN, COSMOS_PREDICT2, MOCHI, COSMOS, KANDINSKY5)
"""The special before the general: the first row that accepts a network counts."""


def family_of(network: torch.nn.Module) -> Family:
    """The family of a network.

    Raises:
        ValueError: no row accepts it; the message names what each family misses.
    """
    for family in FAMILIES:
        if not family.missing_parts(network):
            return family
    missing = "; ".join(f"{family.name}: no {', '.join(family.missing_parts(network))}" for family in FAMILIES)
    raise ValueError(
        "model: expected a native video model of a known family (from Load Diffusion Model), got "
        f"{type(network).__name__} ({missing}); connect a model of one of them."
    )
