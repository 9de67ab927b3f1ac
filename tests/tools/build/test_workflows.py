"""Saved workflows brought up to date and made into jobs, and the templates themselves, without a server."""

import json
from copy import deepcopy

import pytest

from tools.build.cards import CARDS
from tools.build.saved import api_form, refreshed
from tools.build.signature import inputs_of
from tools.demo.transfer import GRAPH, title
from tools.host.layout import REPO

INFO = {
    "Make": {
        "input": {
            "required": {"seed": ["INT", {"default": 3}], "mode": [["a", "b"]], "file": [[], {"image_upload": True}]}
        },
        "output": ["IMAGE", "MASK"],
        "output_name": ["image", "mask"],
    },
    "Use": {
        "input": {
            "required": {"picture": ["IMAGE"], "amount": ["FLOAT", {"default": 0.5}]},
            "optional": {"mask": ["MASK"], "quiet": ["BOOLEAN", {"default": True}]},
        },
        "output": [],
        "output_name": [],
    },
}
TEMPLATES = sorted((REPO / "workflows").glob("*.json"))


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def slot(name, kind, link=None, widget=True, optional=False):
    shape, owner = {"shape": 7} if optional else {}, {"widget": {"name": name}} if widget else {}
    return {"name": name, "type": kind, "link": link, **shape, **owner}


def output(name, links):
    return {"name": name, "type": name.upper(), "links": links}


@pytest.fixture
def saved():
    maker = {
        "id": 1,
        "type": "Make",
        "title": "Maker",
        "inputs": [slot("seed", "INT"), slot("mode", "COMBO"), slot("file", "COMBO")],
        "outputs": [output("image", [1]), output("mask", [2])],
        # A seed is followed by the page's own widget, a file by its upload button.
        "widgets_values": [3, "fixed", "b", "x.png", "image"],
    }
    user = {
        "id": 2,
        "type": "Use",
        "title": "User",
        "mode": 0,
        "inputs": [
            slot("picture", "IMAGE", 1, widget=False),
            slot("mask", "MASK", widget=False, optional=True),
            slot("amount", "FLOAT", 2),
            slot("quiet", "BOOLEAN", optional=True),
        ],
        "outputs": [],
        "widgets_values": [0.25, True],
    }
    note = {"id": 3, "type": "MarkdownNote", "widgets_values": ["Read me"], "inputs": [], "outputs": []}
    return {"nodes": [maker, user, note], "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 1, 1, 2, 2, "MASK"]]}


@pytest.fixture
def blueprint(saved):
    maker, user, _ = saved["nodes"]
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    links = [*saved["links"], [3, -10, 0, 2, 1, "MASK"], [4, 1, 0, -20, 0, "IMAGE"]]
    user["inputs"][1]["link"], maker["outputs"][0]["links"] = 3, [1, 4]
    inside = {"nodes": saved["nodes"], "links": [dict(zip(names, link, strict=True)) for link in links]}
    outer = {"title": "Both", "properties": {"proxyWidgets": [["-1", "mask"], ["1", "mode"]]}}
    return {"nodes": [outer], "definitions": {"subgraphs": [inside]}}


@pytest.mark.parametrize("form", ["saved", "blueprint"])
def test_what_fits_its_nodes_stays_as_it_is(request, form):
    given = request.getfixturevalue(form)
    assert refreshed(deepcopy(given), INFO) == given


def test_what_the_page_adds_when_it_saves_is_left_out(saved):
    """A slot of its upload button; and it leaves out titles that are a node's own."""
    given = deepcopy(saved)
    given["nodes"][0]["inputs"].append(slot("upload", "IMAGEUPLOAD"))
    assert refreshed(given, INFO) == saved
    del given["nodes"][0]["title"]
    assert refreshed(given, INFO)["nodes"][0]["title"] == "Make"


def test_a_node_gets_the_inputs_and_outputs_that_it_gained(blueprint):
    info = deepcopy(INFO)
    info["Use"]["input"]["required"]["second"] = ["IMAGE"]
    info["Use"]["input"]["optional"]["sound"] = ["AUDIO"]
    info["Use"]["input"]["required"]["speed"] = ["INT", {"default": 7}]
    info["Make"]["output"] = info["Make"]["output_name"] = ["sound", "image", "mask"]
    with pytest.raises(ValueError, match="User: expected a link into second, got none"):
        refreshed(blueprint, info)
    del info["Use"]["input"]["required"]["second"]
    (inside,) = refreshed(blueprint, info)["definitions"]["subgraphs"]
    maker, user, note = inside["nodes"]
    # Sockets come first, then the widgets' slots; values stand in the order of the inputs.
    assert [(each["name"], each["link"]) for each in user["inputs"]] == [
        ("picture", 1),
        ("mask", 3),
        ("sound", None),
        ("amount", 2),
        ("speed", None),
        ("quiet", None),
    ]
    assert user["widgets_values"] == [0.25, 7, True]
    assert [each["links"] for each in maker["outputs"]] == [None, [1, 4], [2]]
    ends = [(link["origin_slot"], link["target_slot"]) for link in inside["links"]]
    assert ends == [(1, 0), (2, 3), (0, 1), (1, 0)]
    assert note == blueprint["definitions"]["subgraphs"][0]["nodes"][2]


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("Use", lambda use: use["input"]["required"].pop("picture"), "at its inputs .*, got one at picture"),
        ("Use", lambda use: use["input"]["optional"].pop("quiet"), "expected widgets .*, got quiet"),
        ("Make", lambda make: make.update(output=["MASK"], output_name=["mask"]), "outputs .*, got one at image"),
    ],
)
def test_a_workflow_that_does_not_fit_the_nodes_is_refused(saved, kind, change, message):
    info = deepcopy(INFO)
    change(info[kind])
    with pytest.raises(ValueError, match=message):
        refreshed(saved, info)


def test_a_blueprint_that_shows_a_widget_of_nobody_is_refused(blueprint):
    blueprint["nodes"][0]["properties"]["proxyWidgets"] = [["1", "colour"]]
    with pytest.raises(ValueError, match="Both: expected a widget of its node 1, got colour"):
        refreshed(blueprint, INFO)


def test_a_node_that_the_server_lacks_is_refused():
    with pytest.raises(ValueError, match="got Missing"):
        inputs_of("Missing", INFO)


def test_the_job_has_names_and_links(saved):
    saved["nodes"][1]["widgets_values"] = [0.5, False]
    assert api_form(saved, INFO) == {
        "1": {"inputs": {"seed": 3, "mode": "b", "file": "x.png"}, "class_type": "Make", "_meta": {"title": "Maker"}},
        "2": {
            "inputs": {"picture": ["1", 0], "amount": ["1", 1], "quiet": False},
            "class_type": "Use",
            "_meta": {"title": "User"},
        },
    }


def test_values_that_do_not_fit_the_widgets_are_refused(saved):
    user = saved["nodes"][1]
    user["widgets_values"] = [0.5]
    with pytest.raises(ValueError, match="expected a value for quiet, got none"):
        api_form(saved, INFO)
    user["widgets_values"] = [0.5, True, 1]
    with pytest.raises(ValueError, match="too many"):
        api_form(saved, INFO)
    user["mode"] = 4
    with pytest.raises(ValueError, match="muted or bypassed"):
        api_form(saved, INFO)


def test_nothing_lies_on_anything_else():
    for path in TEMPLATES:
        saved = read(path)
        boxes = [(*node["pos"], *node["size"]) for node in saved["nodes"]]
        # The title stands above a node's place.
        boxes = [(x, y - 30, x + w, y + h) for x, y, w, h in boxes]
        groups = [(x, y, x + w, y + h) for x, y, w, h in (group["bounding"] for group in saved["groups"])]
        for some in (boxes, groups):
            overlaps = [(a, b) for n, a in enumerate(some) for b in some[n + 1 :] if _overlap(a, b)]
            assert overlaps == [], path.name
        assert all(any(_inside(box, group) for group in groups) for box in boxes)


def _overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _inside(box, group):
    return group[0] <= box[0] and group[1] <= box[1] and box[2] <= group[2] and box[3] <= group[3]


def test_every_template_has_all_its_forms_and_a_picture():
    names = {path.stem for path in TEMPLATES}
    assert names == CARDS.keys()
    assert {path.stem for path in (REPO / "workflows").glob("*.jpg")} == names
    assert {path.stem for path in (REPO / "assets" / "api").glob("*.json")} - {"tiny_motion_transfer"} == names


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_loaders_of_big_models_say_where_to_get_them(path):
    nodes, job = read(path)["nodes"], read(REPO / "assets" / "api" / path.name)
    assert any(node["type"] == "MarkdownNote" for node in nodes)
    for node in (node for node in nodes if "Loader" in node["type"] and node["type"] != "TinyWanLoader"):
        models = node["properties"]["models"]
        assert [model["name"] for model in models] == [
            value for name, value in job[str(node["id"])]["inputs"].items() if name.rstrip("12").endswith("_name")
        ]
        for model in models:
            assert model["url"].startswith("https://huggingface.co/") and model["url"].endswith(f"/{model['name']}")
            # Comfy-Org's repositories have the host's folders.
            assert "/Comfy-Org/" not in model["url"] or f"/{model['directory']}/" in model["url"]


OWN = {"prompt", "seed", "file", "filename_prefix", "width", "height", "length"}
"""Widgets by which the tiny model's templates may differ from the demo; a drawing decides the size and length."""


@pytest.mark.parametrize("path", [path for path in TEMPLATES if "_tiny_" in path.name], ids=lambda path: path.stem)
def test_the_tiny_model_s_settings_are_those_of_the_demo_which_the_measurements_are_about(path):
    demo, compared = {title(read(GRAPH), each): read(GRAPH)[each]["inputs"] for each in read(GRAPH)}, 0
    # Our sampler is Apply Motion and the host's sampler in one node.
    demo["FastVMTSampler"] = {**demo["Sample guided"], **demo["Apply motion"]}
    demo["Sample placed"] = demo["Sample unguided"]
    job = read(REPO / "assets" / "api" / path.name)
    for node in job.values():
        asked = demo.get(node["class_type"]) or demo.get(node["_meta"]["title"], {})
        for name, value in asked.items():
            if not isinstance(value, list) and name not in OWN and not isinstance(node["inputs"].get(name), list):
                assert node["inputs"][name] == value, (node["_meta"]["title"], name)
                compared += 1
    # Without a motion there are the sampler's settings and the sizes.
    assert compared >= (31 if any("motion" in node["inputs"] for node in job.values()) else 7)
