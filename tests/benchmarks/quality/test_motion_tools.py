"""The bench of motion edits: its paths, its bounds, its graphs and its page."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.quality import motion_tools
from benchmarks.quality.motion_tools_page import PAGE, page
from benchmarks.runs.variants import apply
from tools.demo.transfer import GRAPH, node, node_id, title
from tools.train.clips import make_clip, render

PATH = np.array([[40.0, 60], [50, 62], [60, 60], [75, 55], [80, 70]])


def run_of(case, correlation=0.9, slope=1.0, **more):
    figures = {"correlation": correlation, "slope": slope, "error_px": 3.0}
    return {"case": case, "clip": 0, "digest": "x", **figures, **more}


def test_each_edit_has_its_path():
    cases = {case.name: case.path(PATH) for case in motion_tools.CASES}
    np.testing.assert_allclose(cases["mirror"], PATH * [-1, 1] + [127, 0])
    np.testing.assert_allclose(cases["reverse"], PATH[::-1])
    np.testing.assert_allclose(np.ptp(cases["amplify 0.5"], axis=0), np.ptp(PATH, axis=0) / 2)
    np.testing.assert_allclose(cases["amplify 1.5"].mean(0), PATH.mean(0))
    assert len(cases["saved, loaded at 25 frames"]) == 25
    np.testing.assert_allclose(cases["saved, loaded at 25 frames"][[0, -1]], PATH[[0, -1]])


def test_paths_are_compared_by_form_and_size():
    correlation, slope, error = motion_tools.compare(PATH * 0.5 + 7, PATH)
    assert correlation == pytest.approx(1) and slope == pytest.approx(0.5) and error > 0
    assert motion_tools.compare(np.full_like(PATH, np.nan), PATH) == (0.0, 0.0, 64.0)
    assert motion_tools.compare(PATH[:3], PATH) == (0.0, 0.0, 64.0)


def test_clips_can_be_amplified_inside_the_picture():
    for clip in motion_tools.suitable(4):
        path = motion_tools.make_reference(clip).targets[0].path
        large = motion_tools.about_middle(1.5)(path)
        assert large.min() >= motion_tools.RADIUS[0] and large.max() <= 127 - motion_tools.RADIUS[0]


def test_each_half_has_a_sprite_and_both_one_prompt():
    left, right = motion_tools.halves(0)
    assert left.prompt == right.prompt and left.targets[0].colour == right.targets[0].colour
    assert left.targets[0].path[:, 0].max() < 64 - 16 and right.targets[0].path[:, 0].min() > 64 + 16


def test_each_case_leads_from_the_reading_to_the_guidance():
    graph = json.loads(GRAPH.read_text(encoding="utf-8"))
    known = {each["class_type"]: set(each["inputs"]) for each in graph.values()}
    for case in motion_tools.CASES:
        changed = apply(graph, motion_tools.variant_of(case, 3, graph), lambda kind: (known[kind], set()))
        path = [title(changed, node(changed, "Apply motion")["inputs"]["motion"][0])]
        while path[-1] != "Invert motion":
            inputs = node(changed, path[-1])["inputs"]
            if path[-1] == "Load":
                assert inputs["motion"] == [node_id(changed, "Save"), 1]
            path.append(title(changed, inputs.get("motion", inputs.get("motion_a"))[0]))
        expected = {"as it is": [], "mirror": ["Refresh", "Edit"], motion_tools.BLEND: ["Refresh", "Blend"]}
        if case.name in expected:
            assert path == [*expected[case.name], "Invert motion"]
    (case,) = [case for case in motion_tools.CASES if case.name == motion_tools.BLEND]
    blend = apply(graph, motion_tools.variant_of(case, 3, graph), lambda kind: (known[kind], set()))
    other = node(blend, "Invert motion b")["inputs"]
    assert other["reference"] == [node_id(blend, "Encode reference b"), 0]
    assert node(blend, "Encode reference b")["inputs"]["frames"] == [node_id(blend, "Reference frames b"), 0]


@pytest.mark.parametrize("side", [0, 1])
def test_each_half_is_tracked_alone(side):
    clips = [make_clip(seed, "red", "circle", "plain", "line") for seed in (1, 2)]
    paths = [np.array([20.0 + 88 * half, 40 + 3 * half]) + np.arange(17)[:, None] * [0.5, 2] for half in (0, 1)]
    sprites = [replace(clip.sprites[0], path=path) for clip, path in zip(clips, paths, strict=True)]
    frames = render(sprites, "plain", 128, np.zeros((17, 2)))
    found = motion_tools.track_half(frames, "red", side)
    assert np.abs(found - paths[side]).max() < 3


@pytest.mark.parametrize(
    ("case", "correlation", "slope", "reached"),
    [
        ("mirror", 0.81, 1.0, True),
        ("mirror", 0.79, 1.0, False),
        ("amplify 0.5", 0.9, 1.4, False),
        ("saved, loaded at 25 frames", 0.85, 1.6, True),
    ],
)
def test_a_row_reaches_its_bounds_or_does_not(case, correlation, slope, reached):
    rows = motion_tools.rows_of([run_of(case, correlation, slope)])
    assert rows[case]["reached"] is reached and rows[case]["asked"]


def test_the_page_shows_the_numbers():
    means = {"same": 1.0, "mirrored": 0.1, "mirrored_sideways": 0.4, "guided": 0.9, "unguided": 0.2}
    judged = {f"fidelity_{name}": value for name, value in means.items()}
    runs = [run_of("as it is", **judged), run_of("mirror", 0.5)]
    report = {"least_correlation": 0.8, "slopes": (0.7, 1.3), "rows": motion_tools.rows_of(runs)}
    report["fidelity"] = motion_tools.fidelity_of(runs)
    text = page(report, [PAGE.parent / "images" / "mirror-0.jpg"])
    assert "| mirror | 1 | 0.50 | 0 | 1.00 | 3.0 | no |" in text
    assert "Guided above unguided on 1 of 1 clips." in text
    assert "| mirrored along its path | 0.10 |" in text and "| mirrored, left and right | 0.40 |" in text
    assert "![mirror-0](images/mirror-0.jpg)" in text and "{" not in text
