"""Named sets of hyper-parameters: the guidance presets, and the loss weights that the nodes start from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .config import GuidanceConfig, LossWeights

PAPER_LOSS_WEIGHTS = LossWeights(released_scale=True)
"""The paper's 5 and 1, at the scale they were chosen for; what the nodes start from.

Without `released_scale` the same numbers let the consistency loss dominate: on the tiny model (4 clips) the
path correlation is .59 with them, .82 with consistency 0.1, .97 with consistency 0.01, and .975 with these weights.
"""


PRESETS: Mapping[str, GuidanceConfig] = MappingProxyType(
    {
        "draft": GuidanceConfig(inner_steps=5, lr_start=0.05, lr_end=0.033, gradient_interval=5, end_percent=0.4),
        "fast": GuidanceConfig(inner_steps=1, end_percent=0.6, optimizer="polyak"),
        "balanced": GuidanceConfig(inner_steps=6, lr_start=0.05, lr_end=0.033, gradient_interval=3, end_percent=0.6),
        "best": GuidanceConfig(inner_steps=6, lr_start=0.05, lr_end=0.033, gradient_interval=3, end_percent=0.8),
        "paper": GuidanceConfig(inner_steps=10, lr_start=0.003, lr_end=0.002, gradient_interval=3, end_percent=0.2),
    }
)
"""From few gradient evaluations to many: on the tiny model, in 25 steps and over six clips, draft takes 10 and
reaches a path correlation of .964, balanced 30 and .981, best 40 and .983 (docs/ablation.md). ``paper``: section 4 of
FastVMT."""
