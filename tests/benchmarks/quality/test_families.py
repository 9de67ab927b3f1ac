"""The page of families beside Wan: a row for each setting, in the place of its family."""

import json

from benchmarks.quality.families import (
    BLOCKS,
    CHOSEN,
    KINDS,
    RESULTS,
    SIGMAS,
    TEXT,
    TUNING,
    UNGUIDED,
    Row,
    page,
    rows_of,
    table,
)


def run_of(row, reference, correlation, kind="ltxv"):
    looks = {"colour_kept": True, "shape_kept": False, "colour_leaked": False, "shape_leaked": False}
    return {"kind": kind, "row": row, "reference": reference, "correlation": correlation, "error_px": 4.0, **looks}


def test_a_row_shows_the_means_of_its_familys_runs_of_these_references():
    name = next(iter(rows_of("ltxv")))
    runs = [run_of(name, 0, 0.9), run_of(name, 1, 0.8), run_of(UNGUIDED, 0, 0.1)]
    others = [run_of(name, 0, 0.2, "hunyuan15"), run_of(name, TUNING, 0.3)]
    lines = table([*runs, *others], "ltxv", range(TUNING)).splitlines()
    assert len(lines) == 4
    # What is not guided comes first.
    assert lines[2].startswith(f"| {UNGUIDED} | 1 | 0.100")
    assert lines[3].startswith(f"| {name} | 2 | 0.850") and lines[3].endswith("| 4.0 | 1.00 / 0.00 | 0.00 / 0.00 |")


def test_the_settings_that_were_chosen_are_rows():
    for kind, (blocks, sigma) in CHOSEN.items():
        rows = rows_of(kind)
        same = [name for name, row in rows.items() if (row.blocks, row.sigma) == (blocks, sigma)]
        # By itself, four other intervals, Polyak and MotionClone.
        assert len(same) == 7 and all(name.startswith(same[0]) for name in same)


def test_what_was_chosen_followed_best_on_the_first_references():
    runs = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"]
    for kind, chosen in CHOSEN.items():
        means = {}
        for name, row in rows_of(kind).items():
            read = row == Row(row.blocks, row.sigma)
            first = [run for run in runs if (run["kind"], run["row"]) == (kind, name) and run["reference"] < TUNING]
            if read and len(first) == TUNING:
                means[row.blocks, row.sigma] = sum(run["correlation"] for run in first)
        assert len(means) == len(BLOCKS) + len(SIGMAS) - 1 and max(means, key=means.get) == chosen


def test_the_page_has_both_tables_of_each_family():
    text = TEXT.read_text(encoding="utf-8")
    assert all("{" + kind + part + "}" in text for kind in KINDS for part in ("", " chosen"))
    runs = [run_of(UNGUIDED, reference, 0.1, kind) for kind in KINDS for reference in (0, TUNING)]
    assert "{" not in page(text, runs)
