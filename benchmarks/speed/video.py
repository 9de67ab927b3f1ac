"""A whole generation at real shapes, guided and not: 50 steps with CFG, and 4 steps as distilled models take them.

python -m benchmarks.speed.video --preset wan1.3b --size 480x832x81 --json OUT

The sampling alone: the text encoder and the VAE, which work the same with guidance and without, are left out. The
motion is read from a reference once (its seconds are a figure of their own) and guides by the paper's settings, 10 of
50 steps; the host's euler and simple schedule, shift 8. No server, no page.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

from benchmarks.speed.measuring import Measured, now, report
from benchmarks.speed.model import our_step, plain_step
from benchmarks.speed.real_sizes import CFG, MODELS, Bench, arguments_of, preset_of, sample, token_grid

LENGTHS = {50: CFG, 4: 1.0}
"""CFG by the number of steps: a distilled model runs the positive prompt alone."""


def generation(bench: Bench, steps: int, guided: bool, memory: str) -> Measured:
    """Seconds and peak memory of one generation, and the gradients of its guidance."""
    import comfy.k_diffusion.sampling
    import comfy.samplers

    sampling = bench.model.get_model_object("model_sampling")
    levels = [float(level) for level in comfy.samplers.calculate_sigmas(sampling, "simple", steps)]
    messages: list[dict[str, Any]] = []
    model = with_motion(bench, memory, messages) if guided else bench.model
    bench.meter.begin()
    sample(model, comfy.k_diffusion.sampling.sample_euler, bench.noise(2), levels, bench.prompts(), LENGTHS[steps])
    measured = bench.meter.end()
    done = [data["gradient_evaluations"] for data in messages if "gradient_evaluations" in data]
    plans = [data["memory"]["recomputed_blocks"] for data in messages if data.get("memory")]
    return {**measured, "guided_steps": len(done), "gradients": sum(done), "recomputed": plans[-1] if plans else 0}


def with_motion(bench: Bench, memory: str, messages: list[dict[str, Any]]) -> Any:  # noqa: ANN401
    """The model with Apply Motion; `messages` gets those that it sends."""
    presets, sampling = bench.host.pack("fastvmt_core.presets"), bench.host.pack("nodes.host.sampling.wrapper")
    config = dataclasses.replace(presets.PRESETS["paper"], memory=memory)
    weights = presets.PAPER_LOSS_WEIGHTS
    return sampling.apply_motion(
        bench.model, bench.motion(), weights, config, None, lambda _, data: messages.append(data)
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The whole report."""
    bench = Bench.of_options(options)
    # The first reading loads the model and warms up for the second one, which is timed.
    bench.motion()
    bench = dataclasses.replace(bench, _motion=None)
    since = now()
    bench.motion()
    reading = now() - since
    rows = {str(steps): pair_of(bench, steps, options.memory) for steps in options.steps}
    return {
        **bench.facts(options),
        "memory": options.memory,
        "reading_seconds": reading,
        "steps": rows,
    }


def pair_of(bench: Bench, steps: int, memory: str) -> dict[str, Any]:
    """A generation without guidance and one with it."""
    branches = 2 if LENGTHS[steps] > 1 else 1
    rows = {}
    for name, guided in (("plain", False), ("guided", True)):
        measured = generation(bench, steps, guided, memory)
        work = plain_step(bench.shape, branches) * steps
        work = work + our_step(bench.shape, bench.block, measured["gradients"], measured["recomputed"])
        rows[name] = {**measured, "tflop": work.tflop}
        print(f"{steps} steps, {name}: {rows[name]}", file=sys.stderr, flush=True)
    return {**rows, "guided_over_plain": rows["guided"]["seconds"] / rows["plain"]["seconds"]}


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = arguments_of(__doc__)
    parser.add_argument("--steps", type=int, nargs="+", choices=LENGTHS, default=list(LENGTHS))
    parser.add_argument("--memory", choices=("auto", "fastest", "smallest"), default="auto", help="of the guidance")
    options = parser.parse_args(arguments)
    token_grid(options.size or MODELS[options.preset].size, preset_of(options))
    report("benchmarks.speed.video", arguments, options, measure)


if __name__ == "__main__":
    main()
