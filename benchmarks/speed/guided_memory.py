"""Peak memory of a guided step by memory level.

python -m benchmarks.speed.guided_memory --json OUT

The host's own Wan class with random weights, loaded by the host's loader, on the CPU unless there is a card. One
process a level: the peak of the process (VmHWM; on a card that of its allocator) in a guided step, attention motion
flow and losses included, above the memory held before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.runs.in_process import Host
from tools.host.layout import REPO
from tools.host.made_models import wan_weights

DIM, HEADS, FFN = 512, 4, 2048
DEPTH, GRID = 16, (8, 16, 32)
LEVELS = ("fastest", "auto", "smallest")
STEPS = [1.0, 0.9]
MARK = "measured: "
"""Begins the line with a measuring process's result."""


def made_model(depth: int) -> Any:  # noqa: ANN401
    """A ModelPatcher of a text-to-video Wan of `depth` blocks, as a loader node makes it."""
    import comfy.sd

    weights = wan_weights(dim=DIM, ffn_dim=FFN, num_heads=HEADS, num_layers=depth)
    with torch.inference_mode():
        return comfy.sd.load_diffusion_model_state_dict(weights)


def latent(grid: tuple[int, int, int], seed: int, channels: int = 16) -> Tensor:
    """Noise of the size of a token grid (F, H, W)."""
    frames, height, width = grid
    return torch.randn(1, channels, frames, 2 * height, 2 * width, generator=torch.Generator().manual_seed(seed))


def prompt(tokens: int = 4, seed: int = 7) -> list:
    """A CONDITIONING of so many tokens."""
    return [[torch.randn(1, tokens, 4096, generator=torch.Generator().manual_seed(seed)), {}]]


def sample(
    model: Any,  # noqa: ANN401
    function: Callable,
    noise: Tensor,
    levels: Sequence[float] = STEPS,
    prompts: Sequence[list] | None = None,
    cfg: float = 1.0,
) -> None:
    """Run a sampler function as a sampler node does, on noise (1, C, F, h, w); prompts: positive, negative."""
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.inner_set_conds(dict(zip(("positive", "negative"), prompts or [prompt()], strict=False)))
    guider.set_cfg(cfg)
    with torch.inference_mode():
        sampler, sigmas = comfy.samplers.KSAMPLER(function), torch.tensor(levels)
        guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=0)


class Peak:
    """The peak of allocated memory since the last reset, bytes."""

    def reset(self) -> int:
        """The bytes held now, from which the next peak counts."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated()
        # "5" resets the process's high-water mark (proc(5)).
        Path("/proc/self/clear_refs").write_text("5")
        return self._status("VmRSS")

    def read(self) -> int:
        """The peak since the reset."""
        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else self._status("VmHWM")

    def _status(self, name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def guided_peak(level: str, block: int) -> dict[str, Any]:
    """Peak and seconds of one guided step of one inner step, through the pack's own sampler wrapper."""
    host = Host()
    import comfy.k_diffusion.sampling

    core, sampling = host.pack("fastvmt_core.config"), host.pack("nodes.host.sampling.guidance")
    model, peak, measured = made_model(DEPTH), Peak(), {}
    # Once on a small grid, so that libraries have set themselves up before.
    for grid in ((2, 4, 4), GRID):
        with torch.inference_mode():
            motion = host.pack("nodes.host.reading.inversion").invert_motion(
                model, latent(grid, 1), prompt(), core.AMFConfig(), (block,), (0.3,), 5, "ignore"
            )

        def report_event(event: str, data: dict[str, Any]) -> None:
            if event == "guidance":
                measured.update(plan=data["memory"], before=peak.reset(), since=time.process_time())
            elif event == "guided_step":
                # Sent after the guided step and before the ordinary one that follows it.
                measured.update(peak=peak.read(), seconds=time.process_time() - measured["since"])

        config = core.GuidanceConfig(inner_steps=1, lr_start=0.01, lr_end=0.01, end_percent=1, memory=level)
        guided = sampling.apply_motion(model, motion, core.PAPER_LOSS_WEIGHTS, config, None, report_event)
        sample(guided, comfy.k_diffusion.sampling.sample_euler, latent(grid, 2))
    above = (measured["peak"] - measured["before"]) / 2**20
    return {"above_load_mib": above, "seconds": measured["seconds"], "plan": measured["plan"]}


def now() -> float:
    """Seconds: of the process on a CPU, which others on the machine disturb less, and of the clock with a card."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def in_own_process(arguments: list[str], module: str = "benchmarks.speed.guided_memory") -> dict[str, Any]:
    """The result that a benchmark prints after `MARK`, when run once more with these arguments."""
    # Blocks that malloc takes from the system one by one are returned when freed: the peak is then that of tensors.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144", "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-m", module, *arguments]
    # Its log stays on stderr.
    done = subprocess.run(command, cwd=REPO, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    results = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not results:
        raise RuntimeError(f"python -m {module} {' '.join(arguments)} failed; its error is above")
    return json.loads(results[-1].removeprefix(MARK))


def machine(threads: int) -> str:
    """The machine, device and torch of a measurement."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {threads} thread(s)"
    return f"{platform.machine()}, {name}, torch {torch.__version__}"


def report(threads: int) -> dict[str, Any]:
    """The peaks of every level, each measured in a process of its own."""
    memory: dict[str, Any] = {}
    for block in (DEPTH // 2, DEPTH - 1):
        command = ["--threads", str(threads), "--block", str(block), "--level"]
        levels = {level: in_own_process([*command, level]) for level in LEVELS}
        peaks = {level: result["above_load_mib"] for level, result in levels.items()}
        memory[f"block {block}"] = {"smallest_over_fastest": peaks["smallest"] / peaks["fastest"], "levels": levels}
    case = f"dim {DIM}, {DEPTH} blocks, float32, {'x'.join(map(str, GRID))} tokens"
    return {"machine": machine(threads), "memory_case": case, "memory": memory}


def main(arguments: list[str] | None = None) -> None:
    """Measure every level, or the one of --level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--level", choices=LEVELS, help="measure this level's peak alone")
    parser.add_argument("--block", type=int, default=DEPTH // 2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.level:
        print(MARK + json.dumps(guided_peak(options.level, options.block)))
        return
    text = json.dumps(report(options.threads), indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
