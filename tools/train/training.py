"""The training loop of all tiny models: seeded, resumable, with a record of the loss by kind of batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tools.train.checkpoint import Progress, Tensors, load_training, load_weights, save_training

SAVE_EVERY, SAVE_SECONDS = 100, 300
"""A checkpoint is written after so many steps, or seconds, whichever comes first."""
SHOW_EVERY = 100
PROBE_EVERY = 1000


@dataclass(frozen=True)
class Pace:
    """How many steps, and the learning rates: up over ``warm_up`` steps, level, down to 0 in the last ``decay`` share.

    ``ema`` is the decay of the average of the weights, a step; 0 for none.
    """

    steps: int
    warm_up: int = 60
    decay: float = 0.45
    ema: float = 0.0

    def rate(self, step: int, resumed: int = 0) -> float:
        """The learning rate of a step, as a share of the highest; it rises anew from the step ``resumed``."""
        up = min(1.0, (step - resumed + 1) / self.warm_up)
        return up * min(1.0, (self.steps - step) / max(1.0, self.decay * self.steps))


def noise_levels(shape: Sequence[int], generator: torch.Generator, shift: float) -> torch.Tensor:
    """Random noise levels in (0, 1) of that shape: sigmoid(1.1 z), shifted as a schedule is."""
    raw = torch.sigmoid(1.1 * torch.randn(shape, generator=generator))
    return shift * raw / (1 + (shift - 1) * raw)


@dataclass(frozen=True)
class Loss:
    """The loss of a step's batch, and of what kind the batch is."""

    kind: str
    value: torch.Tensor


def train(
    name: str,
    module: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    loss_of: Callable[[int], Loss],
    checkpoint: Path,
    pace: Pace,
    *,
    start: Path | None = None,
    saved: Callable[[Tensors, Progress], None] = lambda weights, progress: None,
    probe: Callable[[Tensors], dict[str, Any]] | None = None,
) -> Progress:
    """The progress of a finished training; ``module`` holds the trained weights, with ``pace.ema`` their average.

    ``loss_of(step)`` must depend on the step and the weights alone: then a training that was stopped resumes from its
    checkpoint as if nothing had happened, and the same number of steps gives the same weights on the same machine.

    Args:
        name: the name in the progress lines.
        module: its parameters are those that are trained.
        optimizers: their present learning rates are the highest ones.
        loss_of: the loss of a step's batch.
        checkpoint: the file of the training's state, from which it resumes.
        pace: of the whole training.
        start: weights with their progress, from which a training without a checkpoint goes on.
        saved: gets the weights, or their average, and the progress at each checkpoint.
        probe: measures them every PROBE_EVERY steps and at the end; what it returns is kept in the progress.
    """
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    live = module.state_dict()
    progress = Progress()
    kept: Tensors = {}
    if checkpoint.exists():
        progress, kept = load_training(checkpoint, module, optimizers)
    elif start is not None and start.exists():
        progress = load_weights(start, module)
    average = (kept or {key: value.clone() for key, value in live.items()}) if pace.ema else {}
    progress.of = pace.steps
    started, since, written = time.monotonic(), progress.done, time.monotonic()
    while progress.done < pace.steps:
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * pace.rate(progress.done, progress.resumed)
        loss = loss_of(progress.done)
        loss.value.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        progress.done += 1
        decay = min(pace.ema, (1 + progress.done) / (10 + progress.done))
        for key, value in average.items():
            value.lerp_(live[key], 1 - decay)
        progress.add(loss.kind, float(loss.value.detach()))
        if progress.done % SHOW_EVERY == 0:
            means = progress.close()
            each = (time.monotonic() - started) / (progress.done - since)
            shown = ", ".join(f"{kind} {mean:.4f}" for kind, mean in means.items())
            left = each * (pace.steps - progress.done) / 3600
            print(
                f"{name}: step {progress.done} of {pace.steps}, loss {shown}; {each:.2f} s a step, {left:.1f} h left",
                flush=True,
            )
        last = progress.done == pace.steps
        if probe and (last or progress.done % PROBE_EVERY == 0):
            progress.probes.append({"step": progress.done, **probe(average or live)})
        if last or progress.done % SAVE_EVERY == 0 or time.monotonic() - written > SAVE_SECONDS:
            save_training(checkpoint, module, optimizers, progress, average)
            saved(average or live, progress)
            written = time.monotonic()
    if average:
        module.load_state_dict(average)
    return progress
