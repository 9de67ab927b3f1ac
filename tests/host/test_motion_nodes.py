"""Motions as the host's nodes make, change, keep and use them, on the demo's model."""

import json
import logging

import pytest
import torch

from tests.host.runs import noise, run_sampler
from tools.train.clips import make_clip

GRID = (3, 4, 4)
CLIPS = (1001, 1004, 1006)


@pytest.fixture(scope="module")
def invert(pack, tiny_model, vae, empty_prompt):
    """A clip's motion as the demo's graph reads it."""
    encode = pack("nodes.host.files.vae").encode_video
    config = pack("fastvmt_core.config").AMFConfig(temporal_span=4, window=5, tile=(2, 2))

    def read(frames):
        with torch.inference_mode():
            latent = encode(vae, frames, tiled=False)
            given = {"config": config, "blocks": (3,), "sigmas": (0.3,), "seed": 0, "cuts": "ignore"}
            return pack("nodes.host.reading.inversion").invert_motion(tiny_model, latent, empty_prompt, **given)

    return read


@pytest.fixture(scope="module")
def clips():
    return {seed: torch.from_numpy(make_clip(seed).frames) for seed in CLIPS}


@pytest.fixture(scope="module")
def motions(invert, clips):
    return {seed: invert(frames) for seed, frames in clips.items()}


def endpoint_error(edited, true):
    """Mean distance of two motions' displacements, tokens."""
    return float((edited.flows[0].displacement - true.flows[0].displacement).norm(dim=-1).mean())


def test_a_motion_holds_its_static_bias_and_both_directions_of_time(motions):
    for motion in motions.values():
        flow = motion.flows[0]
        assert motion.static_bias[0].shape == motion.backward[0].shape == flow.displacement.shape
        assert not motion.static_bias[0].is_inference() and not motion.backward[0].is_inference()
        # The static bias is no flow of the clip: without it, less is left.
        assert float((flow.displacement - motion.static_bias[0]).norm()) < float(flow.displacement.norm())


@pytest.mark.parametrize("edit", ["mirror", "reverse"])
def test_mirror_and_reverse_match_the_mirrored_and_reversed_frames(pack, invert, clips, motions, edit):
    change = getattr(pack("fastvmt_core.motion.edit"), edit)
    turn = {"mirror": lambda frames: frames.flip(2), "reverse": lambda frames: frames.flip(0)}[edit]
    errors = [endpoint_error(change(motions[seed]), invert(turn(clips[seed]))) for seed in CLIPS]
    assert max(errors) <= 0.5


def test_reading_an_unchanged_motion_again_gives_the_same(pack, tiny_model, empty_prompt, motions):
    motion = motions[CLIPS[0]]
    with torch.inference_mode():
        again = pack("nodes.host.reading.inversion").read_again(tiny_model, motion, empty_prompt)
    # The latent goes to the host's units and back.
    torch.testing.assert_close(again.flows[0].displacement, motion.flows[0].displacement, atol=1e-3, rtol=0)
    assert again.reference_hash == motion.reference_hash


def test_a_mirrored_motion_read_again_is_closer_to_the_mirrored_frames(pack, tiny_model, empty_prompt, invert, clips):
    read = pack("nodes.refresh").FastVMTRefreshMotion
    edit = pack("nodes.motion_edit").FastVMTEditMotion
    frames = clips[CLIPS[1]]
    motion, true = invert(frames), invert(frames.flip(2))
    with torch.inference_mode():
        mirrored = edit.execute(motion, "mirror left and right", 1.0, 0, 0).args[0]
        again = read.execute(tiny_model, mirrored, empty_prompt, 0, 0, 0).args[0]
        larger = read.execute(tiny_model, mirrored, empty_prompt, 192, 160, 25).args[0]
    assert endpoint_error(again, true) < endpoint_error(mirrored, true)
    assert larger.grid.as_tuple == (7, 10, 12) and larger.reference.shape[2:] == (7, 20, 24)


def test_a_trim_to_a_single_frame_of_the_latent_is_refused(pack, small_motion):
    edit = pack("nodes.motion_edit").FastVMTEditMotion
    with pytest.raises(ValueError, match="^freeze_to: expected at least frame 1 with trim from 0, got 0"):
        edit.execute(small_motion, "trim", 1.0, 0, 0)
    assert edit.execute(small_motion, "trim", 1.0, 0, 1).args[0].grid.frames == 2


def test_a_motion_without_its_latent_cannot_be_read_again(pack, tiny_model, empty_prompt, motions):
    import dataclasses

    bare = dataclasses.replace(motions[CLIPS[0]], reference=None)
    with pytest.raises(ValueError, match="motion: expected one that holds its reference's latent, got one without"):
        pack("nodes.host.reading.inversion").read_again(tiny_model, bare, empty_prompt)


@pytest.fixture
def small_motion(pack, tiny_model, prompt):
    """A motion of seeded noise, on a small grid."""
    config = pack("fastvmt_core.config").AMFConfig(temporal_span=2, window=3, tile=(2, 2))
    given = {"config": config, "blocks": (3,), "sigmas": (0.3,), "seed": 0, "cuts": "ignore"}
    with torch.inference_mode():
        return pack("nodes.host.reading.inversion").invert_motion(tiny_model, noise(1, GRID), prompt, **given)


def guided(pack, model, prompt, motion, start, rate=0.1):
    import comfy.k_diffusion.sampling

    core = pack("fastvmt_core.config")
    config = core.GuidanceConfig(inner_steps=1, lr_start=rate, lr_end=rate)
    guided_model = pack("nodes.host.sampling.wrapper").apply_motion(
        model, motion, core.LossWeights(consistency=0.0), config, None
    )
    return run_sampler(guided_model, prompt, comfy.k_diffusion.sampling.sample_euler, start, [1.0, 0.9])


@pytest.mark.parametrize(("grid", "warns"), [((3, 4, 5), False), ((5, 8, 8), True)])
def test_a_motion_of_another_size_is_fitted(pack, tiny_model, prompt, small_motion, caplog, grid, warns):
    import comfy.k_diffusion.sampling

    start = noise(2, grid)
    with caplog.at_level(logging.INFO):
        moved = guided(pack, tiny_model, prompt, small_motion, start)
    plain = run_sampler(tiny_model, prompt, comfy.k_diffusion.sampling.sample_euler, start, [1.0, 0.9])
    assert float((moved - plain).abs().median()) > 0.005
    warnings = [record for record in caplog.records if "is resampled to" in record.message]
    assert [record.levelno for record in warnings] == [logging.WARNING if warns else logging.INFO]


def test_a_mask_guides_only_its_part(pack, tiny_model, prompt, small_motion):
    masked = pack("fastvmt_core.motion.blend").masked
    left = torch.zeros(GRID)
    left[:, :, :2] = 1
    start = noise(2, GRID)
    whole, half = (
        guided(pack, tiny_model, prompt, motion, start) for motion in (small_motion, masked(small_motion, left))
    )
    assert float((whole - half).abs().max()) > 0.01
    # AdamW would move whatever has a gradient, and through attention all of the image has one.
    unguided = guided(pack, tiny_model, prompt, masked(small_motion, left), start, rate=0.0)

    def share(video):
        """How much more the left half is moved than the right one."""
        left_half, right_half = (
            (video - unguided)[..., columns].abs().median() for columns in (slice(4), slice(4, None))
        )
        return float(left_half / right_half)

    # Without a mask both halves move alike: 1.06 times, with it 8 times, on the shipped model.
    assert share(half) > 5 * share(whole)
    everywhere = guided(pack, tiny_model, prompt, masked(small_motion, torch.ones(GRID)), start)
    torch.testing.assert_close(everywhere, whole, atol=1e-4, rtol=0)


@pytest.fixture
def folders(pack, tmp_path, monkeypatch):
    """The nodes' folders, in a place of the test's own."""
    import folder_paths

    folder = pack("nodes.host.files.motion_folder")
    here = [str(tmp_path / "models"), str(tmp_path / "input")]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, folder.FOLDER, (here, {folder.ENDING}))
    folder_paths.filename_list_cache.pop(folder.FOLDER, None)
    yield tmp_path
    folder_paths.filename_list_cache.pop(folder.FOLDER, None)


def test_saving_and_loading_through_the_nodes(pack, motions, clips, folders):
    files = pack("nodes.motion_file")
    motion = motions[CLIPS[0]]
    frames = clips[CLIPS[0]]
    saved = files.FastVMTSaveMotion.execute(motion, "walk", "to the left", False, False, frames, 16.0)
    assert saved.args[1] == "walk.safetensors"
    assert files.FastVMTSaveMotion.execute(motion, "walk", "", False, False).args[1] == "walk_2.safetensors"
    assert (
        files.FastVMTSaveMotion.execute(motion, "walk", "to the left", False, True, frames, 16.0).args[1]
        == saved.args[1]
    )
    listed = files.FastVMTLoadMotion.define_schema().inputs[0].options
    assert listed == ["walk.safetensors", "walk_2.safetensors"]
    loaded, thumbnail, report = files.FastVMTLoadMotion.execute("walk.safetensors").args
    assert torch.equal(loaded.flows[0].displacement, motion.flows[0].displacement)
    assert loaded.reference is None and loaded.frame_flow.shape == (2, 4, 8, 8, 2)
    about = loaded.about
    assert (about.name, about.note, about.width, about.height, about.fps) == ("walk", "to the left", 128, 128, 16.0)
    assert thumbnail.shape == (1, 128, 128, 3) and float((thumbnail[0] - frames[8]).abs().mean()) < 0.01
    assert report.startswith("walk\nto the left\nFrom 128 x 128 pixels, 16 frames per second.\n17 frames of 128 x 128")


def test_a_note_that_no_file_can_hold_leaves_the_old_file(pack, motions, folders):
    files, motion = pack("nodes.motion_file"), motions[CLIPS[0]]
    files.FastVMTSaveMotion.execute(motion, "walk", "good", False, True)
    (file,) = folders.rglob("*.safetensors")
    before = file.read_bytes()
    with pytest.raises(ValueError, match="^note: expected characters that can be saved, got .* at place 6; delete it"):
        files.FastVMTSaveMotion.execute(motion, "walk", "half \ud800", False, True)
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


def test_the_ending_of_a_file_may_have_capitals(pack, motions, folders):
    files = pack("nodes.motion_file")
    files.FastVMTSaveMotion.execute(motions[CLIPS[0]], "walk", "", False, False)
    (file,) = folders.rglob("*.safetensors")
    file.rename(file.with_suffix(".SAFETENSORS"))
    (listed,) = files.FastVMTLoadMotion.define_schema().inputs[0].options
    assert listed == "walk.SAFETENSORS" and files.FastVMTLoadMotion.execute(listed)
    file.with_suffix(".SAFETENSORS").rename(file.with_suffix(".ckpt"))
    with pytest.raises(ValueError, match="motion: expected a .safetensors file"):
        files.FastVMTLoadMotion.execute("walk.ckpt")


@pytest.mark.parametrize("name", ["../walk", "/tmp/walk", "a/b", "CON", "walk\0", "..", ""])
def test_nothing_is_saved_or_loaded_outside_the_folder(pack, motions, folders, name):
    files = pack("nodes.motion_file")
    with pytest.raises(ValueError, match="name: expected a name"):
        files.FastVMTSaveMotion.execute(motions[CLIPS[0]], name, "", False, False)
    with pytest.raises(ValueError, match="motion: expected"):
        files.FastVMTLoadMotion.execute(name + ".safetensors" if name == "a/b" else name)
    assert not list(folders.rglob("*.safetensors"))


def test_a_changed_file_is_another_input(pack, motions, folders):
    files = pack("nodes.motion_file")
    files.FastVMTSaveMotion.execute(motions[CLIPS[0]], "walk", "", False, False)
    before = files.FastVMTLoadMotion.fingerprint_inputs("walk.safetensors")
    files.FastVMTSaveMotion.execute(motions[CLIPS[0]], "walk", "changed", True, True)
    assert before != files.FastVMTLoadMotion.fingerprint_inputs("walk.safetensors") != ""
    assert files.FastVMTLoadMotion.fingerprint_inputs("gone.safetensors") == ""


@pytest.fixture
def registered(pack, tmp_path, monkeypatch):
    """The folder module on a fresh install: empty folders of the user's, and what comes with the pack."""
    import folder_paths

    folder = pack("nodes.host.files.motion_folder")
    # Known to the host before us: from a user's extra_model_paths.yaml.
    known = {folder.FOLDER: ([str(tmp_path / "extra")], {".pt"})}
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", known)
    folder_paths.filename_list_cache.pop(folder.FOLDER, None)
    folder.register()
    yield folder
    folder_paths.filename_list_cache.pop(folder.FOLDER, None)


def test_what_comes_with_the_pack_is_listed_last_and_never_written(pack, motions, registered, tmp_path):
    folder, shipped = registered, "tiny_arc.safetensors"
    before = {path.name: path.read_bytes() for path in folder.SHIPPED.iterdir()}
    assert folder.names() == [shipped] and folder.find(shipped) == folder.SHIPPED / shipped
    folder.register()
    paths, endings = folder.folder_paths.folder_names_and_paths[folder.FOLDER]
    own = [str(tmp_path / name / folder.FOLDER) for name in ("models", "input")]
    assert paths == [*own, str(tmp_path / "extra"), str(folder.SHIPPED)] and endings == {".safetensors"}
    # A new one gets a number; one that is to be replaced is the user's own, which then stands before the pack's.
    motion = motions[CLIPS[0]]
    assert folder.save(motion, "tiny_arc", replace=False) == "tiny_arc_2.safetensors"
    assert folder.save(motion, "tiny_arc", replace=True) == shipped
    assert folder.find(shipped) == tmp_path / "models" / folder.FOLDER / shipped
    assert folder.names() == [shipped, "tiny_arc_2.safetensors"]
    assert {path.name: path.read_bytes() for path in folder.SHIPPED.iterdir()} == before


@pytest.mark.parametrize(
    "name", ["../reference.json", "../motions/tiny_arc.safetensors", "/tiny_arc.safetensors", ".."]
)
def test_nothing_leads_out_of_the_packs_own_folder(registered, name):
    with pytest.raises(ValueError, match="motion: expected"):
        registered.find(name)
    with pytest.raises(ValueError, match="motion: expected"):
        registered.find(str(registered.SHIPPED / "tiny_arc.safetensors"))


def test_a_link_out_of_the_packs_own_folder_is_refused(registered, tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (tmp_path / "secret.safetensors").write_bytes(b"x")
    (shipped / "link.safetensors").symlink_to(tmp_path / "secret.safetensors")
    monkeypatch.setattr(registered, "SHIPPED", shipped)
    registered.register()
    with pytest.raises(ValueError, match="a link that leads out of it"):
        registered.find("link.safetensors")


@pytest.mark.parametrize("view", ["arrows", "colours"])
@pytest.mark.parametrize("show", ["movement", "attention"])
def test_previews(pack, motions, clips, view, show):
    draw = pack("fastvmt_core.viz.motion_pictures").pictures_of
    pictures = draw(motions[CLIPS[0]], view, show, clips[CLIPS[0]])
    assert pictures.shape == (4, 256 + 64, 256, 3)
    assert float(pictures.min()) >= 0 and float(pictures.max()) <= 1
    assert float((pictures[0] - pictures[-1]).abs().mean()) > 0.005


def test_fidelity_of_a_clip_with_itself_and_with_others(pack, clips):
    pytest.importorskip("cv2")
    node = pack("nodes.motion_fidelity").FastVMTMotionFidelity
    for seed in CLIPS:
        frames = clips[seed]
        same, report, pictures = node.execute(frames, frames, 8).args
        assert same >= 0.99 and pictures.shape == (17, 128, 128 * 2 + 6, 3)
        found = json.loads(report)
        assert found["motion_fidelity"] == pytest.approx(same, abs=1e-6) and found["clip_temporal_consistency"] is None
        assert node.execute(frames, frames.flip(0), 8).args[0] < same


def test_clip_vision_adds_temporal_consistency(pack, clips):
    pytest.importorskip("cv2")

    class Colours:
        """A picture's mean colour for its embedding."""

        def encode_image(self, frames):
            return {"image_embeds": frames.mean((1, 2))}

    node = pack("nodes.motion_fidelity").FastVMTMotionFidelity
    report = json.loads(node.execute(clips[CLIPS[0]], clips[CLIPS[0]], 16, Colours()).args[1])
    assert 0.99 < report["clip_temporal_consistency"] <= 1


def test_blending_needs_a_mask_where_it_goes_by_one(pack, motions):
    node = pack("nodes.motion_edit").FastVMTBlendMotion
    first, second = (motions[seed] for seed in CLIPS[:2])
    with pytest.raises(ValueError, match="mask: expected a mask to blend by, got none"):
        node.execute(first, second, "mask", 1.0, 0.0)
    right = torch.zeros(1, 128, 128)
    right[..., 64:] = 1
    both = node.execute(first, second, "mask", 1.0, 0.0, right).args[0]
    # The mask's edge runs between the two middle columns, and is brought to tokens antialiased.
    vectors, left, right = (each.flows[0].displacement for each in (both, first, second))
    assert torch.equal(vectors[:, :, :3], left[:, :, :3]) and torch.equal(vectors[:, :, 5:], right[:, :, 5:])
    sides = both.reference[..., :5], both.reference[..., 11:]
    assert torch.equal(sides[0], first.reference[..., :5]) and torch.equal(sides[1], second.reference[..., 11:])
