"""Train the tiny Wan models: VAE, transformer, two experts and the classifier that judges them.

``python -m tools.train.train --out FOLDER --minutes 120`` makes everything from nothing, on ``--device cpu`` or
``cuda``. It can be stopped at any time: the same command goes on where it was, and keeps the stages that are done.
The transformer begins with clips of one size and length, then goes on gently with all, its queries and keys as they
are. ``--vae`` and ``--small`` take a VAE, or a transformer that has learned these, as they are. ``--start`` goes on
from the weights of a folder like ``assets/models`` instead, keeps its VAE's encoder, and takes the decoder half-way
back to what it was. ``--steps`` fixes the numbers of steps instead of the minutes, which makes a training repeatable on the
same machine. At the end ``FOLDER/models`` holds the files that ComfyUI loads, ``FOLDER/report.json`` the numbers and
curves, and ``FOLDER/sheets`` pictures to look at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import tools.train.comfyui  # noqa: F401 (before what imports ComfyUI)
from tools.train import classifier as judge
from tools.train import dataset, dit, vae
from tools.train.checkpoint import Progress
from tools.train.optimizers import make_optimizers
from tools.train.sheets import curves, reconstructions, samples
from tools.train.training import train

FILES = {
    "vae": "vae/tinywan_vae_fp16.safetensors",
    "small": "diffusion_models/tinywan_small_fp16.safetensors",
    "dit": "diffusion_models/tinywan_dit_fp16.safetensors",
    "high": "diffusion_models/tinywan_high_noise_fp16.safetensors",
    "low": "diffusion_models/tinywan_low_noise_fp16.safetensors",
    "classifier": "classifier/tinywan_classifier.safetensors",
}
TRANSFORMERS = {"small": dit.WHOLE, "dit": dit.WHOLE, "high": dit.HIGH, "low": dit.LOW}
BEFORE = {"dit": "small", "high": "dit", "low": "dit"}
"""The stage that another one goes on from."""
SHARES = {"vae": 0.15, "small": 0.2, "dit": 0.45, "high": 0.07, "low": 0.07, "classifier": 0.06}
"""Of the minutes; encoding the clips comes on top."""
STAGES = ("vae", "clips", "small", "dit", "high", "low", "classifier", "report")
CLIPS = 2400
GENTLE = 0.25
"""Learning rates of a transformer that starts from trained weights, as a share of the usual ones."""
NORMALISED_ON = 64
"""Clips whose latents get mean 0 and variance 1."""
TEST_SEED = 500
"""First seed of the clips that the report is measured on; none of them is trained on."""


@dataclass(frozen=True)
class Plan:
    """One training: where to, from where, how long."""

    out: Path
    start: Path | None
    vae: Path | None
    small: Path | None
    seed: int
    device: torch.device
    minutes: float
    steps: dict[str, int]
    clips: int

    def checkpoint(self, stage: str) -> Path:
        """The state of a stage's training."""
        return self.out / f"{stage}.safetensors"

    def model(self, stage: str) -> Path:
        """What a stage makes for ComfyUI."""
        return self.out / "models" / FILES[stage]

    def started(self, stage: str) -> Path | None:
        """The weights that a stage starts from; None: from nothing."""
        before = self.model(BEFORE[stage]) if stage in BEFORE else None
        return self.given(stage) or (before if before and before.exists() else None)

    def given(self, stage: str) -> Path | None:
        """The weights that --start gives a stage; None: none."""
        path = self.start / FILES[stage] if self.start and stage in ("vae", "dit") else None
        return path if path and path.exists() else None

    def length(self, stage: str) -> dict[str, float]:
        """The length of a stage's training, as `train` takes it."""
        return {"steps": self.steps.get(stage, 0), "minutes": self.minutes * SHARES[stage]}


def main(arguments: list[str] | None = None) -> None:
    """Train what is missing."""
    options = _options(arguments)
    steps = dict(part.split("=") for part in options.steps.split(",") if part)
    plan = Plan(
        out=options.out,
        start=options.start,
        vae=options.vae,
        small=options.small,
        seed=options.seed,
        device=torch.device(options.device),
        minutes=options.minutes,
        steps={stage: int(count) for stage, count in steps.items()},
        clips=options.clips,
    )
    if options.threads:
        torch.set_num_threads(options.threads)
    plan.out.mkdir(parents=True, exist_ok=True)
    for stage in options.stages:
        _run(stage)(plan)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.train.train", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, models, report and sheets")
    parser.add_argument("--start", type=Path, help="folder like assets/models whose weights are trained further")
    parser.add_argument("--vae", type=Path, help="a VAE's file, which is taken instead of training one")
    parser.add_argument("--small", type=Path, help="a file of that stage's transformer, taken instead of training one")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--minutes", type=float, default=120.0, help="of training (default: 120)")
    parser.add_argument("--steps", default="", help="e.g. vae=1100,dit=1200: instead of the minutes")
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"clips to encode (default: {CLIPS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), help="default: all")
    return parser.parse_args(arguments)


def _run(stage: str) -> Callable[[Plan], None]:
    single = {"vae": _train_vae, "clips": _encode_clips, "classifier": _train_classifier, "report": _report}
    return single.get(stage) or (lambda plan: _train_transformer(plan, stage))


def _train_vae(plan: Plan) -> None:
    if plan.model("vae").exists():
        return
    if plan.vae:
        vae.export(vae.load_vae(plan.vae), plan.model("vae"))
        return
    torch.manual_seed(plan.seed)
    start = plan.started("vae")
    model = (vae.load_vae(start) if start else vae.make_vae()).to(plan.device)
    if start:
        # The transformer to start from knows this encoder's latents: another encoder would undo its training.
        model.encoder.requires_grad_(False)
        model.conv1.requires_grad_(False)
    optimizers = make_optimizers(model.named_parameters(), ("encoder.", "decoder."), vae.MUON_RATE, vae.ADAM_RATE)

    def loss_of(step: int) -> torch.Tensor:
        return vae.loss(model, plan.seed, step)

    train("vae", model, optimizers, loss_of, plan.checkpoint("vae"), **plan.length("vae"))
    if start:
        vae.go_back(model, vae.load_vae(start))
    else:
        measured = [dataset.draw_clip(dataset.BUCKETS[0], number) for number in range(NORMALISED_ON)]
        vae.normalise(model, vae.encode_clips(model, measured, raw=True))
    vae.export(model, plan.model("vae"))


def _encode_clips(plan: Plan) -> None:
    model = vae.load_vae(plan.model("vae")).to(plan.device)
    for bucket in dataset.BUCKETS:
        dataset.encode_bucket(model, bucket, plan.clips, plan.out / "clips")


def _train_transformer(plan: Plan, stage: str) -> None:
    replaced = stage == "small" and plan.given("dit") is not None
    if replaced or plan.model(stage).exists():
        return
    shape, start = TRANSFORMERS[stage], plan.started(stage)
    if stage == "small" and plan.small:
        dit.export(dit.load_dit(plan.small, shape), plan.model(stage))
        return
    torch.manual_seed(plan.seed)
    model = (dit.load_dit(start, shape) if start else dit.make_dit(shape)).to(plan.device)
    gentle = GENTLE if start else 1.0
    if start and stage == "dit":
        dit.keep_queries_and_keys(model)
    optimizers = make_optimizers(model.named_parameters(), ("blocks.",), gentle * dit.MUON_RATE, gentle * dit.ADAM_RATE)
    buckets = (dataset.SMALL,) if stage == "small" else dataset.BUCKETS
    data = [dataset.load_bucket(bucket, plan.out / "clips") for bucket in buckets]

    def loss_of(step: int) -> torch.Tensor:
        return dit.flow_matching_loss(model, data, shape, plan.seed, step)

    train(stage, model, optimizers, loss_of, plan.checkpoint(stage), ema=dit.EMA, **plan.length(stage))
    dit.export(model, plan.model(stage))


def _train_classifier(plan: Plan) -> None:
    if plan.model("classifier").exists():
        return
    torch.manual_seed(plan.seed)
    model = judge.Classifier().to(plan.device)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=judge.RATE, weight_decay=1e-4)]

    def loss_of(step: int) -> torch.Tensor:
        return judge.loss(model, plan.seed, step)

    train("classifier", model, optimizers, loss_of, plan.checkpoint("classifier"), **plan.length("classifier"))
    model.cpu().eval().save(plan.model("classifier"))


def _report(plan: Plan) -> None:
    """Measure and draw what has been made."""
    model, classifier = vae.load_vae(plan.model("vae")), judge.Classifier.load(plan.model("classifier"))
    colour, shape = judge.accuracy(classifier, TEST_SEED, 200)
    report: dict[str, Any] = {"classifier": {"colour_right": colour, "shape_right": shape}}
    report["vae"] = reconstructions(model, classifier, TEST_SEED, plan.out / "sheets" / "vae.png")
    for stage, size in TRANSFORMERS.items():
        if size.sigmas == (0.0, 1.0) and plan.model(stage).exists():
            transformer = dit.load_dit(plan.model(stage), size)
            report[stage] = samples(transformer, model, classifier, plan.out / "sheets" / f"{stage}.png")
    done = {stage: Progress.of_file(plan.checkpoint(stage)) for stage in SHARES if plan.checkpoint(stage).exists()}
    report["steps"] = {stage: progress.done for stage, progress in done.items()}
    report["curves"] = {stage: progress.curve for stage, progress in done.items()}
    curves(report["curves"], plan.out / "sheets" / "curves.png")
    (plan.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
