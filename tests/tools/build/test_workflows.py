"""The templates and the forms that are made of them, without a server."""

import json

import pytest

from tools.build.api_form import api_form
from tools.build.blueprint_form import blueprint_form, check_widgets
from tools.build.page_form import page_form
from tools.build.signature import inputs_of
from tools.build.spec import OUTSIDE, Blueprint, From, Group, Node, Note, Workflow
from tools.build.templates import workflows
from tools.host.layout import REPO

INFO = {
    "Make": {
        "input": {
            "required": {"seed": ["INT", {"default": 3}], "mode": [["a", "b"]], "file": [[], {"image_upload": True}]}
        },
        "output": ["IMAGE", "MASK"],
        "output_name": ["image", "mask"],
        "python_module": "nodes",
    },
    "Use": {
        "input": {
            "required": {"picture": ["IMAGE"], "amount": ["FLOAT", {"default": 0.5}]},
            "optional": {"mask": ["MASK"], "quiet": ["BOOLEAN", {"default": True}]},
        },
        "output": [],
        "output_name": [],
        "python_module": "custom_nodes.fastvmt",
    },
}


def small(**changes):
    use = {"picture": From("Maker", "image"), "amount": From("Maker", "mask"), **changes}
    members = (Note("Read me"), Node("Make", "Maker", {"mode": "b", "file": "x.png"}), Node("Use", "User", use))
    return Workflow("small", "A test.", ((Group("All", members),),))


def test_widgets_have_the_places_that_the_page_gives_them():
    saved = page_form(small(), INFO)
    maker, user = (next(node for node in saved["nodes"] if node["title"] == title) for title in ("Maker", "User"))
    # A seed is followed by the page's own widget, a file by its upload button.
    assert maker["widgets_values"] == [3, "fixed", "b", "x.png", "image"]
    assert user["widgets_values"] == [0.5, True]
    # Of a node's slots the sockets come first: picture, mask, then the widgets' amount and quiet.
    assert saved["links"] == [[1, maker["id"], 0, user["id"], 0, "IMAGE"], [2, maker["id"], 1, user["id"], 2, "MASK"]]
    assert [slot["links"] for slot in maker["outputs"]] == [[1], [2]]


def test_the_job_has_names_and_links():
    job = api_form(page_form(small(quiet=False), INFO), INFO)
    assert job == {
        "1": {"inputs": {"seed": 3, "mode": "b", "file": "x.png"}, "class_type": "Make", "_meta": {"title": "Maker"}},
        "2": {
            "inputs": {"picture": ["1", 0], "amount": ["1", 1], "quiet": False},
            "class_type": "Use",
            "_meta": {"title": "User"},
        },
    }


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"colour": 1}, "expected inputs of Use, got colour"),
        ({"picture": From("Maker", "sound")}, "expected one of its outputs"),
        ({"picture": None}, "expected a link into picture"),
    ],
)
def test_a_workflow_that_does_not_fit_the_nodes_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        page_form(small(**changes), INFO)


def test_values_that_do_not_fit_the_widgets_are_refused():
    saved = page_form(small(), INFO)
    user = next(node for node in saved["nodes"] if node["title"] == "User")
    user["widgets_values"] = [0.5]
    with pytest.raises(ValueError, match="expected a value for quiet, got none"):
        api_form(saved, INFO)
    user["widgets_values"] = [0.5, True, 1]
    with pytest.raises(ValueError, match="too many"):
        api_form(saved, INFO)
    user["mode"] = 4
    with pytest.raises(ValueError, match="muted or bypassed"):
        api_form(saved, INFO)


def test_a_node_that_the_server_lacks_is_refused():
    with pytest.raises(ValueError, match="got Missing"):
        inputs_of("Missing", INFO)


def test_nothing_lies_on_anything_else():
    for path in sorted((REPO / "workflows").glob("*.json")):
        saved = json.loads(path.read_text(encoding="utf-8"))
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


def test_an_input_from_outside_needs_a_blueprint():
    with pytest.raises(ValueError, match="small: expected a link into clip, got one from outside"):
        page_form(small(picture=From(OUTSIDE, "clip")), INFO)


def test_a_blueprint_is_one_node_with_its_own_inputs_outputs_and_widgets():
    inner = small(picture=From(OUTSIDE, "clip"), amount=From(OUTSIDE, "amount"))
    blueprint = Blueprint(inner, (("picture", From("Maker", "image")),), (("Maker", "mode"),))
    saved = blueprint_form(blueprint, INFO)
    (node,) = saved["nodes"]
    (definition,) = saved["definitions"]["subgraphs"]
    assert node["type"] == definition["id"] and definition["name"] == "small"
    assert [(slot["name"], slot["type"]) for slot in node["inputs"]] == [("clip", "IMAGE"), ("amount", "FLOAT")]
    assert [(slot["name"], slot["type"]) for slot in node["outputs"]] == [("picture", "IMAGE")]
    maker, user = (next(each for each in definition["nodes"] if each["title"] == name) for name in ("Maker", "User"))
    # Its own widget first, at the default of the node that takes it; the node's inside keep their values inside.
    assert node["properties"]["proxyWidgets"] == [["-1", "amount"], [str(maker["id"]), "mode"]]
    assert node["widgets_values"] == [0.5, None]
    ends = [
        (link["origin_id"], link["origin_slot"], link["target_id"], link["target_slot"]) for link in definition["links"]
    ]
    assert ends == [(-10, 0, user["id"], 0), (-10, 1, user["id"], 2), (maker["id"], 0, -20, 0)]
    assert [slot["linkIds"] for slot in definition["inputs"]] == [[1], [2]]
    assert maker["outputs"][0]["links"] == [3] == definition["outputs"][0]["linkIds"]


@pytest.mark.parametrize(
    ("widgets", "outputs", "message"),
    [
        ((("Maker", "colour"),), (), "expected a widget of Maker, got colour"),
        ((), (("x", From("Maker", "sound")),), "for x"),
    ],
)
def test_a_blueprint_that_does_not_fit_the_nodes_is_refused(widgets, outputs, message):
    with pytest.raises(ValueError, match=message):
        check_widgets(Blueprint(small(), outputs, widgets), INFO)


def test_every_template_has_all_its_forms_and_a_picture():
    names = {workflow.name for workflow in workflows()}
    assert {path.stem for path in (REPO / "workflows").glob("*.json")} == names
    assert {path.stem for path in (REPO / "workflows").glob("*.jpg")} == names
    assert {path.stem for path in (REPO / "assets" / "api").glob("*.json")} - {"tiny_motion_transfer"} == names


@pytest.mark.parametrize("workflow", workflows(), ids=lambda workflow: workflow.name)
def test_loaders_of_big_models_say_where_to_get_them(workflow):
    assert workflow.notes
    loaders = [node for node in workflow.nodes if node.kind.endswith("Loader") and node.kind != "TinyWanLoader"]
    for node in loaders + [node for node in workflow.nodes if node.kind == "LoraLoaderModelOnly"]:
        assert [model.name for model in node.models] == [
            value for name, value in node.inputs.items() if name.endswith("_name")
        ]
        assert all(model.url.endswith(f"/{model.directory}/{model.name}") for model in node.models)
