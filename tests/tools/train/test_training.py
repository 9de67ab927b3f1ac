"""The tiny models' training: the same mathematics as the host's, exact resuming, files that the host's loaders take."""

import dataclasses
import importlib

import numpy as np
import pytest
import torch

from tools.host.layout import REPO
from tools.train.clips import make_clip

MODELS = REPO / "assets" / "models"


@pytest.fixture(scope="module")
def tinywan(comfyui):
    """Modules of tools.train, which import ComfyUI's."""
    return lambda name: importlib.import_module(f"tools.train.{name}")


@pytest.fixture
def shipped_vae(tinywan, comfyui):
    return tinywan("vae").load_vae(MODELS / "vae" / "tinywan_vae_fp16.safetensors")


def pixels(*clips):
    return torch.stack([torch.from_numpy(clip.frames) for clip in clips]).permute(0, 4, 1, 2, 3) * 2 - 1


def test_one_pass_gives_what_the_hosts_chunks_give(tinywan, shipped_vae):
    clips = pixels(make_clip(1), make_clip(2))[:, :, :13, :64, :64].contiguous()
    with torch.no_grad():
        mean, _ = tinywan("vae").encode(shipped_vae, clips)
        host = shipped_vae.encode(clips)
        # float32 sums in another order; latents are of the order of 1.
        assert torch.allclose(mean, host, atol=1e-4)
        assert torch.allclose(tinywan("vae").decode(shipped_vae, host), shipped_vae.decode(host), atol=1e-4)


def test_aligned_latents_show_their_colours_in_the_hosts_previews_and_no_clip_changes(tinywan, shipped_vae):
    vae, wide = tinywan("vae"), tinywan("wide_vae")
    with torch.no_grad():
        clips = pixels(make_clip(3), make_clip(4))[:, :, :9, 32:96, 32:96].contiguous()
        colours = wide.averaged(clips)
        before = vae.decode(shipped_vae, vae.encode(shipped_vae, clips)[0])
        wide.align(shipped_vae, vae.standardised(vae.encode(shipped_vae, clips)[0]), colours)
        latent = vae.encode(shipped_vae, clips)[0]
        assert torch.allclose(vae.decode(shipped_vae, latent), before, atol=1e-3)
    from comfy.latent_formats import Wan21
    from latent_preview import Latent2RGBPreviewer

    shown = Latent2RGBPreviewer(Wan21.latent_rgb_factors, Wan21.latent_rgb_factors_bias)
    image = torch.from_numpy(np.array(shown.decode_latent_to_preview(vae.standardised(latent)))).float()
    read = wide.previewed(vae.standardised(latent))
    # The host rounds to whole numbers of 255.
    assert (image / 127.5 - 1 - read[0, :, 0].movedim(0, -1).clamp(-1, 1)).abs().max() < 0.01
    # A linear map of the latents explains most of what varies between their places.
    assert (read - colours).var() < 0.3 * colours.var()


def test_a_vae_learns_from_windows_of_scenes(tinywan):
    wide = tinywan("wide_vae")
    training = wide.VaeTraining()
    pixels, weight = wide.batch(training, 0, 0)
    count, _, frames, _, side = pixels.shape
    assert (side, frames, count) in training.windows
    assert weight.shape == (count, 1, frames, side, side)
    # A window holds a part of a sprite, which counts more, and some background.
    assert pixels.min() >= -1 and pixels.max() <= 1
    assert weight.unique().tolist() == [1, training.sprite_weight]


def test_a_wider_vae_computes_what_the_narrow_one_does(tinywan, shipped_vae):
    vae, wide = tinywan("vae"), tinywan("wide_vae")
    clips = pixels(make_clip(1), make_clip(2))[:, :, :5, :32, :32].contiguous()
    made = wide.widened(MODELS / "vae" / "tinywan_vae_fp16.safetensors", wide.VaeTraining(), 0)
    with torch.no_grad():
        assert torch.allclose(vae.encode(made, clips)[0], vae.encode(shipped_vae, clips)[0], atol=1e-3)


@pytest.fixture
def tiny_parts(tinywan, monkeypatch):
    """Two kinds of small scenes, four of each to begin with, and a new file of four every few steps."""
    latents = tinywan("latents")
    parts = (
        latents.Part("one", "one", 32, 9, 0.5, 4, 4, pooled=0.5),
        latents.Part("camera", "camera", 32, 9, 0.5, 4, 4),
    )
    monkeypatch.setattr(latents, "PARTS", parts)
    monkeypatch.setattr(latents, "REUSE", 1)
    monkeypatch.setattr(latents, "MOST", 8)
    return parts


@pytest.fixture
def pools(tinywan, tiny_parts, shipped_vae, tmp_path):
    return lambda folder="latents": tinywan("latents").open_pools(shipped_vae, tmp_path / folder)


def test_what_is_in_use_depends_on_the_step_alone(pools):
    whole, later = pools(), pools("later")
    for step in range(8):
        shards = whole["one"].at(step)
    again = later["one"].at(7)
    assert [shard.prompts for shard in shards] == [shard.prompts for shard in again]
    assert all(torch.equal(one.latents, other.latents) for one, other in zip(shards, again, strict=True))
    # Eight scenes are in use; what came before is gone from the folder, too.
    assert len(shards) == 2 and len(list(whole["one"].folder.rglob("*.safetensors"))) == 2


def test_some_scenes_come_with_what_an_image_to_video_node_makes_of_their_first_frame(tinywan, pools, shipped_vae):
    from comfy_extras.nodes_wan import WanImageToVideo

    shard = pools()["one"].at(0)[0]
    scene = tinywan("scenes").make_scene("one", tinywan("latents").FIRST_SEED, 32, 9)

    class Loaded:
        def encode(self, frames):
            return shipped_vae.encode(frames.movedim(-1, 0)[None] * 2 - 1)

    first = torch.from_numpy(scene.frames[:1])
    with torch.no_grad():
        made = WanImageToVideo.execute([[0, {}]], [[0, {}]], Loaded(), 32, 32, 9, 1, start_image=first).args[0][0][1]
    wanted = tinywan("vae").standardised(made["concat_latent_image"])
    # Encoded in bfloat16 where there is such, of eight bits, through some twenty layers.
    assert (shard.images[0].float() - wanted).abs().mean() < 0.05
    given = tinywan("dit").conditioned(shard.images[:1].float(), torch.tensor([True]))
    assert torch.equal(given[0, 0, :, 0, 0], 1 - made["concat_mask"][0, 0, :, 0, 0])


def test_a_stopped_training_resumes_exactly(tinywan, pools, tmp_path, monkeypatch):
    dit, training, transformer = (tinywan(name) for name in ("dit", "training", "transformer"))
    monkeypatch.setattr(training, "SAVE_EVERY", 1)
    monkeypatch.setattr(training, "SHOW_EVERY", 2)

    def run(folder, stop_after=None):
        torch.manual_seed(0)
        model = dit.make_dit(dit.Shape(dim=128, depth=1, ffn=64))
        plan, held = transformer.TransformerTraining(), pools(folder)
        optimizers = tinywan("optimizers").make_optimizers(model.named_parameters(), ("blocks.",), 1e-3, 1e-3)

        def loss_of(step):
            if step == stop_after:
                raise KeyboardInterrupt
            return transformer.loss(model, held, plan, 0, step)

        pace = training.Pace(steps=4, warm_up=2, decay=0.5, ema=0.9)
        state = tmp_path / f"{folder}.safetensors"
        return training.train("tiny", model, optimizers, loss_of, state, pace), model.state_dict()

    progress, whole = run("whole")
    for stop in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            run("cut", stop_after=stop)
    resumed_progress, resumed = run("cut")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert resumed_progress == progress
    assert {kind for entry in progress.curve for kind in entry} <= {"step", "one", "camera", "pooled"}


def test_a_training_goes_on_from_weights_that_were_kept(tinywan, tmp_path):
    dit, training, checkpoint = (tinywan(name) for name in ("dit", "training", "checkpoint"))
    kept, pace = tmp_path / "kept.safetensors", training.Pace(steps=4, warm_up=2)

    def train(steps, state, start=None):
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 4)
        steps_seen = []

        def loss_of(step):
            steps_seen.append((step, optimizer.param_groups[0]["lr"]))
            return training.Loss("lines", model(torch.ones(4)).square().mean())

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        progress = training.train(
            "tiny",
            model,
            [optimizer],
            loss_of,
            tmp_path / state,
            dataclasses.replace(pace, steps=steps),
            start=start,
            saved=lambda weights, progress: dit.export(weights, progress, kept),
        )
        return model, progress, steps_seen

    trained, done, _ = train(4, "first")
    _, resumed, seen = train(8, "second", start=kept)
    assert (done.done, done.resumed, resumed.done, resumed.resumed) == (4, 0, 8, 4)
    # The rate rises anew, over two steps, from where the earlier training ended.
    long = dataclasses.replace(pace, steps=8)
    assert seen == [(4, 0.1 * long.rate(4) / 2)] + [(step, 0.1 * long.rate(step)) for step in range(5, 8)]
    assert checkpoint.load_weights(kept, torch.nn.Linear(4, 4)).done == 8
    # A checkpoint of the training's own goes before what was kept.
    assert train(4, "first", start=kept)[1] == done and torch.equal(train(4, "first")[0].weight, trained.weight)


def test_a_training_that_goes_on_elsewhere_begins_with_new_scenes(tinywan, pools, tiny_parts):
    part = tiny_parts[0]
    # Two scenes a step; eight are in use at most.
    assert list(part.shards(4)) == [1, 2] and list(part.shards(4, resumed=4)) == [2]
    assert list(part.shards(6, resumed=4)) == [2, 3] and list(part.shards(8, resumed=4)) == [3, 4]
    resumed = tinywan("latents").open_pools(pools()["one"].vae, pools()["one"].folder, 4)["one"]
    assert len(resumed.at(4)) == 1 and len(list(resumed.folder.rglob("*.safetensors"))) == 1


def test_each_frame_can_have_a_noise_level_of_its_own(tinywan):
    dit = tinywan("dit")
    torch.manual_seed(0)
    model = dit.make_dit(dit.Shape(dim=128, depth=1, ffn=64))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    x, sigma = torch.randn(2, 16, 3, 4, 4), torch.tensor([0.3, 0.8])
    with torch.no_grad():
        one, each, other = (
            dit.velocity(model, x, level, ["red circle plain", ""])
            for level in (sigma, sigma[:, None].expand(2, 3), torch.rand(2, 3))
        )
    # bfloat16 has eight bits.
    assert torch.allclose(one, each, atol=0.02) and not torch.allclose(one, other, atol=0.1)


def test_a_signal_that_follows_content_has_emerged_and_one_that_stays_has_not(tinywan):
    emergence, make_scene = tinywan("emergence"), tinywan("scenes").make_scene
    for kind in ("one", "camera", "several"):
        for truth in emergence.truths(kind, [make_scene(kind, seed) for seed in range(6)]).values():
            assert truth.mask.any((1, 2)).all() and truth.moved.shape == (6, 4, 64, 2)
            places = emergence._places(64, 8)
            far = np.linalg.norm(places - (places + truth.moved)[..., None, :], axis=-1)
            followed = emergence.displaced(torch.from_numpy(-8 * far).float(), 8)
            # Targets are rounded to whole tokens, and so less exact than the truth.
            assert emergence.correlation(followed, truth) > 0.9
            assert abs(emergence.correlation(np.zeros_like(followed), truth)) < 1e-6


def test_quick_training_computes_what_the_host_does(tinywan, monkeypatch):
    dit = tinywan("dit")
    torch.manual_seed(0)
    model = dit.make_dit(dit.Shape(dim=256, depth=2, ffn=64))
    for weight in model.parameters():
        # Away from the start, at which blocks are the identity.
        torch.nn.init.normal_(weight, std=0.05)
    x, sigma, prompts = torch.randn(2, 16, 2, 8, 4), torch.tensor([0.3, 0.8]), ["red circle plain", ""]
    with torch.no_grad():
        seen = torch.cat([x, torch.zeros(2, 20, 2, 8, 4)], 1)
        original = model(seen, sigma * 1000, tinywan("prompts").encode(prompts))
        in_bfloat16 = dit.velocity(model, x, sigma, prompts)
        monkeypatch.setattr(dit, "multiplies_in_bfloat16", lambda device: False)
        blocks = []
        ours = dit.velocity(model, x, sigma, prompts, attended=blocks)
    # The same sums in another order, in float32; then with weights and results of eight bits.
    assert torch.allclose(ours, original, rtol=1e-4, atol=1e-5)
    assert (in_bfloat16 - original).abs().mean() < 0.05 * original.abs().mean()
    assert [block.q.shape for block in blocks] == [(2, 16, 2, 128)] * 2


def test_the_command_makes_files_that_the_host_loads(tinywan, tiny_parts, monkeypatch, tmp_path):
    import comfy.sd
    import comfy.utils

    main, pace = tinywan("__main__"), tinywan("training").Pace(steps=2, ema=0.9)
    vae, whole = tinywan("wide_vae").VaeTraining, tinywan("transformer").TransformerTraining
    small = vae(pace=pace, decoder=pace, windows=((32, 9, 2),), tested=((32, 3),))
    monkeypatch.setattr(tinywan("wide_vae"), "VaeTraining", lambda: small)
    monkeypatch.setattr(tinywan("transformer"), "TransformerTraining", lambda: whole(pace=pace))
    monkeypatch.setattr(tinywan("emergence"), "SCENES", 2)
    monkeypatch.setattr(main, "CLASSIFIER", tinywan("training").Pace(steps=2))
    monkeypatch.setattr(main, "KEPT", tmp_path / "nothing")
    for stage in ("vae", "latents", "transformer", "decoder", "classifier"):
        main.main([stage, "--out", str(tmp_path)])
    measured = tinywan("checkpoint").Progress.of_file(tmp_path / "decoder.safetensors").probes[-1]
    assert 5 < measured["psnr at 32 px"]["all"] < 60
    probes = tinywan("checkpoint").Progress.of_file(tmp_path / "transformer.safetensors").probes
    assert probes[0]["step"] == 2 and set(probes[0]) == {"step", "one", "camera", "several 1", "several 2"}
    models = tmp_path / "models"
    with torch.inference_mode():
        model = comfy.sd.load_diffusion_model(str(models / "transformer.safetensors"))
        assert type(model.model).__name__ == "WAN21"
        assert len(model.model.diffusion_model.blocks) == 6
        weights = comfy.utils.load_torch_file(str(models / "vae.safetensors"))
        assert comfy.sd.VAE(sd=weights).latent_channels == 16
    judge = tinywan("classifier").Classifier.load(models / "classifier.safetensors")
    assert len(judge.judge(make_clip(0).frames)) == 2


@pytest.mark.parametrize("stage", ["decoder", "latents", "transformer"])
def test_a_stage_without_a_vae_asks_for_it(tinywan, stage, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tinywan("__main__").main([stage, "--out", str(tmp_path)])
    assert "train the stage vae first" in capsys.readouterr().err


def test_orthogonalised_momentum_is_nearly_orthogonal_in_either_precision(tinywan, monkeypatch):
    optimizers = tinywan("optimizers")
    matrix = torch.randn(48, 96, generator=torch.Generator().manual_seed(0))
    for half in (False, True):
        monkeypatch.setattr(optimizers, "multiplies_in_bfloat16", lambda device, half=half: half)
        turned = optimizers._orthogonal(matrix)
        assert turned.dtype == torch.float32
        # Five iterations bring singular values to .7 .. 1.2 (Jordan et al.), no nearer; bfloat16 adds a few 1/256.
        values = torch.linalg.svdvals(turned)
        assert values.min() > 0.65 and values.max() < 1.25
