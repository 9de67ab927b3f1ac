"""Peak memory of a guided step by memory level, beside the plan's own estimate.

python -m benchmarks.speed.guided_memory --json OUT

A Wan of 16 blocks with random weights, on the CPU unless there is a card. One process a level and block: the peak in a
guided step of one inner step, attention motion flow and losses included, above the memory held before.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.guidance import ours
from benchmarks.speed.measuring import MARK, in_own_process, machine
from benchmarks.speed.real_sizes import MODELS, Bench

PRESET, SIZE = MODELS["cpu"], "256x512x29"
LEVELS = ("fastest", "auto", "smallest")


def guided_peak(level: str, block: int) -> dict[str, Any]:
    """Peak, seconds and plan of one guided step, through the pack's own sampler wrapper."""
    bench = dataclasses.replace(Bench.of(PRESET, SIZE, PRESET.precision, text=4), block=block)
    # Once on a small grid, so that libraries have set themselves up before.
    ours(dataclasses.replace(bench, grid=(2, 4, 4)), 1, memory=level)
    step = ours(bench, 1, memory=level)
    return {"above_load_mib": step["peak_mib"], "seconds": step["seconds"], "plan": step["plan"]}


def report(threads: int) -> dict[str, Any]:
    """The peaks of every level, for a block in the middle and the last one."""
    memory: dict[str, Any] = {}
    for block in (PRESET.depth // 2, PRESET.depth - 1):
        command = ["--threads", str(threads), "--block", str(block), "--level"]
        levels = {level: in_own_process("benchmarks.speed.guided_memory", [*command, level]) for level in LEVELS}
        peaks = {level: result["above_load_mib"] for level, result in levels.items()}
        memory[f"block {block}"] = {"smallest_over_fastest": peaks["smallest"] / peaks["fastest"], "levels": levels}
    case = f"dim {PRESET.dim}, {PRESET.depth} blocks, float32, {SIZE}"
    return {"machine": machine(threads), "memory_case": case, "memory": memory}


def main(arguments: list[str] | None = None) -> None:
    """Measure every level, or the one of --level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--level", choices=LEVELS, help="measure this level's peak alone")
    parser.add_argument("--block", type=int, default=PRESET.depth // 2)
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
