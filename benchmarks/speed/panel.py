"""What the live panel costs a run: the time in its messages, as a share of the run's.

python -m benchmarks.speed.panel [--json OUT]. On the tiny model, whose inner steps are the shortest there are, so that the
share is the largest there is. Counted are the making of every message, its hand-over to the server and its JSON;
drawing is the browser's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.runs.in_process import Host
from fastvmt_core.tiny_prompt import encode
from tools.demo.transfer import GRAPH, node

ROUNDS = 3
METHODS = ("begins", "step_begins", "inner_step", "guided")
MOST = 0.02
"""Share of a run that the panel may take."""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and keep the share; 0 if it is within bounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.panel", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the result there")
    options = parser.parse_args(arguments)
    found = measure(Host())
    text = json.dumps(found, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0 if found["share"] <= MOST else 1


def measure(host: Host) -> dict[str, Any]:
    """The median share over a few runs of the demo's settings."""
    graph = json.loads(GRAPH.read_text(encoding="utf-8"))
    sampler, apply = (node(graph, title)["inputs"] for title in ("Sample guided", "Apply motion"))
    config = host.pack("nodes.guidance").guidance_config(
        **{name: value for name, value in apply.items() if not isinstance(value, list)}
    )
    weights = host.pack("fastvmt_core.presets").PAPER_LOSS_WEIGHTS
    how = {name: value for name, value in sampler.items() if not isinstance(value, list)}
    with torch.inference_mode():
        model, motion = _motion(host, graph)
        rounds = [_round(host, model, motion, weights, config, how) for _ in range(ROUNDS)]
    share = statistics.median(spent / total for spent, total, _ in rounds)
    return {
        "share": round(share, 5),
        "seconds": round(statistics.median(total for _, total, _ in rounds), 2),
        "messages": rounds[0][2],
        "at_most": MOST,
    }


def _motion(host: Host, graph: dict[str, Any]) -> tuple[Any, Any]:
    settings = node(graph, "Invert motion")["inputs"]
    model = host.pack("nodes.host.files.tiny_model").load_model()
    (model,) = host.classes["ModelSamplingSD3"]().patch(model, **_widgets(node(graph, "Shift")["inputs"]))
    latent = {"samples": torch.randn(1, 16, 5, 16, 16, generator=torch.Generator().manual_seed(1))}
    read = host.pack("nodes.inversion").FastVMTInvertMotion
    return model, read.execute(model, latent, [[encode(""), {}]], **_widgets(settings)).args[0]


def _widgets(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if not isinstance(value, list)}


def _round(
    host: Host, model: object, motion: object, weights: object, config: object, how: dict[str, Any]
) -> tuple[float, float, int]:
    """(seconds in messages, seconds in all, messages) of one run."""
    report = host.pack("nodes.host.page.report").GuidanceReport
    spent, plain = 0.0, {name: getattr(report, name) for name in METHODS}

    def timed(method: Any) -> Any:  # noqa: ANN401  (any method of the report)
        def run(self: object, *given: object) -> None:
            nonlocal spent
            start = time.perf_counter()
            method(self, *given)
            spent += time.perf_counter() - start

        return run

    guided = host.pack("nodes.host.sampling.wrapper").apply_motion(model, motion, weights, config, "1")
    prompts = [[encode("blue square plain"), {}]], [[encode(""), {}]]
    host.receiver.drain()
    for name, method in plain.items():
        setattr(report, name, timed(method))
    try:
        start = time.perf_counter()
        host.pack("nodes.host.sampling.ksampler").sample(
            guided, *prompts, {"samples": torch.zeros(1, 16, 5, 16, 16)}, **how
        )
        total = time.perf_counter() - start
    finally:
        for name, method in plain.items():
            setattr(report, name, method)
    messages = [event for event in host.receiver.drain() if event[0].startswith("fastvmt.")]
    start = time.perf_counter()
    json.dumps(messages)
    return spent + time.perf_counter() - start, total, len(messages)


if __name__ == "__main__":
    sys.exit(main())
