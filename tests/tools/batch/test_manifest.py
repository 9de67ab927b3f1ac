"""The manifest and the output folder after kills, and the page made of them."""

import json

import pytest

from tools.batch.files import PARTIAL, drop_partial, write_file, write_folder
from tools.batch.manifest import Manifest, ManifestError, finished, read
from tools.batch.page import write_page
from tools.batch.progress import Progress


def record(name, **more):
    return {"kind": "job", "name": name, "digest": f"digest of {name}", "state": "done", "files": {}, **more}


def test_a_line_that_was_cut_off_is_dropped_and_written_over(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.append(record("a"))
    path = manifest.path
    whole = path.read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole + whole[:cut])
        with Manifest(tmp_path) as manifest:
            assert [each["name"] for each in manifest.records()] == ["a"]
            manifest.append(record("b"))
        assert [each["name"] for each in read(path)] == ["a", "b"]
        path.write_bytes(whole)


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "manifest.jsonl").write_text("{}\nnothing\n{}\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="line 2"):
        read(tmp_path / "manifest.jsonl")


def test_one_driver_at_a_time(tmp_path):
    with Manifest(tmp_path), pytest.raises(ManifestError, match="another batch"):
        Manifest(tmp_path)
    with Manifest(tmp_path):
        pass


def test_a_job_is_finished_while_its_files_are_there(tmp_path):
    folder = tmp_path / "jobs" / "a"
    folder.parent.mkdir()
    write_folder(folder, {"v.mp4": b"12345"}, replace=True)
    lines = [record("a", files={"v.mp4": {"bytes": 5}}), record("b", state="set aside"), {"kind": "motion"}]
    assert list(finished(lines, tmp_path)) == ["digest of a"]
    (folder / "v.mp4").write_bytes(b"1234")
    assert finished(lines, tmp_path) == {}


def test_folders_are_whole_and_replaced(tmp_path):
    write_folder(tmp_path / "a", {"old": b"1"}, replace=True)
    write_folder(tmp_path / "a", {"new": b"2"}, replace=True)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["new"]
    (tmp_path / f"{PARTIAL}x").mkdir()
    write_file(tmp_path / "b", b"3")
    drop_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_the_rate_is_of_the_last_jobs_and_counts_what_earlier_runs_did():
    progress = Progress(total=410, before=10, started=0.0)
    assert progress.eta(5.0) is None and "4 workers starting" in progress.line(5.0, 0, 4)
    # Slow at first, then two a second.
    for end in [10.0 * number for number in range(1, 51)] + [500 + number / 2 for number in range(1, 151)]:
        progress.job_done(end)
    assert progress.per_second(575.0) == pytest.approx(2.0)
    assert progress.eta(575.0) == pytest.approx(100.0)
    progress.failed = 3
    line = progress.line(575.0, 4, 4)
    assert "210/410 done" in line and "2.0 jobs/s" in line and "ETA 0:01:38" in line and "3 FAILED" in line


class Waiting:
    """A job that has not run."""

    def __init__(self, name):
        self.name, self.digest, self.line = name, f"digest of {name}", 1
        self.text = type("Text", (), {"prompt": "a </script><b>prompt</b>", "seed": 3})


def test_the_page_holds_every_job_and_any_text(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.append(record("a", prompt="</script>", video="v.mp4", clip="c.mp4", fidelity=0.5))
        manifest.append({**record("b"), "state": "set aside", "error": "boom", "prompt": None})
    text = write_page(tmp_path, [Waiting("a"), Waiting("b"), Waiting("c")]).read_text(encoding="utf-8")
    assert text.count("</script>") == 2
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert [job["state"] for job in data["jobs"]] == ["done", "set aside", "waiting"]
    assert data["jobs"][0]["video"] == "jobs/a/v.mp4" and data["jobs"][0]["clip"] == "references/c.mp4"
    assert data["jobs"][1]["error"] == "boom" and data["jobs"][2]["prompt"] == "a </script><b>prompt</b>"
