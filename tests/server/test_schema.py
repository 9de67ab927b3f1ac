"""What the page is told about our nodes."""

import pytest

from fastvmt_core.config import AMFConfig, ClipConfig, GuidanceConfig, InversionConfig
from fastvmt_core.presets import PAPER_LOSS_WEIGHTS

NODES = {
    "FastVMTSaveMotion": (["motion"], ["motion", "file"]),
    "FastVMTLoadMotion": ([], ["motion", "thumbnail", "report"]),
    "FastVMTPreviewMotion": (["motion"], ["pictures", "report"]),
    "FastVMTEditMotion": (["motion"], ["motion"]),
    "FastVMTBlendMotion": (["motion_a", "motion_b"], ["motion"]),
    "FastVMTMaskMotion": (["motion", "mask"], ["motion"]),
    "FastVMTMotionFidelity": (["generated", "reference"], ["fidelity", "report", "tracks"]),
    "FastVMTRefreshMotion": (["model", "motion", "empty_prompt"], ["motion"]),
    "FastVMTDecodeShots": (["samples", "vae", "motion"], ["frames", "report"]),
    "FastVMTEncodeReference": (["vae", "frames"], ["reference", "width", "height", "length", "report"]),
    "FastVMTInvertMotion": (["model", "reference", "empty_prompt"], ["motion"]),
    "FastVMTLossWeights": ([], ["weights"]),
    "FastVMTApplyMotion": (["model", "motion"], ["MODEL"]),
    "FastVMTFindBlock": (["model", "vae", "empty_prompt"], ["block", "reference_sigma", "heat_map", "report"]),
    "FastVMTSampler": (["model", "motion", "positive", "negative", "latent_image"], ["latent", "loss_log"]),
}
WIDGET_ORDER = {
    "FastVMTSaveMotion": ["name", "note", "keep_reference", "replace", "fps"],
    "FastVMTLoadMotion": ["motion"],
    "FastVMTPreviewMotion": ["view", "show"],
    "FastVMTEditMotion": ["edit", "amount", "freeze_from", "freeze_to"],
    "FastVMTBlendMotion": ["blend", "weight", "feather"],
    "FastVMTMaskMotion": ["feather", "invert"],
    "FastVMTMotionFidelity": ["spacing"],
    "FastVMTRefreshMotion": ["width", "height", "length"],
    "FastVMTDecodeShots": ["tiled"],
    "FastVMTEncodeReference": ["width", "height", "length", "fit", "source_fps", "target_fps", "tiled"],
    "FastVMTInvertMotion": [
        "seed",
        "reference_sigma",
        "block",
        "window",
        "temporal_span",
        "tile_height",
        "tile_width",
        "sharpness",
        "centre",
        "more_blocks",
        "cuts",
    ],
    "FastVMTLossWeights": ["amf", "consistency", "distance_decay", "self_pairs", "schedule", "released_scale", "curve"],
    "FastVMTApplyMotion": [
        "inner_steps",
        "lr_start",
        "lr_end",
        "gradient_interval",
        "end_percent",
        "strength",
        "memory",
        "preset",
    ],
    "FastVMTFindBlock": ["sigmas", "width", "height", "length", "seed", "blocks"],
    "FastVMTSampler": [
        "seed",
        "steps",
        "cfg",
        "sampler_name",
        "scheduler",
        "denoise",
        "inner_steps",
        "lr_start",
        "lr_end",
        "gradient_interval",
        "end_percent",
        "strength",
        "memory",
        "preset",
    ],
}
SOCKETS = {
    *("VAE", "IMAGE", "MASK", "MODEL", "LATENT", "CONDITIONING", "SIGMAS", "CLIP_VISION"),
    *("FASTVMT_MOTION", "FASTVMT_LOSS_WEIGHTS"),
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


def test_the_server_has_our_nodes_and_no_others_of_ours(info):
    assert {name for name in info if name.startswith("FastVMT")} == set(NODES)
    assert {info[name]["category"] for name in NODES} == {"FastVMT"}


@pytest.mark.parametrize("name", NODES)
def test_sockets_widgets_and_outputs_keep_their_order(info, name):
    sockets, outputs = NODES[name]
    entry = info[name]
    assert [socket for socket in entry["input"]["required"] if inputs_of(entry)[socket][0] in SOCKETS] == sockets
    # A saved workflow holds widgets by position: this list may only grow at its end.
    assert list(widgets_of(entry))[: len(WIDGET_ORDER[name])] == WIDGET_ORDER[name]
    assert entry["output_name"] == outputs


@pytest.mark.parametrize("name", NODES)
def test_every_input_explains_itself(info, name):
    silent = [key for key, spec in inputs_of(info[name]).items() if not spec[1].get("tooltip")]
    assert silent == []
    assert info[name]["description"]
    assert info[name]["display_name"].startswith("FastVMT ")


def test_the_pages_defaults_are_the_configs(info):
    page = {name: {key: spec[1].get("default") for key, spec in widgets_of(info[name]).items()} for name in NODES}
    flow, where, clip = AMFConfig(), InversionConfig(), ClipConfig()
    assert page["FastVMTInvertMotion"] == {
        "seed": 0,
        "reference_sigma": where.reference_sigma,
        "block": where.block,
        "window": flow.window,
        "temporal_span": flow.temporal_span,
        "tile_height": flow.tile[0],
        "tile_width": flow.tile[1],
        "sharpness": flow.sharpness,
        "centre": flow.centre,
        "more_blocks": "",
        "cuts": where.cuts,
    }
    assert page["FastVMTEncodeReference"] == {**vars(clip), "tiled": False}
    for node, config in (("FastVMTLossWeights", PAPER_LOSS_WEIGHTS), ("FastVMTApplyMotion", GuidanceConfig())):
        expected = {key: getattr(config, key) for key in WIDGET_ORDER[node] if key not in ("curve", "memory", "preset")}
        assert page[node].items() >= expected.items()
    # A curve without points is an empty text.
    assert PAPER_LOSS_WEIGHTS.curve == () and page["FastVMTLossWeights"]["curve"] == ""
    # The two ways to guide are one.
    assert page["FastVMTSampler"].items() >= page["FastVMTApplyMotion"].items()


def test_a_gradient_interval_of_zero_can_be_chosen(info):
    _, options = inputs_of(info["FastVMTApplyMotion"])["gradient_interval"]
    assert options["min"] == 0 and "0: adaptive" in options["tooltip"]
