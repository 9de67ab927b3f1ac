"""Variants find their place in the demo's graph, or say why not."""

import json

import pytest

from benchmarks.runs.variants import BASE, Variant, all_variants, apply, places, read_variants, sweep, with_seed
from tools.demo.transfer import GRAPH, node, node_id

OPTIONAL = {"FastVMTLossWeights": {"released_scale"}, "FastVMTInvertMotion": {"sigmas"}}


@pytest.fixture
def graph():
    return json.loads(GRAPH.read_text(encoding="utf-8"))


@pytest.fixture
def schema(graph):
    """What a host would say of the demo's nodes: the inputs that the graph sets, and a few optional ones."""
    known = {each["class_type"]: set(each["inputs"]) for each in graph.values()}
    known["Other"] = {"value"}
    return lambda kind: (known[kind], OPTIONAL.get(kind, set()))


def test_a_sweep_changes_one_input_at_a_time():
    assert sweep("window=3, 0") == [Variant("window=3", {"window": 3}), Variant("window=0", {"window": 0})]
    assert sweep("centre=argmax") == [Variant("centre=argmax", {"centre": "argmax"})]
    assert sweep("released_scale=true")[0].inputs == {"released_scale": True}


def test_a_sweep_of_the_reference_or_a_model_is_no_input():
    assert sweep("size=192") == [Variant("size=192", reference={"size": 192})]
    assert sweep("kind=camera") == [Variant("kind=camera", reference={"kind": "camera"})]
    assert sweep("model=runs/new.safetensors") == [Variant("model=new", model="runs/new.safetensors")]


@pytest.mark.parametrize("text", ["window", "window=", "=3"])
def test_a_sweep_without_name_or_value_is_refused(text):
    with pytest.raises(ValueError, match="--sweep: expected name=value"):
        sweep(text)


def test_the_base_is_always_there_and_names_are_unique(tmp_path):
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


def test_a_bare_name_leads_to_the_one_node_that_has_it(graph, schema):
    assert places(graph, "end_percent", schema) == [(node_id(graph, "Apply motion"), "end_percent")]
    assert places(graph, "released_scale", schema) == [(node_id(graph, "Loss weights"), "released_scale")]
    # The empty latent's width comes over a link.
    assert places(graph, "width", schema) == [(node_id(graph, "Encode reference"), "width")]


def test_sampling_is_changed_in_both_samplers(graph, schema):
    both = [(node_id(graph, f"Sample {run}"), "steps") for run in ("unguided", "guided")]
    assert places(graph, "steps", schema) == both


def test_a_name_of_several_nodes_names_them(graph, schema):
    with pytest.raises(ValueError, match='"Prompt.prompt" or "Empty prompt.prompt"'):
        places(graph, "prompt", schema)
    assert places(graph, "Prompt.prompt", schema) == [(node_id(graph, "Prompt"), "prompt")]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("windows", "of no node"),
        ("Invert.window", "expected the title of a node"),
        ("Invert motion.windows", "Invert motion.windows: expected one of block"),
    ],
)
def test_an_unknown_name_is_refused(graph, schema, name, said):
    with pytest.raises(ValueError, match=said):
        places(graph, name, schema)


def test_values_links_and_nothing(graph, schema):
    change = {
        "block": 2,
        "Sample guided.latent_image": {"link": ["Encode reference", 0]},
        "Apply motion.weights": None,
        "Invert motion.sigmas": {"link": ["Levels", 0]},
    }
    added = {"Levels": {"class_type": "Other", "inputs": {"value": {"link": ["Shift", 0]}}}}
    changed = apply(graph, Variant("all", change, added), schema)
    assert node(changed, "Invert motion")["inputs"]["block"] == 2
    assert node(changed, "Sample guided")["inputs"]["latent_image"] == [node_id(graph, "Encode reference"), 0]
    assert "weights" not in node(changed, "Apply motion")["inputs"]
    assert node(changed, "Invert motion")["inputs"]["sigmas"] == [node_id(changed, "Levels"), 0]
    assert node(changed, "Levels")["inputs"]["value"] == [node_id(graph, "Shift"), 0]
    assert graph == json.loads(GRAPH.read_text(encoding="utf-8"))


def test_a_node_of_a_known_title_takes_the_place_of_the_one_that_is_there(graph, schema):
    inputs = {"model": {"link": ["Model low", 0]}, "noise_seed": {"run": "seed"}}
    added = {
        "Model low": {"class_type": "UNETLoader", "inputs": {"unet_name": "low"}},
        "Sample guided": {"class_type": "KSamplerAdvanced", "inputs": inputs},
    }
    changed = with_seed(apply(graph, Variant("two experts", {}, added), schema), 7, "red ring plain")
    assert node_id(changed, "Sample guided") == node_id(graph, "Sample guided")
    sampler = node(changed, "Sample guided")
    assert sampler["class_type"] == "KSamplerAdvanced"
    assert sampler["inputs"] == {"model": [node_id(changed, "Model low"), 0], "noise_seed": 7}


def test_a_run_has_its_own_seed_and_prompt(graph, schema):
    follows = apply(graph, Variant("own noise", {"Invert motion.seed": {"run": "seed"}}), schema)
    filled = with_seed(follows, 7, "red ring plain")
    seeds = {
        name: node(filled, name)["inputs"]["seed"] for name in ("Invert motion", "Sample guided", "Sample unguided")
    }
    assert set(seeds.values()) == {7}
    assert node(filled, "Prompt")["inputs"]["prompt"] == "red ring plain"
    assert node(filled, "Empty prompt")["inputs"]["prompt"] == ""
    assert node(with_seed(graph, 7, "x"), "Invert motion")["inputs"]["seed"] == 0


def test_what_a_variant_changes_is_told_without_names():
    assert Variant("a", {"block": 2}, against="b").change() == {"inputs": {"block": 2}}
