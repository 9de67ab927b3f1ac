"""The tiny models' training: the same mathematics as the host's, exact resuming, files that the host's loaders take."""

import importlib

import pytest
import torch

from tools.host.layout import REPO
from tools.train.clips import make_clip

MODELS = REPO / "assets" / "models"
STEPS = "vae=2,small=2,dit=2,classifier=2"


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


def test_normalising_gives_the_latents_the_statistics_and_changes_no_clip(tinywan, shipped_vae):
    vae = tinywan("vae")
    with torch.no_grad():
        shipped_vae.conv1.weight[:3] *= 2.5
        shipped_vae.conv1.bias[:3] += 0.7
        clips = [make_clip(seed) for seed in (3, 4)]
        latents = vae.encode_clips(shipped_vae, clips, raw=True)
        before = vae.decode(shipped_vae, latents)
        vae.normalise(shipped_vae, latents)
        latent = vae.encode_clips(shipped_vae, clips)
        assert torch.allclose(latent.mean(dim=(0, 2, 3, 4)), torch.zeros(16), atol=1e-3)
        assert torch.allclose(latent.std(dim=(0, 2, 3, 4)), torch.ones(16), atol=1e-3)
        after = vae.decode(shipped_vae, vae.encode_clips(shipped_vae, clips, raw=True))
        assert torch.allclose(after, before, atol=1e-3)


def test_a_vae_learns_from_windows_of_its_clips(tinywan):
    vae = tinywan("vae")
    pixels, weight = vae.batch(0, 0)
    assert (pixels.shape[-1], pixels.shape[2]) in vae.WINDOWS
    assert pixels.shape == (vae.BATCH, 3, *weight.shape[2:]) and weight.shape[:2] == (vae.BATCH, 1)
    # A window holds a part of a sprite, which counts more, and some background.
    assert pixels.min() >= -1 and pixels.max() <= 1
    assert weight.unique().tolist() == [1, vae.SPRITE_WEIGHT]


def test_a_stopped_training_resumes_exactly(tinywan, tmp_path):
    dit, dataset, training = tinywan("dit"), tinywan("dataset"), tinywan("training")
    optimizers_of = tinywan("optimizers").make_optimizers
    shape = dit.Shape(dim=128, depth=1, ffn=64)
    latents = torch.randn(6, 16, 2, 4, 4, generator=torch.Generator().manual_seed(0)).half()
    prompts = ("red circle plain",) * 4 + ("blue star speckle",) * 2
    data = [dataset.Encoded(dataset.Bucket("tiny", 32, 5, 1.0, 3), latents, prompts)]

    def run(checkpoint, stop_after=None):
        torch.manual_seed(0)
        model = dit.make_dit(shape)
        optimizers = optimizers_of(model.named_parameters(), ("blocks.",), 1e-3, 1e-3)

        def loss_of(step):
            if step == stop_after:
                raise KeyboardInterrupt
            return dit.flow_matching_loss(model, data, 0, step)

        training.train("tiny", model, optimizers, loss_of, checkpoint, steps=6, ema=0.9)
        return model.state_dict()

    whole = run(tmp_path / "whole.safetensors")
    training.SAVE_EVERY, every = 2, training.SAVE_EVERY
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut.safetensors", stop_after=5)
        resumed = run(tmp_path / "cut.safetensors")
    finally:
        training.SAVE_EVERY = every
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_quick_training_computes_what_the_host_does(tinywan):
    dit = tinywan("dit")
    torch.manual_seed(0)
    model = dit.make_dit(dit.Shape(dim=256, depth=2, ffn=64))
    for weight in model.parameters():
        # Away from the start, at which blocks are the identity.
        torch.nn.init.normal_(weight, std=0.05)
    x, sigma = torch.randn(2, 16, 2, 8, 4), torch.tensor([0.3, 0.8])
    prompts = ["red circle plain", ""]
    with torch.no_grad():
        original = dit.velocity(model, x, sigma, prompts)
        with dit._trained_quickly(x.device):
            ours = dit.velocity(model, x, sigma, prompts)
        # The same sums in another order, in float32.
        assert not torch.equal(ours, original) and torch.allclose(ours, original, rtol=1e-4, atol=1e-5)
        assert torch.equal(dit.velocity(model, x, sigma, prompts), original)


@pytest.fixture
def few_clips(tinywan, monkeypatch):
    """The clips of one bucket, two in a file."""
    dataset = tinywan("dataset")
    monkeypatch.setattr(dataset, "SHARD", 2)
    monkeypatch.setattr(dataset, "BUCKETS", dataset.BUCKETS[:1])


def test_the_command_makes_files_that_the_host_loads(tinywan, few_clips, tmp_path):
    import comfy.sd
    import comfy.utils

    stages = ["vae", "clips", "small", "dit", "classifier"]
    command = ["--out", str(tmp_path), "--steps", STEPS, "--clips", "10", "--stages", *stages]
    tinywan("train").main(command)
    models = tmp_path / "models"
    with torch.inference_mode():
        model = comfy.sd.load_diffusion_model(str(models / "diffusion_models" / "tinywan_dit_fp16.safetensors"))
        assert type(model.model).__name__ == "WAN21"
        assert len(model.model.diffusion_model.blocks) == 6
        weights = comfy.utils.load_torch_file(str(models / "vae" / "tinywan_vae_fp16.safetensors"))
        assert comfy.sd.VAE(sd=weights).latent_channels == 16
    judge = tinywan("classifier").Classifier.load(models / "classifier" / "tinywan_classifier.safetensors")
    assert len(judge.judge(make_clip(0).frames)) == 2


def test_a_start_gives_its_vae_as_it_is(tinywan, tmp_path):
    train = tinywan("train")
    train.main(["--out", str(tmp_path), "--start", str(MODELS), "--stages", "vae", "small"])
    assert [file.name for file in (tmp_path / "models").rglob("*.safetensors")] == ["tinywan_vae_fp16.safetensors"]
    assert (tmp_path / "models" / train.FILES["vae"]).read_bytes() == (MODELS / train.FILES["vae"]).read_bytes()


def test_a_start_keeps_queries_and_keys_and_trains_the_other_weights(tinywan, few_clips, tmp_path):
    from safetensors.torch import load_file

    train = tinywan("train")
    command = ["--start", str(MODELS), "--steps", "dit=2", "--clips", "2", "--stages", "vae", "clips", "small", "dit"]
    train.main(["--out", str(tmp_path), *command])
    before, after = (load_file(folder / train.FILES["dit"]) for folder in (MODELS, tmp_path / "models"))
    kept = {name for name in before if torch.equal(before[name], after[name])}
    parts = ("q.weight", "q.bias", "k.weight", "k.bias", "norm_q.weight", "norm_k.weight")
    matching = {f"blocks.{block}.self_attn.{part}" for block in range(6) for part in parts}
    assert matching <= kept
    assert {"blocks.0.self_attn.v.weight", "blocks.3.ffn.0.weight"}.isdisjoint(kept)


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
