"""The page of videos beside each other: what is in it, and that a text stays a text."""

import json
import re

import pytest
import torch

from fastvmt_core.viz.comparison import DRAWN, Shown, comparison_page, figures_of, losses_of

MARKUP = "</script><script>alert(1)</script>"


def data_of(page):
    """What the page's script reads."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def made(**changes):
    given = {"clips": [("guided", b"mp4")], "width": 8, "height": 4, "frames": 3, "fps": 16.0}
    return comparison_page(Shown(**given | changes))


def test_the_page_holds_all_that_it_shows_and_fetches_nothing():
    page = made(clips=[("reference", b"one"), ("guided", b"two")], figures=[("fidelity", "0.9")], losses=[2.0, 1.0])
    data = data_of(page)
    assert [clip["name"] for clip in data["clips"]] == ["reference", "guided"]
    assert data["clips"][0]["src"] == "data:video/mp4;base64,b25l"
    assert (data["width"], data["height"], data["frames"], data["fps"]) == (8, 4, 3, 16.0)
    assert data["figures"] == [["fidelity", "0.9"]] and data["losses"] == [2.0, 1.0]
    assert not re.search(r'(src|href)="?https?:|@import|url\(', page.replace("http://www.w3.org/2000/svg", ""))


def test_a_text_that_holds_a_tag_stays_a_text():
    graph = {"nodes": [{"title": MARKUP}]}
    page = made(graph=graph, made=MARKUP, clips=[(MARKUP, b"")], figures=[(MARKUP, MARKUP)])
    assert page.count("<script") == made().count("<script")
    assert data_of(page)["graph"] == graph and data_of(page)["made"] == MARKUP


def test_the_tracks_that_travel_farthest_are_drawn():
    tracks = torch.zeros(3, DRAWN + 10, 2)
    # Track i goes i thousandths of the frame to the right in each of two steps.
    tracks[..., 0] = torch.arange(3.0)[:, None] * torch.arange(DRAWN + 10.0) / 1000
    drawn = data_of(made(tracks=tracks))["tracks"]
    # Of the DRAWN farthest, those from 10 on travel .02.
    assert len(drawn) == DRAWN
    assert drawn[0] == [[0.0, 0.0], [0.069, 0.0], [0.138, 0.0]]
    assert data_of(made(tracks=torch.zeros(3, 5, 2)))["tracks"] == []
    assert data_of(made())["tracks"] == []


def test_figures_and_losses_are_read_from_what_other_nodes_give():
    report = {"motion_fidelity": 0.91234, "clip_temporal_consistency": None, "moving_points": {"generated": 3}}
    assert figures_of(json.dumps(report)) == [
        ("motion fidelity", "0.9123"),
        ("clip temporal consistency", "-"),
        ("moving points", "generated 3"),
    ]
    log = {"steps": [{"losses": [3.0, None, 2.0]}, {"losses": [1.5]}], "gradient_evaluations": 3}
    assert losses_of(json.dumps(log)) == [3.0, 2.0, 1.5]
    assert figures_of("") == [] and losses_of(" ") == []


@pytest.mark.parametrize(
    "text", ["nonsense", "[]", "3", '{"steps": 3}', '{"steps": [3]}', '{"steps": [{"losses": ["a"]}]}',
             '{"steps": [{"losses": [NaN]}]}', "x" * 10_000]
)  # fmt: skip
def test_another_text_is_refused_by_name(text):
    with pytest.raises(ValueError, match=r"^loss_log: expected ") as refused:
        losses_of(text)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000])
def test_a_text_that_is_nested_without_end_is_refused_by_name(text):
    with pytest.raises(ValueError, match=r"^report: expected the text that Motion Fidelity"):
        figures_of(text)
    with pytest.raises(ValueError, match=r"^loss_log: expected the text that Motion Fidelity"):
        losses_of(text)


def test_deep_figures_are_cut():
    assert figures_of('{"a":' * 300 + "1" + "}" * 300)[0][1].endswith("...")


def test_a_report_that_is_none_is_refused_by_name():
    with pytest.raises(ValueError, match=r"^report: expected the text that Motion Fidelity"):
        figures_of("[1]")
