"""What the page gets to know of our nodes. docs/stability.md has the promises, promises.json the record of them."""

import json
from pathlib import Path

import pytest

from fastvmt_core.config import AMFConfig, ClipConfig, GuidanceConfig, InversionConfig
from fastvmt_core.presets import PAPER_LOSS_WEIGHTS, PRESETS

PROMISES = json.loads(Path(__file__).with_name("promises.json").read_text(encoding="utf-8"))
"""Node -> required and optional inputs and outputs in order: (name, type) and, of a list, its choices. Append only."""
NODES = [name for name in PROMISES if name.startswith("FastVMT")]
MENU = {
    "motion": {
        *("EncodeReference", "InvertMotion", "SaveMotion", "LoadMotion", "PreviewMotion", "EditMotion", "BlendMotion"),
        *("MaskMotion", "RefreshMotion", "DrawMotion", "MotionFromTracks", "MotionToTracks"),
    },
    "guidance": {"LossWeights", "ApplyMotion", "Sampler", "DecodeShots", "Objective", "PlaceSubject"},
    "evaluate": {"MotionFidelity", "FindBlock", "Compare", "SaveVideoCredentials", "CheckVideo"},
}
SOCKETS = {
    *("VAE", "IMAGE", "MASK", "MODEL", "LATENT", "CONDITIONING", "SIGMAS", "CLIP_VISION", "VIDEO", "CURVE"),
    *("FASTVMT_MOTION", "FASTVMT_LOSS_WEIGHTS", "FASTVMT_OBJECTIVE", "TRACKS"),
}
ADVANCED = {
    "FastVMTApplyMotion": {
        *("inner_steps", "lr_start", "lr_end", "gradient_interval", "end_percent"),
        *("optimizer", "every", "resolution", "start_frame"),
    },
    "FastVMTInvertMotion": {
        *("temporal_span", "tile_height", "tile_width", "sharpness", "centre", "more_blocks", "chunk_length"),
    },
    "FastVMTLossWeights": {"distance_decay", "self_pairs"},
    "FastVMTEncodeReference": {"target_fps"},
}


@pytest.fixture(scope="module")
def info(server):
    from tools.host.client import Client

    with Client(server.url) as client:
        return client.object_info()


def inputs_of(entry):
    return {**entry["input"]["required"], **entry["input"].get("optional", {})}


def widgets_of(entry):
    return {name: spec for name, spec in inputs_of(entry).items() if spec[0] not in SOCKETS}


def described(spec):
    """(type, choices) of an input, whichever form the server gives a list in."""
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    return ("COMBO", kind) if isinstance(kind, list) else (kind, options.get("options", []))


def test_the_server_has_our_nodes_and_no_others_of_ours(info):
    assert {name for name in info if name.startswith(("FastVMT", "TinyWan"))} == set(PROMISES)


def test_the_menu_has_four_parts(info):
    parts = {part: {name for name in PROMISES if info[name]["category"] == f"FastVMT/{part}"} for part in MENU}
    assert parts == {part: {f"FastVMT{name}" for name in names} for part, names in MENU.items()}
    assert {name for name in PROMISES if info[name]["category"] == "FastVMT/demo"} == {"TinyWanLoader", "TinyWanPrompt"}


@pytest.mark.parametrize("name", PROMISES)
def test_what_saved_workflows_hold_is_still_there(info, name):
    entry = info[name]
    for part in ("required", "optional"):
        declared = entry["input"].get(part, {})
        order = entry["input_order"].get(part, [])
        promised = PROMISES[name][part]
        # A saved workflow holds widgets by position: this list may only grow at its end.
        assert order[: len(promised)] == [row[0] for row in promised]
        # And with required ones, which an older workflow would lack, not even there.
        assert part == "optional" or len(order) == len(promised)
        for key, kind, *choices in promised:
            now, now_choices = described(declared[key])
            assert now == kind
            # Recorded whole: a choice that is not recorded would not be promised.
            assert not choices or now_choices == choices[0]
    outputs = [list(pair) for pair in zip(entry["output_name"], entry["output"], strict=True)]
    assert outputs[: len(PROMISES[name]["outputs"])] == PROMISES[name]["outputs"]


@pytest.mark.parametrize("name", PROMISES)
def test_every_input_and_output_explains_itself(info, name):
    assert [key for key, spec in inputs_of(info[name]).items() if not spec[1].get("tooltip")] == []
    assert all(info[name]["output_tooltips"])
    assert info[name]["description"]
    assert info[name]["display_name"].startswith("FastVMT ") or info[name]["display_name"].endswith(" (demo)")


def test_seldom_used_inputs_are_advanced(info):
    for name in NODES:
        marked = {key for key, spec in inputs_of(info[name]).items() if spec[1].get("advanced")}
        assert marked == ADVANCED.get("FastVMTApplyMotion" if name == "FastVMTSampler" else name, set()), name
    assert [name for name in PROMISES if info[name]["experimental"]] == ["FastVMTFindBlock"]


def test_the_pages_defaults_are_the_configs(info):
    page = {name: {key: spec[1].get("default") for key, spec in widgets_of(info[name]).items()} for name in NODES}
    flow, reading, clip = AMFConfig(), InversionConfig(), ClipConfig()
    assert page["FastVMTInvertMotion"] == {
        "seed": 0,
        "reference_sigma": reading.reference_sigma,
        "block": reading.block,
        "window": flow.window,
        "temporal_span": flow.temporal_span,
        "tile_height": flow.tile[0],
        "tile_width": flow.tile[1],
        "sharpness": flow.sharpness,
        "centre": flow.centre,
        "more_blocks": "",
        "cuts": reading.cuts,
        "chunk_length": reading.chunk_length,
    }
    # 0: the model's own rate.
    assert page["FastVMTEncodeReference"] == {**vars(clip), "target_fps": 0.0, "tiled": False}
    weights = page["FastVMTLossWeights"]
    # A curve without points is an empty text.
    assert PAPER_LOSS_WEIGHTS.curve == () and weights.pop("curve") == ""
    assert weights == {name: getattr(PAPER_LOSS_WEIGHTS, name) for name in weights}
    guidance = page["FastVMTApplyMotion"]
    assert (guidance.pop("preset"), guidance.pop("start_frame")) == ("paper", 0)
    assert guidance == {name: getattr(GuidanceConfig(), name) for name in guidance}
    canvas = {"width": clip.width, "height": clip.height, "length": clip.length, "fps": clip.target_fps}
    assert page["FastVMTDrawMotion"] == {"drawing": "", **canvas, "mask_of": 0}
    assert page["FastVMTMotionFromTracks"] == {**canvas, "radius": 0.1, "coordinates": ""}
    # The two nodes that guide ask for the same.
    assert page["FastVMTSampler"].items() >= page["FastVMTApplyMotion"].items()


def test_a_node_starts_with_something_that_works(info):
    defaults = {
        name: {key: spec[1].get("default") for key, spec in widgets_of(info[f"FastVMT{name}"]).items()}
        for name in ("EditMotion", "BlendMotion")
    }
    assert (defaults["EditMotion"]["edit"], defaults["EditMotion"]["amount"]) == ("amplify", 1.5)
    assert (defaults["BlendMotion"]["blend"], defaults["BlendMotion"]["weight"]) == ("weight", 0.5)


def test_the_page_knows_what_each_preset_sets(info):
    _, options = inputs_of(info["FastVMTApplyMotion"])["preset"]
    assert set(options["presets"]) == set(PRESETS)
    assert sorted(options["options"]) == sorted([*PRESETS, "custom"])
    for name, values in options["presets"].items():
        assert values == {key: getattr(PRESETS[name], key) for key in values}
        # At which size gradients are evaluated is for the card's memory, and where it begins for the video.
        assert set(values) == ADVANCED["FastVMTApplyMotion"] - {"resolution", "start_frame"}
    assert "never run on real Wan" in options["tooltip"]


def test_a_gradient_interval_of_zero_can_be_chosen(info):
    _, options = inputs_of(info["FastVMTApplyMotion"])["gradient_interval"]
    assert options["min"] == 0 and "0: adaptive" in options["tooltip"]
