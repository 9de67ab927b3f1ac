"""Checks of single values: what each takes, and the text of its error."""

from __future__ import annotations

import math

import pytest

from fastvmt_core.checks import is_number, is_whole, require_choice, require_number, require_positive, require_whole


def test_a_long_value_is_cut_in_the_error():
    with pytest.raises(ValueError, match=r"fit: expected one of crop, got 'x{199}\.\.\.\.$"):
        require_choice("fit", "x" * 100_000, ("crop",))


def test_a_whole_number_that_no_float_holds_is_out_of_every_range():
    assert not is_number(10**400) and not is_number(-(10**400), -math.inf) and not is_number(10**400, 0, 1)


def test_a_bool_is_no_number_and_infinity_is_not_finite():
    assert is_whole(0) and not is_whole(-1) and not is_whole(True) and not is_whole(1.0)
    assert is_number(0.5) and not is_number(True) and not is_number(math.inf) and not is_number("1")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: require_whole("window", 0), "window: expected a whole number of at least 1, got 0."),
        (lambda: require_number("amount", -1.0), "amount: expected a finite number of at least 0, got -1.0."),
        (lambda: require_number("weight", 2, high=1.0), "weight: expected a finite number from 0 to 1, got 2."),
        (lambda: require_positive("sharpness", 0.0), "sharpness: expected a finite number above 0, got 0.0."),
        (
            lambda: require_positive("share", 2.0, high=1.0),
            "share: expected a finite number above 0, at most 1, got 2.0.",
        ),
        (lambda: require_choice("fit", "zoom", ("crop", "pad")), "fit: expected one of crop, pad, got 'zoom'."),
    ],
)
def test_an_error_names_the_value_and_what_it_should_be(check, message):
    with pytest.raises(ValueError) as error:
        check()
    assert str(error.value) == message


def test_good_values_pass():
    require_whole("window", 1)
    require_number("weight", 1, high=1.0)
    require_positive("share", 1.0, high=1.0)
    require_choice("fit", "crop", ("crop", "pad"))
