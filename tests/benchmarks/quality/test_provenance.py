"""The mark's table: it is the page's, it has the clips that it names, and a clip of each larger kind keeps to it."""

import json
from collections import Counter

import pytest

from benchmarks.quality import provenance
from fastvmt_core.provenance.mark import read_mark, with_mark

REPORT = json.loads(provenance.RESULTS.read_text(encoding="utf-8"))
NUMBER = 0xC0FFEE42


def test_the_page_shows_the_numbers():
    assert provenance.PAGE.read_text(encoding="utf-8") == provenance.page(REPORT)


def test_it_has_the_clips_that_it_names():
    groups = Counter(clip["group"] for clip in REPORT["clips"])
    assert groups.total() == 32 and set(groups.values()) == {12, 6, 2}
    assert REPORT["unmarked"]["clips"] == 200
    assert all(list(clip["read"]) == list(provenance.ATTACKS) for clip in REPORT["clips"])


def test_bits_are_counted():
    assert provenance.bits_right(NUMBER, NUMBER) == 32
    assert provenance.bits_right(NUMBER ^ 0b101, NUMBER) == 30
    # The 33rd bit is none of the number's.
    assert provenance.bits_right(NUMBER + 2**32, NUMBER) == 32


@pytest.mark.parametrize("attack", provenance.ATTACKS)
def test_larger_clips_keep_their_mark_as_the_table_has_it(attack):
    for frames, group in (
        (provenance.tiny(4000, 256), "tiny world, 256 pixels"),
        (provenance.footage("bikes.mp4", 110), "footage"),
    ):
        assert all(clip["read"][attack]["found"] for clip in REPORT["clips"] if clip["group"] == group)
        found = read_mark(provenance.ATTACKS[attack](provenance.in_steps(with_mark(frames, NUMBER))))
        assert found.found and found.number == NUMBER
