"""The compatibility page: a column for each host, a row for each combination, nothing that was not tried."""

import json

from tests.matrix.page import NOT_RUN, PAGE, columns, page
from tests.matrix.rows import FLAGGED, ROWS


def test_each_row_once_and_each_host_a_column(tmp_path):
    works = {row.key: "works" for row in ROWS}
    for host, rows in (("0.33.0", works), ("0.3.75", {**works, ROWS[0].key: "failed"})):
        record = {"host": host, "torch": "2.11.0", "device": "CPU", "rows": rows}
        (tmp_path / f"{host}.json").write_text(json.dumps(record), encoding="utf-8")
    lines = page(columns(tmp_path)).splitlines()
    # Numbers, not text: 0.3 comes before 0.33.
    assert "| weights | 0.3.75 (CPU) | 0.33.0 (CPU) |" in lines
    assert f"| {ROWS[0].name} | failed | works |" in lines
    for row in ROWS[1:]:
        assert lines.count(f"| {row.name} | works | works |") == 1
    for flagged in FLAGGED:
        assert f"| {flagged.row.name} | {NOT_RUN} | {NOT_RUN} |" in lines


def test_the_page_is_that_of_the_records():
    assert PAGE.read_text(encoding="utf-8") == page(columns())


def test_rows_have_names_of_their_own():
    keys = [row.key for row in ROWS] + [flagged.row.key for flagged in FLAGGED]
    assert len(set(keys)) == len(keys)
