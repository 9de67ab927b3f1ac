"""Each number and choice of each node at its limits and past them, as a link or a script can give it."""

import json
import math

import pytest
import torch

from tests.host.draws import RefusedError, run
from tests.host.runs import noise

GRID = (3, 4, 4)
SLOW_AT_THEIR_MOST = {"steps", "inner_steps", "width", "height", "length", "sharpness", "radius", "chunk_length"}
"""Their largest values only take time or memory: 4097 frames, 8192 pixels."""
DRAWING = {"objects": [{"ellipse": [0.3, 0.5, 0.1, 0.1], "path": [[0.3, 0.5], [0.7, 0.5]]}]}
NODES = {
    "reference.FastVMTEncodeReference": {"frames", "vae"},
    "inversion.FastVMTInvertMotion": {"model", "reference", "empty_prompt"},
    "weights.FastVMTLossWeights": set(),
    "guidance.FastVMTApplyMotion": {"model", "motion"},
    "sampler.FastVMTSampler": {"model", "motion", "positive", "negative", "latent_image"},
    "motion_edit.FastVMTEditMotion": {"motion"},
    "motion_edit.FastVMTBlendMotion": {"motion_a", "motion_b"},
    "motion_edit.FastVMTMaskMotion": {"motion", "mask"},
    "motion_file.FastVMTSaveMotion": {"motion"},
    "motion_preview.FastVMTPreviewMotion": {"motion"},
    "refresh.FastVMTRefreshMotion": {"model", "motion", "empty_prompt"},
    "draw_motion.FastVMTDrawMotion": set(),
    "tracks.FastVMTMotionFromTracks": set(),
    "tracks.FastVMTMotionToTracks": {"motion"},
    "objective.FastVMTObjective": set(),
}
"""Each node with numbers or choices, and the inputs that are connected."""
SMALL = {"width": 64, "height": 64, "length": 5, "steps": 1, "inner_steps": 1, "block": 2, "window": 5, "name": "walk"}
"""Instead of the defaults, in every node."""


@pytest.fixture(scope="module")
def connected(pack, tiny_model, vae, empty_prompt):
    """What each input gets."""
    frames = torch.rand(5, 64, 64, 3, generator=torch.Generator().manual_seed(1))
    reference = {"samples": noise(1, GRID)}
    invert = pack("nodes.inversion").FastVMTInvertMotion
    motion = run(invert, **widgets_of(invert), model=tiny_model, reference=reference, empty_prompt=empty_prompt)[0]
    links = dict.fromkeys(("motion", "motion_a", "motion_b"), motion)
    links |= dict.fromkeys(("empty_prompt", "positive", "negative"), empty_prompt)
    return links | {
        "frames": frames,
        "vae": vae,
        "model": tiny_model,
        "reference": reference,
        "latent_image": {"samples": noise(2, GRID)},
        "mask": torch.ones(1, 64, 64),
    }


def widgets_of(node):
    """A node's widgets with values that work."""
    values = {each.id: getattr(each, "default", None) for each in node.define_schema().inputs}
    values = {name: value for name, value in values.items() if value is not None}
    for each in node.define_schema().inputs:
        if each.get_io_type() == "COMBO":
            values[each.id] = values.get(each.id, each.options[0])
    return values | {name: value for name, value in SMALL.items() if name in values} | special(node)


def special(node):
    """Values without which a node does nothing."""
    return {
        "FastVMTApplyMotion": {"preset": "custom"},
        "FastVMTSampler": {"preset": "custom", "end_percent": 1.0},
        "FastVMTDrawMotion": {"drawing": json.dumps(DRAWING)},
        "FastVMTMotionFromTracks": {"coordinates": json.dumps([[{"x": 8, "y": 8}, {"x": 40, "y": 8}]])},
    }.get(node.define_schema().node_id, {})


def tried(widget):
    """Values at and past a widget's limits."""
    kind = widget.get_io_type()
    if kind == "COMBO":
        return ["", "no such", "../" + str(widget.options[0])]
    if kind not in ("INT", "FLOAT"):
        return []
    number = int if kind == "INT" else float
    largest = [] if widget.id in SLOW_AT_THEIR_MOST else [number(each) for each in (widget.max, widget.max + 1, 2**70)]
    return [widget.min, widget.min - 1, *largest, *([math.nan, math.inf] if kind == "FLOAT" else [])]


@pytest.mark.parametrize("name", NODES)
def test_a_number_past_its_limits_is_a_result_or_a_named_error(pack, connected, name, monkeypatch, tmp_path):
    import folder_paths

    folder = pack("nodes.host.files.motion_folder")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, folder.FOLDER, ([str(tmp_path)], {folder.ENDING}))
    module, _, kind = name.partition(".")
    node = getattr(pack(f"nodes.{module}"), kind)
    given = {**widgets_of(node), **{link: connected[link] for link in NODES[name]}}
    # What is tried one by one would fail for another reason if this did.
    run(node, **given)
    refused = 0
    for widget in node.define_schema().inputs:
        for value in tried(widget):
            try:
                outputs = run(node, **{**given, widget.id: value})
            except RefusedError as error:
                refused += 1
                # The longest lists all samplers.
                assert len(str(error)) < 1000, widget.id
                continue
            assert all(torch.isfinite(each).all() for each in outputs if torch.is_tensor(each)), (widget.id, value)
    assert refused > 0


def test_a_denoise_that_asks_for_an_endless_schedule_is_refused(pack, connected):
    node = pack("nodes.sampler").FastVMTSampler
    links = {link: connected[link] for link in NODES["sampler.FastVMTSampler"]}
    with pytest.raises(RefusedError, match="denoise: expected 0 or at least"):
        run(node, **{**widgets_of(node), **links, "denoise": 1e-300})


def test_a_feather_too_small_to_soften_anything_is_none(pack, connected):
    node = pack("nodes.motion_edit").FastVMTMaskMotion
    mask = torch.zeros(1, 64, 64)
    mask[..., 32:] = 1
    hard, soft = (
        run(node, motion=connected["motion"], mask=mask, feather=feather, invert=False)[0].mask
        for feather in (0.0, 1e-200)
    )
    assert torch.equal(hard, soft)


@pytest.mark.parametrize("shape", [(5, 33, 51, 3), (5, 64, 64, 4), (1, 2, 2, 3)])
def test_a_video_of_odd_size_or_with_alpha_is_compared(pack, monkeypatch, tmp_path, shape):
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    clip = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    node = pack("nodes.compare").FastVMTCompare
    (file,) = run(node, guided=clip, reference=clip, fps=8.0, filename_prefix="compared")
    assert f"{shape[2] // 2 * 2} x {shape[1] // 2 * 2} pixels" in open(file, encoding="utf-8").read()


def test_a_name_without_room_for_a_number_is_not_compared(pack, monkeypatch, tmp_path):
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    clip = torch.rand(1, 8, 8, 3)
    with pytest.raises(RefusedError, match="^filename_prefix: expected a name of at most 237 bytes"):
        run(pack("nodes.compare").FastVMTCompare, guided=clip, reference=clip, fps=8.0, filename_prefix="w" * 250)


def test_a_video_of_one_pixel_is_not_compared(pack):
    clip = torch.rand(5, 1, 8, 3)
    with pytest.raises(RefusedError, match="guided: expected at least 2 x 2 pixels, got 8 x 1"):
        run(pack("nodes.compare").FastVMTCompare, guided=clip, reference=clip, fps=8.0, filename_prefix="compared")


def test_only_freeze_and_trim_ask_for_frames(pack, connected):
    edit, motion = pack("nodes.motion_edit").FastVMTEditMotion, connected["motion"]
    given = {"motion": motion, "amount": 1.0, "freeze_from": -5, "freeze_to": 0}
    with pytest.raises(
        RefusedError, match="^freeze_from, freeze_to: expected frames of the clip in order, .* -5 and 0"
    ):
        run(edit, edit="freeze", **given)
    assert run(edit, edit="reverse", **given)[0].grid == motion.grid


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((8192, 8192, 0), "^width, height, length: expected at most 600,000,000 pixels in all frames, got 603,979,776"),
        ((8192, 8192, 4097), "^width, height, length: expected at most 600,000,000 pixels"),
        ((0, 0, 4), "^length: expected 0 or from 5 to 4097 frames, got 4"),
        ((0, 0, 2**70), "^length: expected 0 or from 5 to 4097 frames"),
    ],
)
def test_a_size_that_is_too_much_to_read_is_refused_before_anything_is_read(pack, connected, size, says):
    links = {link: connected[link] for link in NODES["refresh.FastVMTRefreshMotion"]}
    with pytest.raises(RefusedError, match=says):
        run(
            pack("nodes.refresh").FastVMTRefreshMotion,
            **links,
            **dict(zip(("width", "height", "length"), size, strict=True)),
        )


@pytest.mark.parametrize("shape", [(0, 16, 3, 8, 8), (1, 16, 0, 8, 8), (1, 16, 8, 8)])
def test_what_is_no_videos_latent_is_not_decoded(pack, connected, shape):
    given = {"samples": {"samples": torch.ones(shape)}, "vae": connected["vae"], "motion": connected["motion"]}
    with pytest.raises(RefusedError, match="^samples: expected a video latent"):
        run(pack("nodes.decode").FastVMTDecodeShots, **given, tiled=False)
