"""Damaged motion files and hostile names: each is refused, quickly and in little memory."""

import pytest

from fastvmt_core.motion.embedding import MotionEmbedding
from tools import fuzz_motion


def test_three_thousand_files_break_no_bound():
    report = fuzz_motion.fuzz(count=3000, seed=7)
    assert report["failures"] == []
    counts = report["outcomes"]
    assert sum(sum(counts[kind].values()) for kind in fuzz_motion.DAMAGES) == 3000
    # A file that lost bytes is no motion any more; one that loads has a correct checksum.
    for kind in ("truncated", "noise", "long_header", "broken_header", "padded"):
        assert set(counts[kind]) == {"refused"}
    assert counts["name"]["refused"] > 1000


def test_the_undamaged_file_is_good(tmp_path):
    (tmp_path / fuzz_motion.NAME).write_bytes(fuzz_motion.good_file(tmp_path))
    motion = MotionEmbedding.load(tmp_path / fuzz_motion.NAME)
    assert motion.about.name == "walk" and motion.thumbnail is not None and motion.mask is not None


@pytest.mark.parametrize("error", [KeyError("x"), MemoryError(), RecursionError()])
def test_any_other_error_is_a_failure(monkeypatch, error):
    load, calls = MotionEmbedding.load, []

    def fail(path):
        # The first is the undamaged file.
        calls.append(path)
        if len(calls) > 1:
            raise error
        return load(path)

    monkeypatch.setattr(MotionEmbedding, "load", fail)
    report = fuzz_motion.fuzz(count=3, seed=0)
    assert len(report["failures"]) == 3 and type(error).__name__ in report["failures"][0]


def test_another_motion_than_the_good_one_is_a_failure(monkeypatch):
    monkeypatch.setitem(fuzz_motion.DAMAGES, "truncated", lambda raw, chance: fuzz_motion.signed_lies(raw, _Note()))
    report = fuzz_motion.fuzz(count=1, seed=0)
    assert "another motion" in report["failures"][0]


class _Note:
    """Chance that always changes the note, to a text."""

    def random(self):
        return 0.9

    def choice(self, choices):
        return next((each for each in choices if each == "note" or (isinstance(each, dict) and "note" in each)), "x")

    def randint(self, low, high):
        return low
