"""Hyper-parameters: the defaults of the paper, and one clear error for each bad field."""

from __future__ import annotations

import dataclasses

import pytest

from fastvmt_core.config import AdaptiveInterval, AMFConfig, GuidanceConfig, InversionConfig, LossWeights


def test_defaults_are_the_papers():
    assert dataclasses.astuple(AMFConfig()) == (4, 21, (3, 4), 1.0, "self")
    weights = LossWeights()
    assert (weights.amf, weights.consistency, weights.distance_decay, weights.self_pairs) == (5, 1, 0.2, 1)
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
        (LossWeights, "consistency", float("inf")),
        (LossWeights, "distance_decay", 1.1),
        (LossWeights, "schedule", "sine"),
        (LossWeights, "released_scale", 1),
        (GuidanceConfig, "inner_steps", 0),
        (GuidanceConfig, "gradient_interval", True),
        (GuidanceConfig, "strength", -0.1),
        (GuidanceConfig, "end_percent", 2),
        (GuidanceConfig, "adaptive", 3),
        (GuidanceConfig, "memory", "tiny"),
        (AdaptiveInterval, "cosine", 2.0),
        (AdaptiveInterval, "longest", 0),
        (InversionConfig, "block", -2),
        (InversionConfig, "more_blocks", (-1,)),
        (InversionConfig, "more_blocks", [3]),
    ],
)
def test_a_bad_field_is_named(make, field, bad):
    with pytest.raises(ValueError, match=f"^{field}: expected .*, got "):
        make(**{field: bad})


@pytest.mark.parametrize(
    ("block", "more", "depth", "blocks"),
    [(-1, (), 30, (14,)), (-1, (), 6, (3,)), (5, (), 6, (5,)), (-1, (16, 12), 30, (12, 14, 16)), (0, (2,), 6, (0, 2))],
)
def test_blocks_are_resolved_in_rising_order(block, more, depth, blocks):
    assert InversionConfig(block=block, more_blocks=more).resolve_blocks(depth) == blocks


@pytest.mark.parametrize(
    ("block", "more", "message"),
    [
        (6, (), r"^block: expected -1 \(auto\) to 5, as the model has 6, got 6"),
        (3, (6,), r"^more_blocks: expected blocks from 0 to 5, as the model has 6, got \(6,\)"),
        (3, (1, 1), "^more_blocks: expected each block once, and not 3"),
        (-1, (3,), "^more_blocks: expected each block once, and not 3, which is read anyway"),
    ],
)
def test_blocks_that_the_model_lacks_or_that_are_named_twice_are_refused(block, more, message):
    with pytest.raises(ValueError, match=message):
        InversionConfig(block=block, more_blocks=more).resolve_blocks(6)
