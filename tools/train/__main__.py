"""The long training of the larger model, stage by stage: ``python -m tools.train STAGE --out FOLDER``.

A stage can be stopped at any time, by force too: the same command resumes it from its last checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import tools.train.comfyui  # noqa: F401 (before what imports ComfyUI)
from tools.host.layout import REPO
from tools.train import wide_vae
from tools.train.checkpoint import Progress
from tools.train.optimizers import make_optimizers
from tools.train.training import train
from tools.train.vae import export

NARROW_VAE = REPO / "assets" / "models" / "vae" / "tinywan_vae_fp16.safetensors"
SEED = 0


def main(arguments: list[str] | None = None) -> None:
    """A stage is trained to its end."""
    parser = argparse.ArgumentParser(prog="python -m tools.train", description=__doc__.partition("\n")[0])
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, latents, models and logs")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    STAGES[options.stage](options.out)


def _train_vae(out: Path) -> Progress:
    plan = wide_vae.VaeTraining()
    model = wide_vae.widened(NARROW_VAE, plan, SEED)
    optimizers = make_optimizers(model.named_parameters(), ("encoder.", "decoder."), plan.muon_rate, plan.adam_rate)
    progress = train(
        "vae",
        model,
        optimizers,
        lambda step: wide_vae.loss(model, plan, SEED, step),
        out / "vae.safetensors",
        steps=plan.steps,
        ema=plan.ema,
    )
    export(model, out / "models" / "vae.safetensors")
    return progress


STAGES = {"vae": _train_vae}


if __name__ == "__main__":
    main()
