"""The paths that are drawn for the bench, and its report."""

import numpy as np
import pytest

from benchmarks.quality.drawn_motion import PATHS, REAL, ROWS, kind_of, reference_of, report_of
from tools.train.clips import SIZE
from tools.train.track import track


@pytest.mark.parametrize("index", range(2 * len(PATHS)))
def test_a_drawing_shows_the_path_of_the_real_clip(index):
    real, drawn = (reference_of(index, row) for row in (REAL, "drawn"))
    path = real.targets[0].path
    assert np.array_equal(path, drawn.targets[0].path) and real.prompt == drawn.prompt
    assert path.min() > 0 and path.max() < SIZE - 1
    # The drawing is red; the texture of its ground is not.
    assert np.linalg.norm(track(drawn.frames, "red") - path, axis=1).max() < 1
    assert "red" not in drawn.prompt


def test_every_kind_of_path_has_its_turn():
    assert [kind_of(index) for index in range(5)] == [*PATHS, list(PATHS)[0]]


def test_the_report_compares_with_the_real_clips():
    runs = [
        {"row": row, "path": path, "seed": 0, "kind": kind_of(path), "lost": False, "correlation": r, "error_px": px}
        for row, r, px in ((REAL, 0.9, 5.0), ("drawn", 0.96, 4.0))
        for path in range(3)
    ]
    rows = report_of(runs)["rows"]
    assert set(rows) == {REAL, "drawn"} < set(ROWS)
    assert rows["drawn"]["correlation_less_real"] == pytest.approx([0.06] * 3)
    assert rows["drawn"]["error_px_less_real"] == pytest.approx([-1.0] * 3)
    assert rows["drawn"]["reached"] and not rows[REAL]["reached"]
