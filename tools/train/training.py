"""The training loop of all tiny models: seeded, resumable, with progress lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from tools.train.checkpoint import Progress, load_training, save_training
from tools.train.optimizers import set_rates

SAVE_EVERY = 100
SHOW_EVERY = 20


def train(
    name: str,
    module: torch.nn.Module,
    optimizers: list[torch.optim.Optimizer],
    loss_of: Callable[[int], torch.Tensor],
    checkpoint: Path,
    *,
    steps: int,
    ema: float = 0.0,
) -> Progress:
    """The progress of a finished training; ``module`` holds the trained weights, with ``ema`` their average.

    ``loss_of(step)`` must depend on the step and the weights alone: then a training that was stopped resumes from its
    checkpoint as if nothing had happened, and the same number of steps gives the same weights on the same machine.

    Args:
        name: the name in the progress lines.
        module: its parameters are those that are trained.
        optimizers: their present learning rates are the highest ones.
        loss_of: the loss of a step's batch.
        checkpoint: the file of the training's state, from which it resumes.
        steps: of the whole training; a checkpoint keeps its own number.
        ema: decay of the exponential average of the weights, a step; 0 for none.
    """
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    live = module.state_dict()
    progress = Progress(of=steps)
    average = {key: value.clone() for key, value in live.items()} if ema else {}
    if checkpoint.exists():
        progress, kept = load_training(checkpoint, module, optimizers)
        average = kept or average
    started, since, total = time.monotonic(), progress.done, 0.0
    while progress.done < progress.of:
        set_rates(optimizers, rates, progress.done, progress.of)
        loss = loss_of(progress.done)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        progress.done += 1
        decay = min(ema, (1 + progress.done) / (10 + progress.done))
        for key, value in average.items():
            value.lerp_(live[key], 1 - decay)
        total += float(loss.detach())
        if progress.done % SHOW_EVERY == 0:
            progress.curve.append([progress.done, round(total / SHOW_EVERY, 5)])
            pace = (time.monotonic() - started) / (progress.done - since)
            left = pace * (progress.of - progress.done) / 60
            shown = f"{name}: step {progress.done} of {progress.of}, loss {total / SHOW_EVERY:.4f}"
            print(f"{shown}, {pace:.2f} s a step, {left:.0f} min left", flush=True)
            total = 0.0
        if progress.done % SAVE_EVERY == 0 or progress.done == progress.of:
            save_training(checkpoint, module, optimizers, progress, average)
    if average:
        module.load_state_dict(average)
    return progress
