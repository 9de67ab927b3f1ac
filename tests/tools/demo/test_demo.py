"""The demo's parts that need no server: reading a video, filling in the graph, keeping events, measuring, drawing."""

import json

import av
import numpy as np
import pytest

from tools.demo import run as demo
from tools.demo.reference_video import UnusableVideo, cut_reference, fitted_frames, known_path
from tools.demo.sheet import Row, draw_sheet
from tools.demo.transfer import GRAPH, RUNS, Recorder, load_graph, node, node_id
from tools.train.clips import FRAMES, SIZE, make_clip, write_clip, write_video


@pytest.fixture
def graph():
    return load_graph("clip.mp4", "blue square plain", 7)


def read(video):
    with av.open(str(video)) as container:
        rate = float(container.streams.video[0].average_rate)
        return rate, np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_the_graph_is_filled_in(graph):
    assert node(graph, "Reference video")["inputs"]["file"] == "clip.mp4"
    assert node(graph, "Prompt")["inputs"]["prompt"] == "blue square plain"
    assert [node(graph, f"Sample {run}")["inputs"]["seed"] for run in RUNS] == [7, 7]


def test_every_link_of_the_graph_leads_to_a_node_and_the_runs_differ_in_the_model_alone(graph):
    for entry in graph.values():
        links = [value for value in entry["inputs"].values() if isinstance(value, list)]
        assert all(link[0] in graph for link in links)
    unguided, guided = (dict(node(graph, f"Sample {run}")["inputs"]) for run in RUNS)
    assert unguided.pop("model") != guided.pop("model")
    assert unguided == guided
    titles = [entry["_meta"]["title"] for entry in json.loads(GRAPH.read_text()).values()]
    assert len(set(titles)) == len(titles)


def test_a_large_long_video_becomes_a_short_small_one_at_its_own_rate(tmp_path, graph):
    frames = np.tile(make_clip(0).frames, (4, 3, 6, 1))[:, :360, :642]
    write_video(tmp_path / "big.avi", frames, fps=29.97)
    cut_reference(tmp_path / "big.avi", tmp_path / "cut.mp4", demo._seconds_needed(graph))
    rate, frames = read(tmp_path / "cut.mp4")
    assert rate == pytest.approx(29.97, abs=0.01)
    assert frames.shape[1:] == (256, 456, 3) and 32 <= len(frames) < 45
    assert fitted_frames(tmp_path / "cut.mp4", graph).shape == (FRAMES, SIZE, SIZE, 3)


def test_a_clip_of_the_tiny_model_comes_through_unchanged(tmp_path, graph):
    clip = make_clip(1)
    write_clip(tmp_path / "a.mp4", clip)
    cut_reference(tmp_path / "a.mp4", tmp_path / "cut.mp4", demo._seconds_needed(graph))
    fitted = fitted_frames(tmp_path / "cut.mp4", graph)
    assert fitted.shape == clip.frames.shape
    assert np.abs(fitted - clip.frames).mean() < 0.01
    colour, path = known_path(tmp_path / "a.mp4", fitted)
    assert colour == clip.colour and np.abs(path - clip.path).max() < 1e-3
    assert known_path(tmp_path / "a.mp4", fitted[:13]) is None
    assert known_path(tmp_path / "cut.mp4", fitted) is None


def test_a_short_video_is_taken_as_it_is(tmp_path, graph):
    write_video(tmp_path / "short.mp4", make_clip(0).frames[:7])
    cut_reference(tmp_path / "short.mp4", tmp_path / "cut.mp4", demo._seconds_needed(graph))
    assert len(read(tmp_path / "cut.mp4")[1]) == 7


@pytest.mark.parametrize("content", [None, b"", b"no video at all" * 99], ids=["missing", "empty", "text"])
def test_a_video_that_cant_be_read_is_one_clear_line(tmp_path, capsys, content):
    video = tmp_path / "bad.mp4"
    if content is not None:
        video.write_bytes(content)
    assert demo.main(["--reference", str(video), "--out", str(tmp_path / "out")]) == 1
    message = capsys.readouterr().err.strip()
    assert message.startswith(f"fastvmt: can't read {video}: ") and "\n" not in message


def test_one_picture_has_no_motion(tmp_path):
    write_video(tmp_path / "one.mp4", make_clip(0).frames[:1])
    with pytest.raises(UnusableVideo, match="no motion"):
        cut_reference(tmp_path / "one.mp4", tmp_path / "cut.mp4", 1.0)


@pytest.mark.parametrize("prompt", ["purple cow", "", "red circle"])
def test_a_bad_prompt_is_one_clear_line(tmp_path, capsys, prompt):
    assert demo.main(["--prompt", prompt, "--out", str(tmp_path / "out")]) == 1
    message = capsys.readouterr().err.strip()
    assert message.startswith("fastvmt: ") and "\n" not in message


def test_the_recorder_keeps_what_the_report_needs(graph):
    watched = []
    record = Recorder(graph, lambda *progress: watched.append(progress))
    sampler = node_id(graph, "Sample guided")
    record.on_event("executing", {"node": sampler})
    record.on_event("fastvmt.guidance", {"grid": [5, 8, 8], "sigmas": [1.0, 0.0], "guided_steps": [0]})
    for evaluations in (5, 4):
        record.on_event("fastvmt.guided_step", {"losses": [2.0, None, 1.0], "gradient_evaluations": evaluations})
    record.on_event("progress", {"node": sampler, "value": 3, "max": 25})
    record.on_event("executing", {"node": None})
    summary = demo._guidance(record)
    assert summary["grid"] == [5, 8, 8] and summary["gradient_evaluations"] == 9
    assert summary["losses"][0] == [2.0, None, 1.0]
    assert watched == [("Sample guided", 0, 0), ("Sample guided", 3, 25)]
    assert demo._seconds(record, 1.0)["setup"] == 1.0 and record.seconds["Sample guided"] >= 0


def test_paths_are_measured_against_the_known_one():
    reference = make_clip(9, "red", "circle", "plain", "arc")
    same = make_clip(9, "blue", "square", "plain", "arc")
    other = make_clip(2, "blue", "square", "plain", "line")
    frames = {"unguided": other.frames, "guided": same.frames}
    measured = demo.measure(frames, "blue", ("red", reference.path))
    assert measured.correlation["guided"] > 0.99 and measured.error_px["guided"] < 1 and measured.note is None
    assert measured.error_px["unguided"] > 5


def test_what_cant_be_measured_is_null_with_a_reason():
    clip = make_clip(3, "blue", background="stripes")
    frames = dict.fromkeys(RUNS, clip.frames)
    unknown = demo.measure(frames, "blue", None)
    assert unknown.correlation == unknown.error_px == dict.fromkeys(RUNS) and unknown.note == demo.NO_PATH
    lost = demo.measure({**frames, "guided": clip.frames * 0}, "blue", ("blue", clip.path))
    assert lost.correlation["guided"] is None and lost.correlation["unguided"] > 0.99 and lost.note == demo.LOST


@pytest.mark.parametrize("count", [2, 9, 17])
def test_the_sheet_has_a_row_for_each_clip(count):
    clip = make_clip(5)
    rows = [Row(name, ("note",), clip.frames[:count], clip.path[:count]) for name in ("reference", *RUNS)]
    sheet = draw_sheet(rows, clip.path[:count], "Heading")
    assert sheet.height > 3 * 2 * SIZE and sheet.width > min(count, 9) * 2 * SIZE
    assert len(sheet.getcolors(1 << 24)) > 50


def test_the_sheet_takes_rows_without_a_path():
    clip = make_clip(5)
    draw_sheet([Row("a", (), clip.frames, None), Row("b", (), clip.frames, clip.path * np.nan)], None, "Heading")
