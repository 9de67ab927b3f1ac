"""Lists of numbers that users type."""

import pytest

from fastvmt_core.typed_text import curve_points, noise_levels, whole_numbers


@pytest.mark.parametrize(
    ("text", "numbers"), [("", ()), ("  ", ()), ("12", (12,)), ("12, 16", (12, 16)), ("3,1 ,2 0", (3, 1, 2, 0))]
)
def test_commas_and_spaces_separate_whole_numbers(text, numbers):
    assert whole_numbers("more_blocks", text) == numbers


@pytest.mark.parametrize("text", ["a", "1.5", "-1", "1; 2", "0x10", "²", "1" * 5000, "3," * 50_000 + "x"])
def test_anything_else_is_refused_by_the_widgets_name(text):
    with pytest.raises(ValueError, match="^more_blocks: expected whole numbers with commas .*, got") as refused:
        whole_numbers("more_blocks", text)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("", ()),
        (" ", ()),
        ("[]", ()),
        ("[[0, 1], [0.5, .4], [1, 0]]".replace(".4", "0.4"), ((0, 1), (0.5, 0.4), (1, 0))),
    ],
)
def test_a_curve_is_read_from_json(text, points):
    assert curve_points("curve", text) == points


@pytest.mark.parametrize(
    "text",
    [
        "flat",
        "1",
        "{}",
        "[1, 2]",
        "[[0, 1, 2]]",
        '[["0", 1]]',
        "[[true, 1]]",
        "[[0, null]]",
        f"[[0, 1{'0' * 400}]]",
        "[" * 3000,
        "[0]" * 5000,
    ],
)
def test_anything_else_is_no_curve(text):
    with pytest.raises(ValueError, match="^curve: expected points as JSON"):
        curve_points("curve", text)


@pytest.mark.parametrize("text", ["0.3, 1", "1.0", "0, 0.5", "1e-300", "0.009", "0.3 0.3", "", "x", "nan", "2"])
def test_noise_levels_that_show_nothing_of_a_clip_are_refused_before_the_survey(text):
    with pytest.raises(ValueError, match="^sigmas: expected noise levels from 0.01 to below 1, each once"):
        noise_levels("sigmas", text)
    assert noise_levels("sigmas", "0.9, 0.01") == (0.01, 0.9)
