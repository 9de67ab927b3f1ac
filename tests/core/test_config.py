"""Hyper-parameters: the defaults of the paper, and one clear error for each bad field."""

from __future__ import annotations

import dataclasses

import pytest

from fastvmt_core.config import AdaptiveInterval, AMFConfig, GuidanceConfig, LossWeights


def test_defaults_are_the_papers():
    assert dataclasses.astuple(AMFConfig()) == (4, 21, (3, 4), 1.0, "self")
    weights = LossWeights()
    assert (weights.amf, weights.window, weights.distance_decay, weights.self_pairs) == (5, 1, 0.2, 1)
    guidance = GuidanceConfig()
    assert (guidance.inner_steps, guidance.lr_start, guidance.lr_end, guidance.end_percent) == (10, 0.003, 0.002, 0.2)


@pytest.mark.parametrize(
    ("make", "field", "bad"),
    [
        (AMFConfig, "temporal_span", 0),
        (AMFConfig, "window", 0),
        (AMFConfig, "window", 2.5),
        (AMFConfig, "tile", (3, 0)),
        (AMFConfig, "tile", [3, 4]),
        (AMFConfig, "sharpness", 0.0),
        (AMFConfig, "sharpness", float("nan")),
        (AMFConfig, "centre", "middle"),
        (LossWeights, "amf", -1),
        (LossWeights, "window", float("inf")),
        (LossWeights, "distance_decay", 1.1),
        (LossWeights, "schedule", "sine"),
        (LossWeights, "released_scale", 1),
        (GuidanceConfig, "inner_steps", 0),
        (GuidanceConfig, "gradient_interval", True),
        (GuidanceConfig, "strength", -0.1),
        (GuidanceConfig, "end_percent", 2),
        (GuidanceConfig, "adaptive", 3),
        (AdaptiveInterval, "cosine", 2.0),
        (AdaptiveInterval, "longest", 0),
    ],
)
def test_a_bad_field_is_named(make, field, bad):
    with pytest.raises(ValueError, match=f"^{field}: expected .*, got "):
        make(**{field: bad})
