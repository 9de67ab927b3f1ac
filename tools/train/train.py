"""Train the tiny Wan models: VAE, transformer and the classifier that judges them.

``python -m tools.train.train --out FOLDER`` makes everything from nothing, on ``--device cpu`` or
``cuda``. It can be stopped at any time: the same command resumes, and keeps the stages that are done, or whose file in
``FOLDER/models`` was put there. The transformer begins with clips of one size and length (stage ``small``), then
continues gently with all (stage ``dit``), its queries and keys as they are. ``--start`` takes the VAE of a folder like
``assets/models`` and trains its transformer further. The same steps and seed give
the same weights on the same machine. At the end ``FOLDER/models`` holds the files that ComfyUI loads,
and ``FOLDER/report.json`` the numbers and the loss curves.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import tools.train.comfyui  # noqa: F401 (before what imports ComfyUI)
from tools.train import classifier as judge
from tools.train import dataset, dit, vae
from tools.train.checkpoint import Progress
from tools.train.optimizers import make_optimizers
from tools.train.report import reconstructions, samples
from tools.train.training import train

FILES = {
    "vae": "vae/tinywan_vae_fp16.safetensors",
    "small": "diffusion_models/tinywan_small_fp16.safetensors",
    "dit": "diffusion_models/tinywan_dit_fp16.safetensors",
    "classifier": "classifier/tinywan_classifier.safetensors",
}
STEPS = {"vae": 1200, "small": 1900, "dit": 1200, "classifier": 400}
"""Of each stage; these fit into two hours on two CPU cores, beside the encoding of the clips."""
CLIPS = 2400
GENTLE = 0.25
"""Learning rates of a transformer that starts from trained weights, as a share of the usual ones."""
NORMALISED_ON = 64
"""Clips whose latents get mean 0 and variance 1."""
TEST_SEED = 500
"""First seed of the clips that the report is measured on; none of them is trained on."""


@dataclass(frozen=True)
class Plan:
    """One training: its folder, its start, its steps."""

    out: Path
    start: Path | None
    seed: int
    device: torch.device
    steps: dict[str, int]
    clips: int

    def checkpoint(self, stage: str) -> Path:
        """The state of a stage's training."""
        return self.out / f"{stage}.safetensors"

    def model(self, stage: str) -> Path:
        """The stage's file for ComfyUI."""
        return self.out / "models" / FILES[stage]


def main(arguments: list[str] | None = None) -> None:
    """The missing stages are trained."""
    options = _options(arguments)
    given = dict(part.split("=") for part in options.steps.split(",") if part)
    plan = Plan(
        out=options.out,
        start=options.start,
        seed=options.seed,
        device=torch.device(options.device),
        steps={**STEPS, **{stage: int(count) for stage, count in given.items()}},
        clips=options.clips,
    )
    if options.threads:
        torch.set_num_threads(options.threads)
    plan.out.mkdir(parents=True, exist_ok=True)
    for stage in options.stages:
        STAGES[stage](plan)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.train.train", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, models and report")
    parser.add_argument("--start", type=Path, help="folder like assets/models whose transformer is trained further")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--steps", default="", help=f"e.g. vae=1100,dit=1200 (default: {STEPS})")
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"clips to encode (default: {CLIPS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), help="default: all")
    return parser.parse_args(arguments)


def _train_vae(plan: Plan) -> None:
    if plan.model("vae").exists():
        return
    if plan.start:
        # The transformer to start from knows this encoder's latents: another encoder would undo its training.
        plan.model("vae").parent.mkdir(parents=True)
        shutil.copyfile(plan.start / FILES["vae"], plan.model("vae"))
        return
    torch.manual_seed(plan.seed)
    model = vae.make_vae().to(plan.device)
    optimizers = make_optimizers(model.named_parameters(), ("encoder.", "decoder."), vae.MUON_RATE, vae.ADAM_RATE)

    def loss_of(step: int) -> torch.Tensor:
        return vae.loss(model, plan.seed, step)

    train("vae", model, optimizers, loss_of, plan.checkpoint("vae"), steps=plan.steps["vae"])
    measured = [dataset.draw_clip(dataset.SMALL, number) for number in range(NORMALISED_ON)]
    vae.normalise(model, vae.encode_clips(model, measured, raw=True))
    vae.export(model, plan.model("vae"))


def _encode_clips(plan: Plan) -> None:
    model = vae.load_vae(plan.model("vae")).to(plan.device)
    for bucket in dataset.BUCKETS:
        dataset.encode_bucket(model, bucket, plan.clips, plan.out / "clips")


def _train_small(plan: Plan) -> None:
    if not plan.start:
        _train_transformer(plan, "small", None, (dataset.SMALL,))


def _train_dit(plan: Plan) -> None:
    start = plan.start / FILES["dit"] if plan.start else plan.model("small")
    _train_transformer(plan, "dit", start, dataset.BUCKETS)


def _train_transformer(plan: Plan, stage: str, start: Path | None, buckets: tuple[dataset.Bucket, ...]) -> None:
    if plan.model(stage).exists():
        return
    torch.manual_seed(plan.seed)
    model = (dit.load_dit(start) if start else dit.make_dit()).to(plan.device)
    gentle = GENTLE if start else 1.0
    if start:
        dit.keep_queries_and_keys(model)
    optimizers = make_optimizers(model.named_parameters(), ("blocks.",), gentle * dit.MUON_RATE, gentle * dit.ADAM_RATE)
    data = [dataset.load_bucket(bucket, plan.out / "clips") for bucket in buckets]

    def loss_of(step: int) -> torch.Tensor:
        return dit.flow_matching_loss(model, data, plan.seed, step)

    train(stage, model, optimizers, loss_of, plan.checkpoint(stage), ema=dit.EMA, steps=plan.steps[stage])
    dit.export(model, plan.model(stage))


def _train_classifier(plan: Plan) -> None:
    if plan.model("classifier").exists():
        return
    torch.manual_seed(plan.seed)
    model = judge.Classifier().to(plan.device)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=judge.RATE, weight_decay=1e-4)]

    def loss_of(step: int) -> torch.Tensor:
        return judge.loss(model, plan.seed, step)

    train("classifier", model, optimizers, loss_of, plan.checkpoint("classifier"), steps=plan.steps["classifier"])
    model.cpu().eval().save(plan.model("classifier"))


def _report(plan: Plan) -> None:
    model, classifier = vae.load_vae(plan.model("vae")), judge.Classifier.load(plan.model("classifier"))
    colour, shape = judge.accuracy(classifier, TEST_SEED, 200)
    report: dict[str, Any] = {"classifier": {"colour_right": colour, "shape_right": shape}}
    report["vae"] = reconstructions(model, classifier, TEST_SEED)
    report["dit"] = samples(dit.load_dit(plan.model("dit")), model, classifier)
    done = {stage: Progress.of_file(plan.checkpoint(stage)) for stage in STEPS if plan.checkpoint(stage).exists()}
    report["steps"] = {stage: progress.done for stage, progress in done.items()}
    report["curves"] = {stage: progress.curve for stage, progress in done.items()}
    (plan.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


STAGES = {
    "vae": _train_vae,
    "clips": _encode_clips,
    "small": _train_small,
    "dit": _train_dit,
    "classifier": _train_classifier,
    "report": _report,
}


if __name__ == "__main__":
    main()
