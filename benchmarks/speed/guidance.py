"""One guided step at real shapes, beside a plain step and other schedules: seconds, memory, work done and foreseen.

python -m benchmarks.speed.guidance --preset wan1.3b --size 480x832x81 --json OUT

The host's own Wan class, loaded by the host's loader, with random weights: speed and memory do not depend on their
values. All contenders run in one process, in turn, after a warm-up; the table has medians. Only the guidance of a step
is timed; the ordinary CFG step that follows any guidance is a row of its own. On a CPU times are those of the process,
which other programs disturb less; on one thread they can be compared.

benchmarks/speed/rivals.py defines the other methods.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import os
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.measuring import Measured, now, report
from benchmarks.speed.model import Rates, Shape, Work, global_step, our_step, plain_step, released_step
from benchmarks.speed.real_sizes import DTYPES, MODELS, Bench, arguments_of, preset_of, token_grid
from benchmarks.speed.rivals import GUIDED, RELEASED_BLOCK, RELEASED_BLOCKS, ReleasedCode, ditflow, released
from fastvmt_core.budget.memory import GuidedPass, MemoryPlan
from fastvmt_core.budget.time import ATTENTION_BACKWARD
from fastvmt_core.config import AdaptiveInterval

Contender = Callable[[Bench, int], Measured]
"""Runs once with so many inner steps."""


class _Guided(Exception):  # noqa: N818
    """Ends a run once its guidance is measured."""


def plain(bench: Bench, inner_steps: int, compiled: Any = None) -> Measured:  # noqa: ANN401
    """One denoising step with CFG."""
    measured: Measured = {}

    def step(model: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any], **_: object) -> Tensor:  # noqa: ANN401
        bench.meter.begin(compiled is not None)
        model(x, sigmas[:1].clone(), **extra_args)
        measured.update(bench.meter.end())
        return x

    bench.run(step, compiled)
    return {**measured, "gradients": 0, "recomputed": 0}


def ours(bench: Bench, inner_steps: int, **settings: object) -> Measured:
    """One guided step through the pack's own sampler wrapper; settings of GuidanceConfig."""
    import comfy.k_diffusion.sampling

    presets, sampling = bench.host.pack("fastvmt_core.presets"), bench.host.pack("nodes.host.sampling.wrapper")
    config = dataclasses.replace(presets.PRESETS["paper"], inner_steps=inner_steps, end_percent=1.0, **settings)
    measured: Measured = {}

    def report_event(event: str, data: dict[str, Any]) -> None:
        if event == "guidance":
            measured["plan"] = data["memory"]
        elif event == "step":
            bench.meter.begin()
        elif event == "guided_step":
            measured.update(bench.meter.end(), gradients=data["gradient_evaluations"])
            raise _Guided

    guided = sampling.apply_motion(bench.model, bench.motion(), presets.PAPER_LOSS_WEIGHTS, config, None, report_event)
    try:
        bench.run(comfy.k_diffusion.sampling.sample_euler, guided)
    except _Guided:
        plan = measured["plan"]
        return {**measured, "recomputed": plan["recomputed_blocks"], "offloaded": plan["offloaded"]}
    raise RuntimeError("the step was not guided")


def adaptive(bench: Bench, inner_steps: int) -> Measured:
    """Ours with the interval that chooses itself."""
    interval = bench.host.pack("fastvmt_core.config").AdaptiveInterval(**vars(AdaptiveInterval()))
    return ours(bench, inner_steps, adaptive=interval, memory="auto")


ROWS: dict[str, Contender] = {
    "plain step with CFG": plain,
    "ours, Delta 3, fastest": partial(ours, memory="fastest"),
    "released schedule": released,
    "ours, Delta 3, auto": partial(ours, memory="auto"),
    "ours, Delta 3, smallest": partial(ours, memory="smallest"),
    "ours, Delta 1, auto": partial(ours, gradient_interval=1, memory="auto"),
    "ours, adaptive, auto": adaptive,
    "DiTFlow's manner": ditflow,
}
RELEASED_ROW, COMPILED_ROW = "released code itself", "plain step with CFG, compiled"


def contenders(bench: Bench, wanted: str, compiled: bool) -> tuple[dict[str, Contender], dict[str, str]]:
    """The contenders to run, by name, and the reasons why the others are not run."""
    names = [part.strip() for part in wanted.split(";") if part.strip()]
    chosen = {name: run for name, run in ROWS.items() if not names or any(part in name for part in names)}
    if not chosen:
        raise ValueError(f"--rows: expected parts of {'; '.join(ROWS)}, got {wanted!r}.")
    root, not_run = os.environ.get("FASTVMT_RELEASED"), {name: "not asked for" for name in ROWS if name not in chosen}
    refusal = "FASTVMT_RELEASED names no checkout" if not root else ReleasedCode.refusal(bench)
    if refusal is None:
        chosen[RELEASED_ROW] = ReleasedCode(Path(root), bench)
    else:
        not_run[RELEASED_ROW] = refusal
    if compiled:
        chosen[COMPILED_ROW] = partial(plain, compiled=compiled_model(bench))
    else:
        not_run[COMPILED_ROW] = "not asked for (--compile)"
    return chosen, not_run


def compiled_model(bench: Bench) -> Any:  # noqa: ANN401
    """A clone whose blocks the host compiles, as its node for that does; the guided pass leaves that out."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    clone = bench.model.clone()
    keys = [f"diffusion_model.blocks.{index}" for index in range(bench.preset.depth)]
    set_torch_compile_wrapper(model=clone, backend="inductor", keys=keys)
    return clone


def counted(report: dict[str, Any]) -> dict[str, Any]:
    """A report whose rows also have the counted work, and the foreseen seconds and memory."""
    rates = Rates(**report["rates"])
    rows = {}
    for name, row in report["rows"].items():
        work, seconds = work_of(name, row, report), statistics.median(row["seconds"])
        rows[name] = {
            **row,
            "median_seconds": seconds,
            "foreseen_seconds": work.seconds(rates),
            "foreseen_mib": foreseen_mib(name, row, report),
            "tflop": work.tflop,
            "tflop_per_second": work.tflop / seconds,
            "share_of_ceiling": work.tflop * 1e12 / seconds / rates.products,
        }
    return {**report, "rows": rows}


def shape_of(report: dict[str, Any]) -> Shape:
    """The shape of a report."""
    fields = {field.name: report["shape"][field.name] for field in dataclasses.fields(Shape)}
    return Shape(**{**fields, "grid": tuple(fields["grid"])})


def work_of(name: str, row: Measured, report: dict[str, Any]) -> Work:
    """The counted work of a row."""
    shape, block, gradients = shape_of(report), report["block"], row["gradients"]
    if name.startswith("plain"):
        return plain_step(shape)
    if name == RELEASED_ROW:
        return released_step(shape, RELEASED_BLOCK, RELEASED_BLOCKS, gradients)
    if name.startswith("released"):
        return released_step(shape, block, report["released_blocks"], gradients)
    if name.startswith("ours"):
        return our_step(shape, block, gradients, row["recomputed_blocks"])
    return global_step(shape, block, gradients)


def foreseen_mib(name: str, row: Measured, report: dict[str, Any]) -> float | None:
    """Peak memory of a row of ours, as the product foresees it when it plans a run; None for the other rows."""
    if not name.startswith("ours"):
        return None
    shape = shape_of(report)
    # A block computes with copies of weights that have another dtype, and backward needs them.
    cast = DTYPES[report["weights"]] != getattr(torch, report["computed_in"])
    sizes = GuidedPass(
        batch=1,
        tokens=shape.tokens,
        dim=shape.dim,
        ffn_dim=shape.ffn_dim,
        blocks=report["block"],
        bytes_per_value=shape.bytes_per_value,
        weight_copies=shape.bytes_per_value * shape.dim * (8 * shape.dim + 2 * shape.ffn_dim) if cast else 0,
    )
    # On a CPU the inputs of recomputed blocks wait in the same memory.
    plan = MemoryPlan(row["recomputed_blocks"], row["offloaded"] and report["clock"] == "wall")
    return sizes.needed(plan) / 2**20


def seconds_of(run: Callable[[], object], least: float = 0.5) -> float:
    """Seconds of one call, over as many as take `least`."""
    run()
    since, count = now(), 0
    while (spent := now() - since) < least or not count:
        run()
        count += 1
    return spent / count


def device_rates(bench: Bench) -> Rates:
    """The device's rates at the block's own shapes: products, attention forward and backward, elementwise work."""
    shape, heads = bench.shape, bench.preset.heads
    like = {"device": bench.device, "dtype": bench.dtype}
    tokens = torch.randn(shape.tokens, shape.dim, **like)
    wide = torch.randn(shape.tokens, shape.ffn_dim, **like)
    square = torch.randn(shape.dim, shape.dim, **like)
    up = torch.randn(shape.ffn_dim, shape.dim, **like)
    down = torch.randn(shape.dim, shape.ffn_dim, **like)

    def products() -> None:
        for _ in range(6):
            F.linear(tokens, square)
        F.linear(tokens, up)
        F.linear(wide, down)

    def elementwise() -> None:
        normed = F.layer_norm(tokens, (shape.dim,))
        torch.addcmul(tokens, normed, square[0])
        F.gelu(wide, approximate="tanh")

    with torch.inference_mode(False), torch.enable_grad():
        q, k, v = (
            torch.randn(1, heads, shape.tokens, shape.dim // heads, **like, requires_grad=True) for _ in range(3)
        )
        out = F.scaled_dot_product_attention(q, k, v)
        gradient = torch.randn_like(out)
        forward = seconds_of(lambda: F.scaled_dot_product_attention(q, k, v))
        backward = seconds_of(lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True))
    own = 2 * shape.tokens * shape.dim * (6 * shape.dim + 2 * shape.ffn_dim)
    # Two values a channel for the norm, three for the modulation, two of the wide ones for the gelu.
    moved = shape.tokens * (5 * shape.dim + 2 * shape.ffn_dim) * shape.bytes_per_value
    return Rates(
        products=own / seconds_of(products),
        attention=shape.attention / forward,
        attention_backward=ATTENTION_BACKWARD * shape.attention / backward,
        moved=moved / seconds_of(elementwise),
    )


def rounds_of(
    bench: Bench, chosen: dict[str, Contender], rounds: int, not_run: dict[str, str]
) -> tuple[dict[str, list[Measured]], list[Rates]]:
    """Every contender once a round, and the device's rates before each; one that runs out of memory drops out."""
    runs: dict[str, list[Measured]] = {name: [] for name in chosen}
    rates = []
    for turn in range(rounds):
        rates.append(device_rates(bench))
        for name, run in chosen.items():
            if name not in not_run:
                _attempt(name, partial(run, bench, GUIDED.inner_steps), runs[name], not_run)
                print(f"round {turn + 1}: {name}: {runs[name][-1:] or not_run[name]}", file=sys.stderr, flush=True)
    return {name: each for name, each in runs.items() if each}, rates


def _attempt(name: str, run: Callable[[], Measured], runs: list[Measured], not_run: dict[str, str]) -> None:
    try:
        runs.append(run())
    except torch.OutOfMemoryError:
        not_run[name] = "out of memory"
        runs.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def warm_up(bench: Bench, chosen: dict[str, Contender], not_run: dict[str, str]) -> None:
    """Each contender once with one inner step: at its size on a card, whose libraries tune themselves, else at a small
    one, so that libraries have set themselves up before."""
    small = bench if bench.device.type == "cuda" else dataclasses.replace(bench, grid=(2, 4, 4), text=8, _motion=None)
    for name, run in chosen.items():
        if small is bench or name != RELEASED_ROW:
            _attempt(name, partial(run, small, 1), [], not_run)


def row_of(runs: list[Measured]) -> Measured:
    """A row of the report, as measured."""
    last = runs[-1]
    return {
        "seconds": [run["seconds"] for run in runs],
        "peak_mib": max(run["peak_mib"] for run in runs),
        "gradients": last["gradients"],
        "recomputed_blocks": last["recomputed"],
        "offloaded": last.get("offloaded", False),
        "blocks_entered": last["blocks_entered"],
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The whole report."""
    bench = Bench.of_options(options)
    chosen, not_run = contenders(bench, options.rows, options.compile)
    warm_up(bench, chosen, not_run)
    runs, rates = rounds_of(bench, chosen, options.rounds, not_run)
    middle = Rates(**{name: statistics.median(getattr(each, name) for each in rates) for name in vars(rates[0])})
    measured = {
        **bench.facts(options),
        "block": bench.block,
        "released_blocks": bench.released_blocks,
        "model_mib": bench.model.model_size() / 2**20,
        "inner_steps": GUIDED.inner_steps,
        "rounds": options.rounds,
        "rates": vars(middle),
        "rates_by_round": [vars(each) for each in rates],
        "rows": {name: row_of(each) for name, each in runs.items()},
        "not_run": not_run,
    }
    return counted(measured)


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = arguments_of(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times each contender runs")
    parser.add_argument("--rows", default="", help="parts of contenders' names, between semicolons; else all")
    parser.add_argument("--compile", action="store_true", help="also a plain step with compiled blocks")
    options = parser.parse_args(arguments)
    token_grid(options.size or MODELS[options.preset].size, preset_of(options))
    report("benchmarks.speed.guidance", arguments, options, measure)


if __name__ == "__main__":
    main()
