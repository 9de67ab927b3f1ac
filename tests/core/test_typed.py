"""Lists of numbers that users type."""

import pytest

from fastvmt_core.typed import whole_numbers


@pytest.mark.parametrize(
    ("text", "numbers"), [("", ()), ("  ", ()), ("12", (12,)), ("12, 16", (12, 16)), ("3,1 ,2 0", (3, 1, 2, 0))]
)
def test_commas_and_spaces_separate_whole_numbers(text, numbers):
    assert whole_numbers("more_blocks", text) == numbers


@pytest.mark.parametrize("text", ["a", "1.5", "-1", "1; 2", "0x10", "²", "1" * 5000])
def test_anything_else_is_refused_by_the_widgets_name(text):
    with pytest.raises(ValueError, match="^more_blocks: expected whole numbers with commas .*, got"):
        whole_numbers("more_blocks", text)
