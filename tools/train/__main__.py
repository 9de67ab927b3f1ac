"""The training of the larger tiny model, stage by stage: ``python -m tools.train STAGE --out FOLDER``.

A stage can be stopped at any time, by force too: the same command resumes it from its last checkpoint. The stages, and
how they go on beside each other, are in tools/train/README.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import tools.train.comfyui  # noqa: F401 (before what imports ComfyUI)
from tools.host.layout import REPO
from tools.train import classifier as judge
from tools.train import dit, transformer, wide_vae
from tools.train.checkpoint import Progress, Tensors
from tools.train.emergence import Emergence
from tools.train.latents import Pool, open_pools
from tools.train.optimizers import make_optimizers
from tools.train.training import Loss, Pace, train
from tools.train.vae import export, load_vae, make_vae

NARROW_VAE = REPO / "assets" / "models" / "vae" / "tinywan_vae_fp16.safetensors"
KEPT = REPO / "tools" / "train" / "checkpoint"
"""What earlier trainings made, in half precision: a new folder goes on from there."""
SEED = 0
AHEAD = 2000
"""Steps of the transformer's training for which the stage "latents" encodes what is missing."""
CLASSIFIER = Pace(steps=400)
TEST_SEED, TESTED = 500, 60
"""Of the clips that the classifier is measured on, the first and the number; none of them is trained on."""


def main(arguments: list[str] | None = None) -> None:
    """A stage is trained to its end."""
    parser = argparse.ArgumentParser(prog="python -m tools.train", description=__doc__.partition("\n")[0])
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, latents and models")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    try:
        STAGES[options.stage](options.out)
    except ValueError as error:
        parser.error(str(error))


def _train_vae(out: Path) -> None:
    plan = wide_vae.VaeTraining()
    model = wide_vae.start(NARROW_VAE, plan, SEED)
    _train_coder("vae", model, plan, plan.pace, out)


def _train_decoder(out: Path) -> None:
    plan = wide_vae.VaeTraining()
    model = load_vae(_vae(out))
    model.encoder.requires_grad_(False)
    model.conv1.requires_grad_(False)
    _train_coder("decoder", model, plan, plan.decoder, out)


def _train_coder(name: str, model: torch.nn.Module, plan: wide_vae.VaeTraining, pace: Pace, out: Path) -> None:
    optimizers = make_optimizers(model.named_parameters(), ("encoder.", "decoder."), plan.muon_rate, plan.adam_rate)
    checkpoint = out / f"{name}.safetensors"
    tried = make_vae(len(model.decoder.head[0].gamma))

    def probe(weights: Tensors) -> dict[str, dict[str, float]]:
        tried.load_state_dict(weights)
        return {f"psnr at {size} px": wide_vae.quality(tried, size, clips) for size, clips in plan.tested}

    train(name, model, optimizers, lambda step: wide_vae.loss(model, plan, SEED, step), checkpoint, pace, probe=probe)
    export(model, out / "models" / "vae.safetensors")


def _encode_latents(out: Path) -> None:
    plan, pools, done = transformer.TransformerTraining(), _pools(out), _progress(out).done
    for step in range(done, min(done + AHEAD, plan.pace.steps) + 1, 20):
        for pool in pools.values():
            pool.encode(step)


def _train_transformer(out: Path) -> None:
    plan, pools = transformer.TransformerTraining(), _pools(out)
    model = dit.make_dit()
    optimizers = make_optimizers(model.named_parameters(), ("blocks.",), plan.muon_rate, plan.adam_rate)
    train(
        "transformer",
        model,
        optimizers,
        lambda step: transformer.loss(model, pools, plan, SEED, step),
        _transformer(out),
        plan.pace,
        start=_kept_transformer(),
        saved=lambda weights, progress: dit.export(weights, progress, out / "models" / "transformer.safetensors"),
        probe=Emergence(load_vae(_vae(out))),
    )


def _train_classifier(out: Path) -> None:
    model = judge.Classifier()
    optimizers = [torch.optim.AdamW(model.parameters(), lr=judge.RATE, weight_decay=1e-4)]

    def probe(weights: Tensors) -> dict[str, float]:
        colour, shape = judge.accuracy(model.eval(), TEST_SEED, TESTED)
        model.train()
        return {"colour right": colour, "shape right": shape}

    def loss_of(step: int) -> Loss:
        return Loss("frames", judge.loss(model, SEED, step))

    train("classifier", model, optimizers, loss_of, out / "classifier.safetensors", CLASSIFIER, probe=probe)
    model.eval().save(out / "models" / "classifier.safetensors")


def _pools(out: Path) -> dict[str, Pool]:
    return open_pools(load_vae(_vae(out)), out / "latents", _progress(out).resumed)


def _progress(out: Path) -> Progress:
    """The transformer's: of the training in ``out``, else of what is kept, else none yet."""
    if _transformer(out).exists():
        return Progress.of_file(_transformer(out))
    return Progress.resumed_from(_kept_transformer()) if _kept_transformer().exists() else Progress()


def _transformer(out: Path) -> Path:
    return out / "transformer.safetensors"


def _kept_transformer() -> Path:
    return KEPT / "transformer.safetensors"


def _vae(out: Path) -> Path:
    path = out / "models" / "vae.safetensors"
    if not path.exists():
        raise ValueError(f"--out: expected a trained VAE at {path}, got none; train the stage vae first.")
    return path


STAGES = {
    "vae": _train_vae,
    "decoder": _train_decoder,
    "latents": _encode_latents,
    "transformer": _train_transformer,
    "classifier": _train_classifier,
}


if __name__ == "__main__":
    main()
