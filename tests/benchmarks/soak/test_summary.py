"""The soak's summary finds what grows and what is left, and the page shows the soak that was recorded."""

import pytest

from benchmarks.soak.graphs import ENDS, MODELS, job
from benchmarks.soak.run import RESULTS, read
from benchmarks.soak.summary import PLOT, faults_of, in_words
from tools.host.layout import REPO

STILL = {"memory_mb": 1000.0, "tensors_mb": 0.1, "handles": 14, "threads": 3, "models": 2}
STILL |= {"hooks": 0, "wrappers": 0, "swapped": 0, "seconds": 3.0}


def lines(count=40, **grows):
    """Runs that end as they should, in one server; what is named grows by so much a run."""
    return [
        {
            **{key: value + grows.get(key, 0) * run for key, value in STILL.items()},
            **{"run": run, "server": 0, "wanted": "runs", "ended": "ran"},
        }
        for run in range(count)
    ]


def test_a_server_that_stays_as_it_is_has_no_fault():
    assert faults_of(lines(memory_mb=0.5)) == []


@pytest.mark.parametrize(("key", "by"), [("memory_mb", 1.1), ("tensors_mb", 1.1), ("hooks", 1), ("threads", 1)])
def test_what_grows_is_found(key, by):
    assert any(key in fault for fault in faults_of(lines(**{key: by})))


def test_a_run_that_ends_otherwise_is_found():
    ended = lines()
    ended[3] |= {"ended": "KSampler: index out of range"}
    assert "run 3 was to end as 'runs'" in faults_of(ended)[0]


def test_a_line_that_was_cut_off_is_run_again(tmp_path):
    file = tmp_path / "soak.jsonl"
    file.write_text('{"run": 0}\n{"run": 1}\n{"ru', encoding="utf-8")
    assert [line["run"] for line in read(file)] == [0, 1]
    assert file.read_text(encoding="utf-8") == '{"run": 0}\n{"run": 1}\n'


def test_the_same_number_is_the_same_job_and_all_kinds_come():
    assert job(7, "reference.mp4") == job(7, "reference.mp4")
    jobs = [job(number, "reference.mp4") for number in range(200)]
    assert {each.ends for each in jobs} == set(ENDS)
    assert {each.says["model"] for each in jobs} == set(MODELS)


def test_the_page_shows_the_recorded_soak():
    """Otherwise: what `python -m benchmarks.soak.run` prints goes to docs/trust.md."""
    recorded = read(RESULTS)
    page = " ".join((REPO / "docs" / "trust.md").read_text(encoding="utf-8").split())
    assert recorded and PLOT.is_file() and in_words(recorded) in page
    assert faults_of(recorded) == []
