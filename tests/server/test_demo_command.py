"""The demo as its user runs it, on a server that it starts itself: its promise as numbers, its report, its errors."""

import json
import math

import pytest

from tools.demo.run import main
from tools.demo.transfer import load_graph, node
from tools.host.layout import Layout


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The demo as its user runs it: the shipped clip, another shape and colour in the prompt."""
    out = tmp_path_factory.mktemp("demo")
    assert main(["--out", str(out)]) == 0
    return json.loads((out / "report.json").read_text()), out


def test_the_shipped_clip_is_followed(report):
    values, _ = report
    assert values["path_correlation"]["guided"] >= 0.9
    assert values["path_error_px"]["guided"] <= 8
    assert values["path_error_px"]["unguided"] >= 3 * values["path_error_px"]["guided"]


def test_the_loss_falls_in_the_guided_steps(report):
    losses = [[loss for loss in step if loss is not None] for step in report[0]["losses"]]
    # Near its floor, a tenth of where it began, iterations lift the loss of some steps: the first two must fall.
    fell = [step[-1] / step[0] for step in losses[:2]]
    assert max(fell) < 0.9
    # A step has two fresh gradients: the last loss is measured after nine iterations.
    assert losses[1][-1] < 0.5 * losses[0][0]
    assert losses[-1][-1] < 0.1 * losses[0][0]


def test_gradients_are_skipped_as_asked(report):
    values, _ = report
    settings = node(load_graph("", "", 0), "Apply motion")["inputs"]
    evaluations = math.ceil(settings["inner_steps"] / settings["gradient_interval"])
    assert values["gradient_evaluations"] == len(values["guided_steps"]) * evaluations
    for step in values["losses"]:
        assert [loss is None for loss in step] == [bool(j % settings["gradient_interval"]) for j in range(len(step))]


def test_the_report_is_whole(report):
    values, out = report
    assert values["host_version"]
    assert values["reference"] == "reference.mp4"
    assert values["grid"] == [5, 8, 8]
    assert values["sigmas"] == sorted(values["sigmas"], reverse=True)
    assert values["guided_steps"] == list(range(len(values["guided_steps"])))
    assert set(values["seconds"]) == {"setup", "invert", "sample_unguided", "sample_guided"}
    assert all(seconds > 0 for seconds in values["seconds"].values())
    for name in values["files"].values():
        assert (out / name).stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bikes.mp4", "carphone_pristine.mp4"])
def test_a_real_camera_clip_runs_through(name, tmp_path):
    clip = Layout.of().clips / name
    assert main(["--reference", str(clip), "--out", str(tmp_path)]) == 0
    values = json.loads((tmp_path / "report.json").read_text())
    assert values["path_correlation"] == {"guided": None, "unguided": None}
    assert values["gradient_evaluations"] > 0
    assert (tmp_path / "sheet.png").stat().st_size > 0


def test_an_unreadable_video_is_refused_in_a_line(tmp_path, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    assert main(["--reference", str(broken), "--out", str(tmp_path / "out")]) != 0
    lines = capsys.readouterr().err.strip().splitlines()
    assert "broken.mp4" in lines[-1]
