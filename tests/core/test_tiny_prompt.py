"""The demo's prompts."""

import zlib

import pytest
import torch

from fastvmt_core.tiny_prompt import Words, encode, parse


@pytest.mark.parametrize(
    "prompt", ["red circle plain", "plain red circle", "A red circle, on a plain background!", "RED  circle\nplain"]
)
def test_words_count_in_any_order_and_fillers_do_not(prompt):
    assert parse(prompt) == Words((("red", "circle"),), "plain")


def test_of_two_sprites_the_first_colour_goes_with_the_first_shape():
    prompt = "red circle and a blue star over blobs"
    assert parse(prompt) == Words((("red", "circle"), ("blue", "star")), "blobs")
    one, two = encode("red circle blobs"), encode(prompt)
    assert two.shape == (1, 6, 4096)
    assert torch.equal(two[0, :3], one[0, :3]) and torch.equal(two[0, 5], one[0, 3])


@pytest.mark.parametrize("prompt", ["", "  ", "a"])
def test_an_empty_prompt_is_the_null_prompt(prompt):
    features = encode(prompt)
    assert parse(prompt) is None
    assert features.shape == (1, 4, 4096)
    assert all(torch.equal(features[0, 0], token) for token in features[0])


def test_a_background_alone_has_the_words_that_a_sprite_stands_between():
    alone, whole = encode("plain"), encode("red circle plain")
    assert torch.equal(alone, whole[:, [0, 3]])


def test_features_are_those_the_model_was_trained_with():
    features = encode("red circle plain")
    generator = torch.Generator().manual_seed(zlib.crc32(b"tinywan:circle"))
    assert features.dtype == torch.float32
    assert torch.equal(features[0, 2], torch.randn(4096, generator=generator))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("purple circle plain", "does not know 'purple'.*red, green"),
        ("red circle", "exactly one background, got none.*stripes"),
        ("red blue circle plain", "one colour and one shape for each sprite.*got red and blue, circle"),
        ("red star blue ring green square plain", "may be 2, got red and blue and green"),
    ],
)
def test_unknown_words_are_refused_with_the_known_ones(prompt, message):
    with pytest.raises(ValueError, match=message):
        parse(prompt)
