"""Graphs: where a job's clip, prompt and seed go in the shipped workflows, and how a motion is taken out of them."""

import copy
import json

import pytest

from tools.batch import motions
from tools.batch.workflow import JobText, WorkflowError, filled, of_type, prompt_inputs, read_workflow, seed_inputs
from tools.host.layout import REPO

API = REPO / "assets" / "api"
PLACES = {
    "00_tiny_demo": ([("4", "prompt")], [("9", "seed")]),
    "04_tiny_fidelity_report": ([("5", "prompt")], [("10", "seed"), ("11", "seed")]),
    "10_text_to_video": ([("7", "text")], [("12", "seed")]),
    "12_image_to_video": ([("8", "text")], [("16", "seed")]),
    "20_wan22_high_low": ([("9", "text")], [("15", "noise_seed"), ("16", "noise_seed")]),
    "03_tiny_motion_library": ([("5", "prompt"), ("6", "prompt")], [("10", "seed"), ("14", "seed")]),
}
"""Of shipped workflows: (node, input) of the prompt and of the seeds, read off the files."""
WITH_REFERENCE = [path for path in sorted(API.glob("*.json")) if '"FastVMTEncodeReference"' in path.read_text()]


def test_a_workflow_without_a_reference_takes_none(tmp_path):
    with pytest.raises(WorkflowError, match="expected one place for it in the workflow, found none"):
        filled(shipped("07_tiny_place_subject"), JobText(reference=tmp_path / "clip.mp4"))


def shipped(name):
    return read_workflow(API / f"{name}.json")


@pytest.mark.parametrize("name", PLACES)
def test_the_prompt_and_the_seeds_are_found(name):
    prompts, seeds = PLACES[name]
    assert prompt_inputs(shipped(name)) == prompts
    assert seed_inputs(shipped(name)) == seeds


def test_two_prompts_are_not_guessed_between():
    with pytest.raises(WorkflowError, match=r"5\.prompt, 6\.prompt"):
        filled(shipped("03_tiny_motion_library"), JobText(prompt="red star plain"))


@pytest.mark.parametrize("path", WITH_REFERENCE, ids=lambda path: path.stem)
def test_a_reference_takes_the_place_of_the_workflows_own(path, tmp_path):
    workflow = read_workflow(path)
    before = copy.deepcopy(workflow)
    graph = filled(workflow, JobText(reference=tmp_path / "clip.mp4"))
    assert workflow == before
    encoders = of_type(graph, "FastVMTEncodeReference")
    loaders = [each for each in of_type(graph, "LoadVideo") if graph[each]["inputs"]["file"].endswith("clip.mp4")]
    assert len(loaders) == 1 and encoders
    for encoder in encoders:
        assert loaders[0] in motions.upstream(graph, encoder)


def cached(tmp_path, key="k" * 32):
    return motions.keep(tmp_path, key, {"motion.safetensors": b"motion"}, {"1": 128, "2": 96, "3": 17, "5": 16.0})


def test_a_motion_is_taken_out_of_a_graph(tmp_path):
    graph = shipped("10_text_to_video")
    ((inverter, key),) = motions.keys_of(graph).items()
    part = motions.extraction(graph, inverter, key)
    types = {node["class_type"] for node in part.values()}
    assert {"FastVMTInvertMotion", "FastVMTSaveMotion", "VAEDecode", "SaveVideo"} <= types
    assert not types & {"FastVMTSampler", "KSampler", "EmptyHunyuanLatentVideo"}
    made = motions.with_motions(graph, {inverter: cached(tmp_path)})
    # Nothing of the reference is left for the job to do.
    ends = motions.upstream(made, "15")
    assert {made[identity]["class_type"] for identity in ends}.isdisjoint({"FastVMTEncodeReference", "LoadVideo"})
    assert made["11"]["inputs"] == {"width": 128, "height": 96, "length": 17, "batch_size": 1}
    assert made["14"]["inputs"]["fps"] == 16.0
    (loader,) = of_type(made, "FastVMTLoadMotion")
    assert made["12"]["inputs"]["motion"] == [loader, 0]


def test_a_job_that_starts_from_the_reference_still_gets_its_latent(tmp_path):
    graph = shipped("11_start_from_reference")
    ((inverter, _),) = motions.keys_of(graph).items()
    made = motions.with_motions(graph, {inverter: cached(tmp_path)})
    (sampler,) = of_type(made, "FastVMTSampler")
    assert of_type({each: made[each] for each in motions.upstream(made, sampler)}, "FastVMTEncodeReference")


def test_a_key_knows_content_and_settings_but_no_ids():
    graph = shipped("10_text_to_video")
    (key,) = motions.keys_of(graph).values()
    text = json.dumps(graph).replace('"10"', '"ten"').replace('"6"', '"six"')
    assert list(motions.keys_of(json.loads(text)).values()) == [key]
    graph["10"]["inputs"]["window"] = 9
    assert list(motions.keys_of(graph).values()) != [key]


def test_the_guided_video_is_the_one_that_is_shown():
    graph = shipped("04_tiny_fidelity_report")
    assert motions.main_saver(graph) == "14"
    judged = motions.with_fidelity(graph, "clip.mp4")
    assert judged["batch_fidelity"]["inputs"]["generated"] == ["12", 0]


def test_a_workflow_without_motion_just_runs():
    graph = shipped("10_text_to_video")
    plain = {each: graph[each] for each in ("1", "7")}
    assert motions.keys_of(plain) == {} and motions.main_video(plain) is None
    assert motions.with_fidelity(plain, "clip.mp4") == plain


def test_the_cache_has_a_motion_whole_or_not(tmp_path):
    assert motions.find(tmp_path, "k" * 32) is None
    kept = cached(tmp_path)
    assert motions.find(tmp_path, "k" * 32) == kept and kept.clip is None
    # Another driver was quicker: its files stay, nothing else is left behind.
    motions.keep(tmp_path, "k" * 32, {"motion.safetensors": b"other"}, {})
    assert (kept.folder / "motion.safetensors").read_bytes() == b"motion"
    assert [path.name for path in tmp_path.iterdir()] == ["k" * 32]
