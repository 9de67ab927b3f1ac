"""Our nodes in chains, widgets at and past their limits, clips of any size and kind: a result, or a named error."""

import json
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.host.draws import DTYPES, ENDS, Given, RefusedError, clip_of, drawn, mask_of, noise_of, run, tracks_of

# With the few draws of the quick profile some node gives fewer results than the nodes' last check asks for.
pytestmark = pytest.mark.slow
MODULES = (
    "reference inversion motion_edit refresh motion_preview weights sampler decode motion_fidelity motion_file "
    "draw_motion tracks objective compare"
)


@pytest.fixture(scope="module")
def nodes(pack):
    """Our node classes by their name, without the pack's prefix; draws that are all refused would show nothing."""
    found = {}
    for module in MODULES.split():
        found |= {
            name.removeprefix("FastVMT"): value
            for name, value in vars(pack(f"nodes.{module}")).items()
            if name.startswith("FastVMT")
        }
    ENDS.clear()
    yield SimpleNamespace(**found)
    assert [name for name, _ in ENDS if ENDS[name, "gave a result"] < 5 <= ENDS[name, "refused"]] == []


@pytest.fixture(scope="module")
def folders(pack, tmp_path_factory):
    """The nodes' folders, in a place of the tests' own."""
    import folder_paths

    here, motions = tmp_path_factory.mktemp("host"), pack("nodes.host.files.motion_folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(folder_paths.folder_names_and_paths, motions.FOLDER, ([str(here / "motions")], {motions.ENDING}))
        patch.setattr(folder_paths, "output_directory", str(here / "output"))
        folder_paths.filename_list_cache.pop(motions.FOLDER, None)
        yield here
    folder_paths.filename_list_cache.pop(motions.FOLDER, None)


@pytest.fixture(scope="module")
def motions(nodes, tiny_model, empty_prompt):
    """Motions of several grids and settings, read as the node reads them."""
    found = []
    for shape, settings in (((3, 8, 8), {}), ((4, 6, 10), {"tile_width": 3}), ((2, 8, 4), {"centre": "argmax"})):
        latent = torch.randn(1, 16, *shape, generator=torch.Generator().manual_seed(1))
        widgets = {each.id: each.default for each in nodes.InvertMotion.define_schema().inputs if hasattr(each, "min")}
        widgets |= {"block": 3, "window": 5, "tile_height": 2, "tile_width": 2, "centre": "self"} | settings
        read = {**widgets, "cuts": "ignore", "model": tiny_model, "empty_prompt": empty_prompt}
        found.append(run(nodes.InvertMotion, reference={"samples": latent}, **read)[0])
    return found


def require_motion(motion):
    """Every tensor of a motion is finite; its shapes it checks itself."""
    assert all(torch.isfinite(tensor).all() for tensor in motion.as_file().tensors.values())


@drawn(130)
@given(data=st.data())
def test_any_clip_is_encoded_and_read_or_refused(nodes, vae, tiny_model, empty_prompt, data):
    given_to = Given(data)
    encode, invert = nodes.EncodeReference, nodes.InvertMotion
    try:
        reference, width, height, length, *_ = run(
            encode, **given_to.to(encode, vae=vae, frames=clip_of(data.draw), target_fps=0.0, source_fps=0.0)
        )
        assert torch.isfinite(reference["samples"]).all() and width % 16 == height % 16 == 0 and length % 4 == 1
    except RefusedError:
        shape = data.draw(st.sampled_from([(16, 3, 8, 8), (16, 2, 2, 2), (16, 5, 2, 6), (48, 3, 8, 8), (16, 2, 1, 1)]))
        reference = {"samples": noise_of(data.draw, 1, *shape, dtype=data.draw(DTYPES))}
    objective = data.draw(st.sampled_from(nodes.Objective.define_schema().inputs[0].options))
    try:
        links = {"model": tiny_model, "reference": reference, "empty_prompt": empty_prompt}
        if data.draw(st.booleans()):
            links["objective"] = run(nodes.Objective, objective=objective)[0]
        if data.draw(st.integers(0, 3)) == 3:
            links["sigmas"] = noise_of(data.draw, data.draw(st.integers(0, 4)))
        motion, picture = run(
            invert, **given_to.to(invert, **links, block=data.draw(st.integers(-1, 6)), more_blocks="", sharpness=1.0)
        )
        require_motion(motion)
        assert torch.isfinite(picture).all()
    except RefusedError:
        return


def changed(given_to, nodes, model, empty_prompt, motion, others):
    """The motion after one node that changes it."""
    draw = given_to.draw
    kind = draw(st.sampled_from(["EditMotion"] * 4 + ["BlendMotion"] * 3 + ["MaskMotion", "RefreshMotion"]))
    node = getattr(nodes, kind)
    links = {
        "EditMotion": lambda: {"motion": motion},
        "BlendMotion": lambda: {"motion_a": motion, "motion_b": draw(st.sampled_from(others)), "mask": mask_of(draw)},
        "MaskMotion": lambda: {"motion": motion, "mask": mask_of(draw)},
        "RefreshMotion": lambda: {"motion": motion, "model": model, "empty_prompt": empty_prompt},
    }[kind]()
    (result,) = run(node, **given_to.to(node, **links))
    return result


@drawn(200)
@given(data=st.data())
def test_a_chain_of_five_ends_in_a_motion_or_a_named_error(nodes, motions, folders, tiny_model, empty_prompt, data):
    given_to, draw = Given(data), data.draw
    motion, before = draw(st.sampled_from(motions)), []
    for _ in range(5):
        try:
            motion = changed(given_to, nodes, tiny_model, empty_prompt, motion, [*motions, motion, *before])
        except RefusedError:
            continue
        require_motion(motion)
        before.append(motion)
    try:
        kept, name = run(nodes.SaveMotion, **given_to.to(nodes.SaveMotion, motion=motion, frames=clip_of(draw)))
        loaded, thumbnail, _ = run(nodes.LoadMotion, motion=name)
        for ours, theirs in zip(loaded.as_file().tensors.values(), kept.as_file().tensors.values(), strict=True):
            assert torch.equal(ours, theirs)
        assert torch.isfinite(thumbnail).all()
    except RefusedError:
        pass
    try:
        links = {"motion": motion} | ({"frames": clip_of(draw)} if draw(st.booleans()) else {})
        pictures, *_ = run(nodes.PreviewMotion, **given_to.to(nodes.PreviewMotion, **links))
        assert torch.isfinite(pictures).all() and 0 <= pictures.min() and pictures.max() <= 1
    except RefusedError:
        pass
    mirrored_twice_is_the_same(nodes, motion)


def mirrored_twice_is_the_same(nodes, motion):
    """Once the vectors that leave the frame, mirrored beside a static bias that is not, have been cut off."""
    mirrored = [motion]
    for _ in range(4):
        edit = {"edit": "mirror left and right", "amount": 1.0, "freeze_from": 0, "freeze_to": 0}
        mirrored += run(nodes.EditMotion, motion=mirrored[-1], **edit)
    # Vectors of a few tokens beyond a static bias and back, in float32.
    difference = (mirrored[4].flows[0].displacement - mirrored[2].flows[0].displacement).abs().max()
    assert difference < 1e-4


@drawn(50)
@given(data=st.data())
def test_a_guided_run_ends_in_a_latent_or_a_named_error(nodes, motions, tiny_model, vae, empty_prompt, data):
    given_to, draw = Given(data), data.draw
    shape = draw(st.integers(1, 2)), draw(st.sampled_from([16] * 9 + [48])), draw(st.sampled_from([1, 2, 3, 5]))
    size = [draw(st.sampled_from([2, 7, 8, 12])) for _ in range(2)]
    latent = {"samples": noise_of(draw, *shape, *size, dtype=draw(DTYPES)) - 0.5}
    links = {"positive": empty_prompt, "negative": empty_prompt, "latent_image": latent, "model": tiny_model}
    try:
        (weights,) = run(nodes.LossWeights, **given_to.to(nodes.LossWeights))
        links["weights"] = weights
    except RefusedError:
        pass
    try:
        preset = draw(st.sampled_from(["custom", "custom", "draft", "fast"]))
        sampled, log = run(
            nodes.Sampler, **given_to.to(nodes.Sampler, **links, motion=draw(st.sampled_from(motions)), preset=preset)
        )
        # An empty latent, all zeros, gets the model's 16 channels from the host; any other of 48 is refused.
        assert sampled["samples"].shape == (shape[0], 16, shape[2], *size)
        json.loads(log)
        shown = {"samples": sampled, "vae": vae, "motion": draw(st.sampled_from(motions))}
        pixels, _ = run(nodes.DecodeShots, **shown, tiled=draw(st.booleans()))
        assert pixels.ndim == 4
    except RefusedError:
        return


@drawn(120)
@given(data=st.data())
def test_a_drawing_tracks_and_clips_are_shown_and_judged_or_refused(nodes, motions, folders, data):
    given_to, draw = Given(data), data.draw
    (name, links) = draw(st.sampled_from(sorted(TOOLS.items())))
    if name == "MotionFidelity":
        pytest.importorskip("cv2")
    node = getattr(nodes, name)
    try:
        for output in run(node, **given_to.to(node, **links(draw, motions))):
            assert not torch.is_tensor(output) or torch.isfinite(output).all()
    except RefusedError:
        return


COORDINATES = st.integers(-5, 5) | st.floats(-2, 2, width=32) | st.sampled_from([None, "a", 1e300])
PATHS = st.lists(st.lists(COORDINATES, min_size=1, max_size=3), max_size=4)
SHAPES = st.fixed_dictionaries(
    {},
    optional={
        "ellipse": st.sampled_from([[0.3, 0.5, 0.1, 0.1], [0, 0, 0, 0], [9, 9, 1, 1], 3, [0.5, 0.5, 1e-9, 2]]),
        "lasso": PATHS,
        "mask": st.sampled_from([0, 1, 2, -1, 1e9, "1"]),
        "path": PATHS | st.just([[0.3, 0.5], [0.7, 0.5]]),
    },
)
DRAWINGS = st.fixed_dictionaries({"objects": st.lists(SHAPES, max_size=9)}, optional={"camera": PATHS | st.just({})})


def drawing_links(draw, motions):
    good = {"objects": [{"ellipse": [0.3, 0.5, 0.1, 0.1], "path": [[0.3, 0.5], [0.7, 0.5]]}]}
    text = json.dumps(draw(DRAWINGS), allow_nan=True)
    good = json.dumps(good)
    links = {"drawing": draw(st.sampled_from([good] * 10 + [text] * 5 + ["[]", "{}", "null", "[" * 5000, "NaN"]))}
    return links | sizes(draw) | pictures(draw, {"picture": clip_of, "masks": mask_of})


def track_links(draw, motions):
    links = {"coordinates": ""}
    if usually(draw):
        links["coordinates"] = json.dumps([[{"x": 20 + 2 * step, "y": 30} for step in range(17)]])
    elif draw(st.booleans()):
        links["tracks"] = tracks_of(draw)
    else:
        points = st.fixed_dictionaries({"x": COORDINATES, "y": COORDINATES})
        links["coordinates"] = json.dumps(draw(st.lists(st.lists(points, max_size=3), max_size=3)))
    return links | sizes(draw) | pictures(draw, {"picture": clip_of})


def sizes(draw):
    return {"width": 64, "height": 64, "length": 9} if usually(draw) else {}


def usually(draw):
    """True in most draws: small numbers are drawn most."""
    return draw(st.integers(0, 3)) < 3


def pictures(draw, kinds):
    return {name: make(draw) for name, make in kinds.items() if draw(st.integers(0, 2)) == 2}


def judged(draw, motions):
    return {"generated": clip_of(draw), "reference": clip_of(draw)}


def compared(draw, motions):
    clips = {"guided": clip_of(draw), "reference": clip_of(draw)}
    texts = {"report": "", "loss_log": "", "filename_prefix": "compare"} if usually(draw) else {}
    return clips | texts | {"motion": draw(st.sampled_from([None, *motions]))}


def of_a_motion(draw, motions):
    return {"motion": draw(st.sampled_from(motions))} | (
        {"spacing": 1, "width": 64, "height": 64} if usually(draw) else {}
    )


TOOLS = {
    "DrawMotion": drawing_links,
    "MotionFromTracks": track_links,
    "MotionToTracks": of_a_motion,
    "MotionFidelity": judged,
    "Compare": compared,
}
"""Nodes beside the path of a run, and what is connected to them."""
