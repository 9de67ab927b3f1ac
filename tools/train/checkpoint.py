"""Training state in one safetensors file, written whole or not at all, so that a stopped training resumes exactly."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]


@dataclass
class Progress:
    """The progress of a training: steps done, steps in all, losses (``curve``), and what was measured on the model.

    ``sums`` are the losses since the last entry of ``curve``: (sum, number) by kind of batch. ``resumed`` is the step
    at which the training last went on from weights alone, with optimisers that know nothing yet.
    """

    done: int = 0
    of: int = 0
    resumed: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, list[float]] = field(default_factory=dict)

    def add(self, kind: str, loss: float) -> None:
        """A step's loss is counted."""
        total, number = self.sums.get(kind, (0.0, 0))
        self.sums[kind] = [total + loss, number + 1]

    def close(self) -> dict[str, float]:
        """The mean losses by kind since the last call, which become an entry of ``curve``."""
        means = {kind: round(total / number, 5) for kind, (total, number) in sorted(self.sums.items())}
        self.curve.append({"step": self.done, **means})
        self.sums = {}
        return means

    @property
    def metadata(self) -> dict[str, str]:
        """Of a safetensors file, for ``of_file``."""
        return {"progress": json.dumps(vars(self))}

    @classmethod
    def of_file(cls, path: Path) -> Progress:
        """The progress of a checkpoint, or of the weights that were written with one."""
        with safe_open(path, "pt") as file:
            return cls(**json.loads(file.metadata()["progress"]))

    @classmethod
    def resumed_from(cls, path: Path) -> Progress:
        """The progress of a training that goes on from weights alone."""
        progress = cls.of_file(path)
        progress.resumed = progress.done
        return progress


def save_training(
    path: Path, module: torch.nn.Module, optimizers: list[torch.optim.Optimizer], progress: Progress, extra: Tensors
) -> None:
    """Weights, optimiser states, progress and ``extra`` tensors are written to ``path``."""
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    tensors |= {f"extra.{name}": value for name, value in extra.items()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer.{number}.{index}.{name}"] = torch.as_tensor(value)
    write_tensors(path, tensors, progress.metadata)


def load_training(
    path: Path, module: torch.nn.Module, optimizers: list[torch.optim.Optimizer]
) -> tuple[Progress, Tensors]:
    """The progress and the extra tensors of ``save_training``, whose weights and states are put back."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (the file is no mapping)
    module.load_state_dict(_under(tensors, "module."))
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _under(tensors, f"optimizer.{number}.").items():
            index, _, field_name = name.partition(".")
            state.setdefault(int(index), {})[field_name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return Progress.of_file(path), _under(tensors, "extra.")


def load_weights(path: Path, module: torch.nn.Module) -> Progress:
    """The progress of weights that were written alone, which ``module`` gets."""
    module.load_state_dict(load_file(path))
    return Progress.resumed_from(path)


def write_tensors(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> None:
    """``tensors`` are written to ``path``, which is replaced only by a whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    save_file({name: value.detach().contiguous().cpu() for name, value in tensors.items()}, temporary, metadata)
    os.replace(temporary, path)


def _under(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
