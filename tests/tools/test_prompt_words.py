"""The demo's prompts."""

import zlib

import pytest
import torch

from demo.prompt_pack.words import encode, parse


@pytest.mark.parametrize(
    "prompt", ["red circle plain", "plain red circle", "A red circle, on a plain background!", "RED  circle\nplain"]
)
def test_words_count_in_any_order_and_fillers_do_not(prompt):
    assert parse(prompt) == ("red", "circle", "plain")


@pytest.mark.parametrize("prompt", ["", "  ", "a"])
def test_an_empty_prompt_is_the_null_prompt(prompt):
    features = encode(prompt)
    assert parse(prompt) is None
    assert features.shape == (1, 4, 4096)
    assert all(torch.equal(features[0, 0], token) for token in features[0])


def test_features_are_those_the_model_was_trained_with():
    features = encode("red circle plain")
    generator = torch.Generator().manual_seed(zlib.crc32(b"tinywan:circle"))
    assert features.dtype == torch.float32
    assert torch.equal(features[0, 2], torch.randn(4096, generator=generator))


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("purple circle plain", "does not know 'purple'.*red, green"),
        ("red circle", "exactly one background, got none.*stripes"),
        ("red blue circle plain", "exactly one colour, got red and blue"),
    ],
)
def test_what_the_model_does_not_know_is_refused_with_what_it_knows(prompt, says):
    with pytest.raises(ValueError, match=says):
        parse(prompt)
