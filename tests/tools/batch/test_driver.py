"""The driver on a real Ray with boxes that take no time: what becomes of jobs, workers and the folder."""

import json
import sys

import pytest

from tests.tools.batch.trivial import DeadBox, TrivialBox
from tools.batch.driver import Batch, BatchError, Settings
from tools.batch.jobs import JobList
from tools.batch.manifest import Manifest
from tools.batch.pool import Pool, PoolError, Share
from tools.batch.workflow import read_workflow


def listed(folder, *acts):
    (folder / "workflow.json").write_text(
        '{"1": {"class_type": "Act", "inputs": {"act": "", "n": 0}}}', encoding="utf-8"
    )
    lines = [json.dumps({"name": f"job{n}", "1.act": act, "1.n": n}) for n, act in enumerate(acts)]
    (folder / "jobs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return JobList(folder / "jobs.jsonl", read_workflow(folder / "workflow.json"))


def run(jobs, out, box=TrivialBox, workers=2):
    with Manifest(out) as manifest:
        batch = Batch(jobs, Settings(out, out / "motions", workers=workers), manifest)
        with Pool(box, "local", Share(0, 1), workers) as pool:
            whole = batch.run(pool)
        return whole, batch, manifest.records()


@pytest.mark.slow
def test_failures_and_lost_workers_cost_attempts_and_no_other_job(tmp_path):
    pytest.importorskip("ray")
    jobs = listed(tmp_path, "", "fail", "", "die", "", "raise", "")
    whole, batch, records = run(jobs, tmp_path / "out")
    assert whole and batch.scheduler.done == 4
    assert set(batch.scheduler.set_aside) == {"job1", "job3", "job5"}
    assert "cannot be done" in batch.scheduler.set_aside["job1"]
    assert "lost" in batch.scheduler.set_aside["job3"]
    assert "the disk is full" in batch.scheduler.set_aside["job5"]
    assert sum(record["kind"] == "failure" for record in records) == 6
    assert sorted(path.name for path in (tmp_path / "out" / "jobs").iterdir()) == ["job0", "job2", "job4", "job6"]
    # Once more: what is done stays, what was set aside is tried anew; here the list says that it goes well.
    mended = listed(tmp_path, "", "", "", "", "", "", "")
    whole, batch, records = run(mended, tmp_path / "out")
    assert whole and batch.progress.before == 4 and batch.progress.done == 3
    done = [record["name"] for record in records if record["kind"] == "job" and record["state"] == "done"]
    assert sorted(done) == [f"job{n}" for n in range(7)]


@pytest.mark.slow
def test_workers_that_do_not_start_end_the_batch(tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(BatchError, match="there is no ComfyUI"):
        run(listed(tmp_path, "", ""), tmp_path / "out", DeadBox)


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PoolError, match="requirements-cluster.txt"):
        Pool(TrivialBox)
