"""Peak memory of a guided step by plan, and its time against a pass through the whole model.

python -m benchmarks.speed.guided_memory --json OUT

The host's own Wan class with random weights, loaded by the host's loader, on the CPU unless there is a card. Memory:
one process a level, the peak of the process (VmHWM; on a card that of its allocator) in a guided step above what it
held before, attention motion flow and losses included. Time: one process, both passes in turn, medians, without flow
and losses; process time on a CPU, which others on the machine disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
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
MEMORY_DEPTH, MEMORY_GRID = 16, (8, 16, 32)
TIME_DEPTH, TIME_BLOCK, TIME_GRID = 30, 15, (4, 16, 16)
LEVELS = ("fastest", "auto", "smallest")
STEPS = [1.0, 0.9]
MARK = "measured: "
"""Begins the line in which a measuring process says its result."""


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
    """Run a sampler function as a sampler node does on noise (1, C, F, h, w); prompts: positive, negative."""
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.inner_set_conds(dict(zip(("positive", "negative"), prompts or [prompt()], strict=False)))
    guider.set_cfg(cfg)
    with torch.inference_mode():
        sampler, sigmas = comfy.samplers.KSAMPLER(function), torch.tensor(levels)
        guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=0)


class Peak:
    """The peak of what is held since the last reset, bytes."""

    def reset(self) -> int:
        """Forget the peak so far; returns what is held now."""
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

    core, sampling = host.pack("fastvmt_core.config"), host.pack("nodes.host.sampling.wrapper")
    model, peak, seen = made_model(MEMORY_DEPTH), Peak(), {}
    # Once on a small grid, so that what libraries set up for themselves at their first use is there before.
    for grid in ((2, 4, 4), MEMORY_GRID):
        with torch.inference_mode():
            motion = host.pack("nodes.host.reading.inversion").invert_motion(
                model, latent(grid, 1), prompt(), core.AMFConfig(), (block,), (0.3,), 5, "ignore"
            )

        def tell(event: str, data: dict[str, Any]) -> None:
            if event == "guidance":
                seen.update(plan=data["memory"], before=peak.reset(), since=time.process_time())
            elif event == "guided_step":
                # Told after the guided step and before the ordinary one that follows it.
                seen.update(peak=peak.read(), seconds=time.process_time() - seen["since"])

        config = core.GuidanceConfig(inner_steps=1, lr_start=0.01, lr_end=0.01, end_percent=1, memory=level)
        guided = sampling.apply_motion(
            model, motion, host.pack("fastvmt_core.presets").PAPER_LOSS_WEIGHTS, config, None, tell
        )
        sample(guided, comfy.k_diffusion.sampling.sample_euler, latent(grid, 2))
    above = (seen["peak"] - seen["before"]) / 2**20
    return {"above_load_mib": above, "seconds": seen["seconds"], "plan": seen["plan"]}


def pass_times(rounds: int) -> dict[str, Any]:
    """Seconds of forward and backward: guided, up to block 15 of 30; and through all blocks and the head."""
    host = Host()
    capture, scope = host.pack("nodes.host.attention.capture"), host.pack("nodes.host.gradient.scope").gradient_scope
    grid = host.pack("fastvmt_core.grid").TokenGrid(*TIME_GRID)
    seconds: dict[str, list[float]] = {"guided": [], "full": []}

    def measure(model: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any], **_: object) -> Tensor:  # noqa: ANN401
        base = model.inner_model.inner_model
        options = {"optimized_attention_override": capture._pytorch_attention}

        def guided(point: Tensor) -> Tensor:
            q, k = capture.capture_qk(model, point, sigmas[:1].clone(), extra_args, (TIME_BLOCK,), grid)
            return q.square().sum() + k.square().sum()

        def full(point: Tensor) -> Tensor:
            context = prompt()[0][0]
            out = base.apply_model(point, sigmas[:1].clone(), c_crossattn=context, transformer_options=dict(options))
            return out.square().sum()

        for turn in range(rounds + 1):
            for name, run in (("guided", guided), ("full", full)):
                with scope(base.diffusion_model):
                    point, since = x.clone().requires_grad_(True), now()
                    torch.autograd.grad(run(point), point)
                    # The first turn warms up.
                    if turn:
                        seconds[name].append(now() - since)
        return x

    sample(made_model(TIME_DEPTH), measure, latent(TIME_GRID, 2))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {"ratio": medians["guided"] / medians["full"], "seconds": seconds}


def now() -> float:
    """Seconds: of the process on a CPU, which others on the machine disturb less, and of the clock with a card."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def in_own_process(arguments: list[str], module: str = "benchmarks.speed.guided_memory") -> dict[str, Any]:
    """A benchmark once more with these arguments; what it measured, which it says after `MARK`."""
    # Blocks that malloc takes from the system one by one go back when they are freed: the peak is then that of tensors.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144", "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-m", module, *arguments]
    # What it logs goes on to whoever waits for it.
    done = subprocess.run(command, cwd=REPO, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    said = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not said:
        raise RuntimeError(f"python -m {module} {' '.join(arguments)} failed; its error stands above")
    return json.loads(said[-1].removeprefix(MARK))


def machine(threads: int) -> str:
    """What it was measured on."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {threads} thread(s)"
    return f"{platform.machine()}, {name}, torch {torch.__version__}"


def report(threads: int, rounds: int) -> dict[str, Any]:
    """All measurements, each in a process of its own."""
    shared = ["--threads", str(threads), "--rounds", str(rounds)]
    memory: dict[str, Any] = {}
    for block in (MEMORY_DEPTH // 2, MEMORY_DEPTH - 1):
        levels = {level: in_own_process([*shared, "--level", level, "--block", str(block)]) for level in LEVELS}
        peaks = {level: found["above_load_mib"] for level, found in levels.items()}
        memory[f"block {block}"] = {"smallest_over_fastest": peaks["smallest"] / peaks["fastest"], "levels": levels}
    return {
        "machine": machine(threads),
        "memory_case": f"dim {DIM}, {MEMORY_DEPTH} blocks, float32, {'x'.join(map(str, MEMORY_GRID))} tokens",
        "memory": memory,
        "time_case": f"dim {DIM}, block {TIME_BLOCK} of {TIME_DEPTH}, float32, {'x'.join(map(str, TIME_GRID))} tokens",
        "time": in_own_process([*shared, "--times"]),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure everything, or one thing where an option asks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--level", choices=LEVELS, help="measure this level's peak alone")
    parser.add_argument("--block", type=int, default=MEMORY_DEPTH // 2)
    parser.add_argument("--times", action="store_true", help="measure the times alone")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.level or options.times:
        found = pass_times(options.rounds) if options.times else guided_peak(options.level, options.block)
        print(MARK + json.dumps(found))
        return
    text = json.dumps(report(options.threads, options.rounds), indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
