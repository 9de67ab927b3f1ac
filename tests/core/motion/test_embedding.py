"""The motion as a value: what contradicts itself is refused, with one clear error for each field."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fastvmt_core.motion.about import About
from fastvmt_core.motion.fingerprint import hash_of_reference
from tests.core.motion.made_files import (
    FINGERPRINT,
    a_motion,
    with_flow,
)


def test_flow_of_the_nearest_noise_level():
    motion = a_motion()
    assert motion.flow_at(0.0) is motion.flow_at(0.59) is motion.flows[0]
    assert motion.flow_at(0.61) is motion.flow_at(1.0) is motion.flows[1]


def test_the_model_must_fit():
    motion = a_motion()
    motion.require_model(FINGERPRINT)
    with pytest.raises(ValueError, match="expected dim 256, block 3, .* got dim 512, block 2; load a model"):
        motion.require_model(replace(FINGERPRINT, dim=512, block=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            lambda: {"static_bias": (torch.zeros(5, 4, 5, 2),)},
            "static_bias: expected one a flow or none, got 1 for 2 flows",
        ),
        (lambda: {"static_bias": (torch.full((5, 4, 5, 2), 9.0),) * 2}, "flow 0 static_bias: expected values inside"),
        (lambda: {"backward": (torch.zeros(5, 4, 4, 2),) * 2}, "flow 0 backward: expected shape"),
        (lambda: {"frame_flow": torch.zeros(2, 3, 4, 5, 2)}, "frame_flow: expected shape"),
        (lambda: {"frame_flow": torch.full((2, 2, 4, 5, 2), torch.nan)}, "frame_flow: expected finite"),
        (lambda: {"mask": torch.full((3, 4, 5), 1.5)}, "mask: expected values inside"),
        (lambda: {"mask": torch.ones(1, 4, 5)}, "mask: expected shape"),
        (lambda: {"thumbnail": torch.zeros(4, 5, 3)}, "thumbnail: expected uint8"),
        (lambda: {"thumbnail": torch.zeros(4, 513, 3, dtype=torch.uint8)}, "thumbnail: expected an image"),
    ],
)
def test_what_stands_beside_the_flows_must_fit_them(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(a_motion(), **changes())


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "n" * 201), ("name", 3), ("note", "n" * 4001), ("width", -1), ("height", 1.5), ("fps", float("nan"))],
)
def test_what_a_list_shows_is_checked(field, value):
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        About(**{field: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda: with_flow(displacement=torch.full((5, 4, 5, 2), torch.nan)), "flow 0 displacement: expected finite"),
        (lambda: with_flow(displacement=torch.full((5, 4, 5, 2), 4.5)), "inside the frame"),
        (lambda: with_flow(displacement=torch.zeros(5, 5, 4, 2)), "displacement: expected shape"),
        (lambda: with_flow(centres=torch.full((5, 4, 2), -1.0)), "centres: expected values inside"),
        (lambda: with_flow(pairs=((0, 0),)), "flow 0 pairs: expected 5"),
        (lambda: {"flows": ()}, "flows: expected one a sigma"),
        (lambda: {"sigmas": (0.3, 1.5)}, "sigmas: expected"),
        (lambda: {"seed": -1}, "seed: expected"),
        (lambda: {"reference_hash": ""}, "reference_hash: expected"),
        (lambda: {"reference": torch.zeros(16, 3, 8, 10)}, "reference: expected a latent"),
        (lambda: {"reference": torch.full((1, 16, 3, 8, 10), torch.inf)}, "reference: expected finite"),
        (lambda: {"reference": torch.zeros(1, 16, 3, 8, 10, dtype=torch.float64)}, "reference: expected float16"),
    ],
)
def test_an_embedding_that_contradicts_itself_is_never_made(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(a_motion(), **changes())


@pytest.mark.parametrize("field", ["dim", "heads", "depth", "block", "latent_channels", "model_class"])
def test_a_fingerprint_names_its_bad_field(field):
    with pytest.raises(ValueError, match=f"fingerprint {field}: expected"):
        replace(FINGERPRINT, **{field: -1})
    with pytest.raises(ValueError, match="expected one of 0 .. 5, got 6"):
        replace(FINGERPRINT, block=6)


@pytest.mark.parametrize("blocks", [(3,), (1, 1), (2, 1), (-1,), (True,), [1], "1", (1.0,), 1])
def test_a_fingerprint_takes_only_rising_blocks_before_its_own(blocks):
    with pytest.raises(ValueError, match="fingerprint more_blocks: expected numbers from 0 rising to below block 3"):
        replace(FINGERPRINT, more_blocks=blocks)


def test_the_hash_distinguishes_references():
    latent = torch.zeros(1, 16, 3, 8, 10)
    assert hash_of_reference(latent) == hash_of_reference(latent.clone()) != hash_of_reference(latent + 1)
    assert hash_of_reference(latent) != hash_of_reference(latent.reshape(1, 16, 3, 10, 8))
