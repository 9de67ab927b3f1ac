"""The compatibility page: a column for each host, a row for each combination, nothing that was not tried."""

import json

import pytest

from tests.matrix.page import NEEDS_A_CARD, PAGE, columns, page
from tests.matrix.record import ABSENT, FAILED, NOT_RUN, STAND_IN, Record, merged
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
        assert f"| {flagged.row.name} | {NEEDS_A_CARD} | {NEEDS_A_CARD} |" in lines


def test_the_page_is_that_of_the_records():
    assert PAGE.read_text(encoding="utf-8") == page(columns())


def test_records_that_are_saved_beside_each_other_keep_both(tmp_path):
    stats = {"system": {"comfyui_version": "1", "pytorch_version": "2"}, "devices": [{"type": "cpu"}]}
    one, other = Record(rows={"a": FAILED}, notes={"a": "why"}), Record(rows={"b": "works"})
    for record in (one, other):
        path = record.save(stats, ("a", "b", "c"), tmp_path)
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert saved["rows"] == {"a": FAILED, "b": "works", "c": NOT_RUN} and saved["notes"] == {"a": "why"}


def test_rows_have_names_of_their_own():
    keys = [row.key for row in ROWS] + [flagged.row.key for flagged in FLAGGED]
    assert len(set(keys)) == len(keys)


def test_each_row_was_tried_on_a_cpu_somewhere():
    """A row that no host has would be a row with a wrong name."""
    tried = [record["rows"] for record in columns() if record["device"] == "CPU"]
    for row in ROWS:
        assert {rows.get(row.key, NOT_RUN) for rows in tried} - {NOT_RUN, ABSENT}, row.key


@pytest.mark.parametrize(
    ("was", "now", "becomes"),
    [
        (None, "works", "works"),
        ("works", None, "works"),
        ("works", NOT_RUN, "works"),
        ("works", FAILED, FAILED),
        (FAILED, NOT_RUN, FAILED),
        ("works", f"works{STAND_IN}", "works"),
        (ABSENT, f"works{STAND_IN}", ABSENT),
        (FAILED, f"works{STAND_IN}", f"works{STAND_IN}"),
        (None, None, NOT_RUN),
    ],
)
def test_a_run_that_lacks_a_part_keeps_what_an_earlier_one_came_to(was, now, becomes):
    before, after = ({"row": outcome} if outcome else {} for outcome in (was, now))
    assert merged({**before, "gone": "works"}, after, ["row"]) == {"row": becomes}


def test_rows_are_left_out_when_the_time_is_over():
    record = Record(minutes=0)
    with pytest.raises(pytest.skip.Exception):
        record.leave_out_late("row")
    assert record.rows == {"row": NOT_RUN}
    Record().leave_out_late("row")


def test_a_row_that_fails_keeps_its_message():
    record = Record()
    with pytest.raises(ValueError), record.trying("row"):
        raise ValueError("expected this, got that")
    assert record.rows == {"row": FAILED} and record.notes == {"row": "expected this, got that"}
