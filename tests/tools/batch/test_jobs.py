"""Job lists: what a line means, and every fault named before anything starts."""

import json

import pytest

from tools.batch.__main__ import WRONG, main
from tools.batch.example import write_example
from tools.batch.jobs import BadJobs, JobList
from tools.batch.workflow import read_workflow


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    write_example(folder, clips=2, jobs=2)
    return folder


def read(example, name, text):
    path = example / name
    path.write_text(text, encoding="utf-8")
    return JobList(path, read_workflow(example / "workflow.json"))


def test_csv_and_jsonl_mean_the_same(example):
    table = read(example, "a.csv", "reference,prompt,seed,18.cfg,18.steps\nclip_0.mp4,red star plain,7,5,\n")
    line = {"reference": "clip_0.mp4", "prompt": "red star plain", "seed": 7, "18.cfg": 5}
    lines = read(example, "a.jsonl", json.dumps(line) + "\n\n")
    (one,), (other,) = table.jobs, lines.jobs
    assert (one.digest, one.name, one.needs) == (other.digest, other.name, other.needs)
    graph, files = table.graph(one.text)
    assert graph["18"]["inputs"] | {"cfg": 5.0, "seed": 7, "steps": 25} == graph["18"]["inputs"]
    assert graph["7"]["inputs"]["prompt"] == "red star plain" and graph["8"]["inputs"]["prompt"] == ""
    # The seed of the motion's own noise is another matter.
    assert graph["9"]["inputs"]["seed"] == 0
    assert [path.name for path in files.values()] == ["clip_0.mp4"]
    assert table.shown_graph(one.text)["4"]["inputs"]["file"] == "clip_0.mp4"


def test_jobs_share_a_motion_by_content_not_by_name(example):
    (example / "copy.mp4").write_bytes((example / "clip_0.mp4").read_bytes())
    rows = "reference,seed\nclip_0.mp4,0\ncopy.mp4,1\nclip_1.mp4,0\n"
    one, same, other = read(example, "b.csv", rows).jobs
    assert one.needs == same.needs != other.needs
    settings = read(example, "c.csv", "reference,seed,9.window,18.steps\nclip_0.mp4,0,7,\nclip_0.mp4,0,,9\n").jobs
    # What the motion is read with counts, what it is used with does not.
    assert settings[0].needs != one.needs and settings[1].needs == one.needs


def test_every_fault_is_named_before_anything_starts(example, capsys):
    path = example / "faults.csv"
    path.write_text(
        "name,reference,seed,prompt,18.cfg\n"
        "good,clip_0.mp4,1,a,5\n"
        "lost,missing.mp4,1,a,5\n"
        "seed,clip_0.mp4,minus one,a,5\n"
        "twice,clip_0.mp4,1,a,5\n"
        "good,clip_0.mp4,2,a,5\n"
        "cfg,clip_0.mp4,3,a,high\n"
        "../up,clip_0.mp4,4,a,5\n"
        "cells,clip_0.mp4,5,a, with, comma\n",
        encoding="utf-8",
    )
    out = example / "never"
    assert main([str(path), "--workflow", str(example / "workflow.json"), "--out", str(out)]) == WRONG
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == [f"faults.csv line {number}" for number in range(3, 10)]
    for line, words in zip(
        lines,
        ("missing.mp4", "whole number", "same job as line 2", "same name as line 2", "float", "letters", "5 cells"),
        strict=False,
    ):
        assert words in line
    assert "7 faults" in lines[-1] and not out.exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"reference": "clip_0.mp4", "promt": "a"}', "'promt'"),
        ('{"99.cfg": 1}', "no node 99"),
        ('{"18.cgf": 1}', "no input cgf"),
        ('{"18.steps": 2.5}', "expected int"),
        ('{"18.steps": true}', "expected int"),
        ('{"18.cfg": NaN}', "expected a finite number"),
        ('{"seed": 1.5}', "whole number"),
        ('{"prompt": 3}', "expected a text"),
        ('{"reference": "clip_0.mp4", "motion": "clip_0.mp4"}', "got both"),
        ('{"motion": "clip_0.mp4"}', "take the size from the clip"),
        ("{}", "reference.mp4"),
        ("[1]", "one JSON object"),
        ("{", "one JSON object"),
    ],
)
def test_a_bad_line_says_what_is_wrong(example, line, words):
    with pytest.raises(BadJobs, match="bad.jsonl line 1: ") as error:
        read(example, "bad.jsonl", line)
    assert words in str(error.value)


@pytest.mark.parametrize(("name", "text", "words"), [("x.csv", "", "none"), ("x.txt", "", r"\.csv or \.jsonl")])
def test_lists_that_are_none(example, name, text, words):
    with pytest.raises(BadJobs, match=words):
        read(example, name, text)


def test_workflows_that_are_none(example, capsys):
    page = example.parents[0] / "page.json"
    page.write_text('{"nodes": [], "links": []}', encoding="utf-8")
    assert main([str(example / "jobs.csv"), "--workflow", str(page), "--out", str(example / "out")]) == WRONG
    assert "Export (API)" in capsys.readouterr().err
