"""Batches on a real Ray with real ComfyUIs and the tiny model: whole, beside one server, and killed many times."""

import os
import random
import signal
import subprocess
from collections import Counter

import pytest

from tests.tools.batch.commands import boxes, done, log_of, records, servers, start, wait_for
from tools.batch.example import write_example
from tools.batch.files import digest_of_bytes
from tools.batch.jobs import JobList
from tools.batch.manifest import NAME
from tools.batch.motions import main_saver
from tools.batch.pool import Share
from tools.batch.worker import FLAGS
from tools.batch.workflow import read_workflow
from tools.host.client import Client
from tools.host.server import Server

# After pool, which sets Ray's environment.
ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow

KILLS = 2
KILLED_JOBS = 10


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """12 short jobs over 3 references."""
    return write_example(tmp_path_factory.mktemp("example"), clips=3, jobs=12, steps=2, length=5)


@pytest.fixture(scope="module")
def whole(example, tmp_path_factory):
    """The output folder of a batch that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert start(*example, out, "--spacing", "8").wait() == 0, log_of(out)
    return out


def test_every_job_is_done_and_every_motion_made_once(example, whole):
    jobs = JobList(example[0], read_workflow(example[1])).jobs
    assert len(jobs) == 12
    by_name = {record["name"]: record for record in done(whole)}
    assert Counter(record["kind"] for record in records(whole)) == {"motion": 3, "job": 12}
    assert set(by_name) == {job.name for job in jobs}
    ran = Counter(name for record in records(whole) for name in record["seconds"]["nodes"])
    assert ran["FastVMTInvertMotion"] == ran["FastVMTEncodeReference"] == 3
    assert ran["KSampler"] == 12
    # One load in each of two workers.
    assert ran["UNETLoader"] == len({record["worker"] for record in records(whole)}) == 2
    for job in jobs:
        record = by_name[job.name]
        assert (record["seed"], record["prompt"], record["attempt"]) == (job.text.seed, job.text.prompt, 1)
        assert record["host"] and record["seconds"]["all"] > 0 and record["fidelity"] is not None
        folder = whole / "jobs" / job.name
        assert {path.name for path in folder.iterdir()} == set(record["files"])
        for name, file in record["files"].items():
            assert digest_of_bytes((folder / name).read_bytes()) == file["sha256"]
        assert (whole / "references" / record["clip"]).stat().st_size > 0


def test_one_server_gives_the_same_bytes(example, whole):
    jobs = JobList(example[0], read_workflow(example[1]))
    with Server(extra=FLAGS) as server, Client(server.url) as client:
        # In this order it reads each clip once.
        for job in sorted(jobs.jobs, key=lambda job: job.needs):
            graph, files = jobs.graph(job.text)
            for place, path in files.items():
                (server.base / place).write_bytes(path.read_bytes())
            content = client.view(client.run(graph).files(main_saver(graph))[0])
            record = next(record for record in done(whole) if record["name"] == job.name)
            assert record["files"][record["video"]]["sha256"] == digest_of_bytes(content)


def test_a_second_run_does_nothing(example, whole):
    before = (whole / NAME).read_bytes()
    assert start(*example, whole, "--spacing", "8").wait() == 0
    assert (whole / NAME).read_bytes() == before


@pytest.fixture
def cluster():
    """The address of a Ray of two workers that outlives the commands."""
    context = ray.init(address="local", num_cpus=2 * Share().cpus, include_dashboard=False, log_to_driver=False)
    yield context.address_info["gcs_address"]
    ray.shutdown()


def test_kills_lose_and_repeat_nothing(cluster, tmp_path):
    example = write_example(tmp_path, clips=2, jobs=KILLED_JOBS, steps=2, length=5)
    out, chance, options = tmp_path / "out", random.Random(0), ("--no-fidelity", "--address", cluster)
    seen = {}
    for _ in range(KILLS):
        before = len(done(out))
        process = start(*example, out, *options)
        wait_for(process, out, before + 1)
        # Anywhere in the next jobs: what was written last is not where the kill comes.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 1))
        process.kill()
        process.wait()
        for record in done(out):
            assert seen.setdefault(record["name"], record) == record
        assert len(done(out)) > before, log_of(out)

    process = start(*example, out, *options)
    wait_for(process, out, len(seen) + 1)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130, log_of(out)
    assert "finishing what is running" in log_of(out)
    # Drained: what was running has ended well.
    assert len(done(out)) > len(seen) and not [each for each in records(out) if each["kind"] == "failure"]

    process = start(*example, out, *options)
    wait_for(process, out, len(done(out)) + 1)
    os.kill(max(boxes()), signal.SIGKILL)
    assert process.wait() == 0, log_of(out)
    failures = [record for record in records(out) if record["kind"] == "failure"]
    assert len(failures) <= 1 and all(record["attempt"] == 1 for record in failures)
    assert Counter(record["name"] for record in done(out)) == {path.name: 1 for path in (out / "jobs").iterdir()}
    assert len(done(out)) == KILLED_JOBS
    assert Counter(record["key"] for record in records(out) if record["kind"] == "motion").most_common(1)[0][1] == 1
    assert servers() == [] and boxes() == []
