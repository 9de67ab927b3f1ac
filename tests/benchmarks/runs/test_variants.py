"""Variants change the demo's graph, or are refused with a reason."""

import json

import numpy as np
import pytest

from benchmarks.runs.variants import (
    BASE,
    Link,
    RunValue,
    Variant,
    all_variants,
    apply,
    places,
    read_variants,
    sweep,
    with_seed,
)
from tools.demo.transfer import GRAPH, node, node_id

OPTIONAL = {"FastVMTLossWeights": {"released_scale"}, "FastVMTInvertMotion": {"sigmas"}}


@pytest.fixture
def graph():
    return json.loads(GRAPH.read_text(encoding="utf-8"))


@pytest.fixture
def schema(graph):
    """Input names of the demo's nodes: those that the graph sets, and a few optional ones."""
    known = {each["class_type"]: set(each["inputs"]) for each in graph.values()}
    known["Other"] = {"value"}
    return lambda kind: (known[kind], OPTIONAL.get(kind, set()))


def test_a_sweep_changes_one_input_at_a_time():
    assert sweep("window=3, 0") == [Variant("window=3", {"window": 3}), Variant("window=0", {"window": 0})]
    assert sweep("centre=argmax") == [Variant("centre=argmax", {"centre": "argmax"})]
    assert sweep("released_scale=true")[0].inputs == {"released_scale": True}


def test_a_sweep_of_the_reference_is_no_input():
    assert sweep("size=192") == [Variant("size=192", reference={"size": 192})]
    assert sweep("kind=camera") == [Variant("kind=camera", reference={"kind": "camera"})]


@pytest.mark.parametrize("text", ["window", "window=", "=3"])
def test_a_sweep_without_name_or_value_is_refused(text):
    with pytest.raises(ValueError, match="--sweep: expected name=value"):
        sweep(text)


def test_the_base_comes_first_and_names_are_unique(tmp_path):
    file = tmp_path / "variants.json"
    file.write_text('[{"name": "window=3", "inputs": {"Invert motion.window": 3}}]')
    assert [variant.name for variant in all_variants(["steps=4"], [file])] == [BASE, "steps=4", "window=3"]
    with pytest.raises(ValueError, match="window=3 twice"):
        all_variants(["window=3"], [file])


def test_a_variant_is_compared_with_one_of_the_same_bench(tmp_path):
    file = tmp_path / "variants.json"
    file.write_text('[{"name": "a"}, {"name": "b", "against": "a"}]')
    assert all_variants([], [file])[2].against == "a"
    file.write_text('[{"name": "b", "against": "a"}]')
    with pytest.raises(ValueError, match="against: expected the name of a variant"):
        all_variants([], [file])


@pytest.mark.parametrize("text", ["{", "[1]", '[{"name": "a", "colour": 1}]', '[{"inputs": {}}]'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    file = tmp_path / "variants.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"variants\.json: expected a list of objects"):
        read_variants(file)


def test_links_and_seeds_of_a_file_are_typed(tmp_path):
    file = tmp_path / "variants.json"
    file.write_text(
        '[{"name": "a", "inputs": {"A.b": {"link": ["B", 1]}, "A.seed": {"run": "seed"}}, '
        '"nodes": {"B": {"class_type": "Other", "inputs": {"value": {"link": ["C", 0]}}}}}]'
    )
    (variant,) = read_variants(file)
    assert variant.inputs == {"A.b": Link("B", 1), "A.seed": RunValue()}
    assert variant.nodes["B"]["inputs"]["value"] == Link("C", 0)


def test_sampling_is_changed_in_both_samplers(graph, schema):
    both = [(node_id(graph, f"Sample {run}"), "steps") for run in ("unguided", "guided")]
    assert places(graph, "steps", schema) == both


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("windows", "windows: expected <node title>.<input> or one of steps"),
        ("Invert.window", "expected the title of a node"),
        ("Invert motion.windows", "Invert motion.windows: expected one of block"),
    ],
)
def test_an_unknown_name_is_refused(graph, schema, name, message):
    with pytest.raises(ValueError, match=message):
        places(graph, name, schema)


def test_values_and_links(graph, schema):
    change = {
        "Invert motion.block": 2,
        "Sample guided.latent_image": Link("Encode reference", 0),
        "Invert motion.sigmas": Link("Levels", 0),
    }
    added = {"Levels": {"class_type": "Other", "inputs": {"value": Link("Shift", 0)}}}
    changed = apply(graph, Variant("all", change, added), schema)
    assert node(changed, "Invert motion")["inputs"]["block"] == 2
    assert node(changed, "Sample guided")["inputs"]["latent_image"] == [node_id(graph, "Encode reference"), 0]
    assert node(changed, "Invert motion")["inputs"]["sigmas"] == [node_id(changed, "Levels"), 0]
    assert node(changed, "Levels")["inputs"]["value"] == [node_id(graph, "Shift"), 0]
    assert graph == json.loads(GRAPH.read_text(encoding="utf-8"))


def test_a_node_of_a_known_title_replaces_the_one_of_the_graph(graph, schema):
    added = {"Decode guided": {"class_type": "Other", "inputs": {"value": Link("Sample guided", 0)}}}
    changed = apply(graph, Variant("other decoder", {}, added), schema)
    assert node_id(changed, "Decode guided") == node_id(graph, "Decode guided")
    decode = node(changed, "Decode guided")
    assert decode["class_type"] == "Other"
    assert decode["inputs"] == {"value": [node_id(graph, "Sample guided"), 0]}


def test_a_run_has_its_own_seed_and_prompt(graph, schema):
    follows = apply(graph, Variant("own noise", {"Invert motion.seed": RunValue()}), schema)
    filled = with_seed(follows, 7, "red ring plain")
    seeds = {
        name: node(filled, name)["inputs"]["seed"] for name in ("Invert motion", "Sample guided", "Sample unguided")
    }
    assert set(seeds.values()) == {7}
    assert node(filled, "Prompt")["inputs"]["prompt"] == "red ring plain"
    assert node(filled, "Empty prompt")["inputs"]["prompt"] == ""
    assert node(with_seed(graph, 7, "x"), "Invert motion")["inputs"]["seed"] == 0


def test_a_run_has_the_caption_of_its_reference(graph, schema):
    node(graph, "Empty prompt")["inputs"]["prompt"] = RunValue("caption")
    filled = with_seed(graph, 7, "red ring plain", "blue square dots")
    assert node(filled, "Empty prompt")["inputs"]["prompt"] == "blue square dots"


def test_a_run_has_its_background_and_the_path_of_its_reference(graph, schema):
    graph["p"] = {
        "class_type": "FastVMTMotionFromTracks",
        "inputs": {"coordinates": RunValue("coordinates"), "label": RunValue("background")},
        "_meta": {"title": "Path"},
    }
    inputs = node(with_seed(graph, 7, "red ring plain", path=np.array([[1.5, 2], [3, 4]])), "Path")["inputs"]
    assert json.loads(inputs["coordinates"]) == [{"x": 1.5, "y": 2.0}, {"x": 3.0, "y": 4.0}]
    assert inputs["label"] == "plain"


def test_a_change_is_json_without_names():
    assert Variant("a", {"steps": Link("B", 1)}, against="b").change() == {
        "inputs": {"steps": {"node": "B", "output": 1}}
    }
