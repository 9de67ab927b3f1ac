"""The page of families beside Wan: a row for each setting, in the place of its family."""

from benchmarks.quality.families import KINDS, ROWS, TEXT, UNGUIDED, page, table


def run_of(row, reference, correlation, kind="ltxv"):
    looks = {"colour_kept": True, "shape_kept": False, "colour_leaked": False, "shape_leaked": False}
    return {"kind": kind, "row": row, "reference": reference, "correlation": correlation, "error_px": 4.0, **looks}


def test_a_row_shows_the_means_of_its_familys_runs():
    name = list(ROWS)[0]
    runs = [run_of(name, 0, 0.9), run_of(name, 1, 0.8), run_of(UNGUIDED, 0, 0.1), run_of(name, 0, 0.2, "hunyuan15")]
    lines = table(runs, "ltxv").splitlines()
    assert len(lines) == 4
    # What is not guided comes first.
    assert lines[2].startswith(f"| {UNGUIDED} | 1 | 0.100")
    assert lines[3].startswith(f"| {name} | 2 | 0.850") and lines[3].endswith("| 4.0 | 1.00 / 0.00 | 0.00 / 0.00 |")


def test_the_page_has_a_place_for_each_family():
    text = TEXT.read_text(encoding="utf-8")
    assert all("{" + kind + "}" in text for kind in KINDS)
    assert "{" not in page(text, [run_of(UNGUIDED, 0, 0.1, kind) for kind in KINDS])
