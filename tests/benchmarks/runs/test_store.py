"""The file that keeps runs: a stopped bench resumes, a finished report replaces what was kept."""

from benchmarks.runs.store import Store


def test_a_stopped_bench_finds_its_runs_again(tmp_path):
    store = Store(tmp_path / "out.json")
    assert store.read() == []
    store.add({"variant": "a", "reference": 0})
    store.add({"variant": "a", "reference": 1})
    (tmp_path / "out.json.partial").open("a").write('{"variant": "a", "refe')
    assert [run["reference"] for run in Store(tmp_path / "out.json").read()] == [0, 1]


def test_a_finished_report_replaces_the_kept_runs(tmp_path):
    store = Store(tmp_path / "out.json")
    store.add({"reference": 0})
    store.finish({"runs": [{"reference": 0}]})
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    store.add({"reference": 1})
    assert [run["reference"] for run in store.read()] == [0, 1]
