"""How well motion transfers: python -m benchmarks.quality.motion --json OUT

Runs the demo's own graph in a ComfyUI in this process, on references whose motion is known, with and without guidance:
the base, and each variant of --sweep and --variants. A bench that was stopped resumes with the same command.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.runs.bench import Plan, RunKey
from benchmarks.runs.measures import CLASSIFIER
from benchmarks.runs.report import summarise, table
from benchmarks.runs.sources import file_digest, model_files
from benchmarks.runs.store import Store
from benchmarks.runs.variants import BASE, all_variants
from benchmarks.runs.workers import WorkerError, run_all
from tools.demo.transfer import GRAPH
from tools.host.layout import Layout


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 1 if a check or a run failed, 2 if a variant cannot be run."""
    options = _options(arguments)
    try:
        return _run(options)
    except (ValueError, WorkerError) as error:
        print(f"motion: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("motion: stopped; the same command resumes from here", file=sys.stderr)
        return 130


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file for the numbers")
    parser.add_argument("--references", type=int, default=8, help="reference clips (default: 8)")
    parser.add_argument("--seeds", type=int, default=1, help="sampler seeds of each reference (default: 1)")
    parser.add_argument(
        "--sweep",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=V1,V2",
        help="change one input at a time: <node title>.<input>, or an input of both samplers such as steps; kind, size "
        "and frames change the reference",
    )
    parser.add_argument("--variants", nargs="+", type=Path, default=[], metavar="FILE", help="JSON lists of variants")
    parser.add_argument("--model", help="diffusion model (default: the demo's)")
    parser.add_argument("--vae", help="VAE (default: the demo's)")
    parser.add_argument("--size", type=int, default=128, help="pixels a side (default: 128)")
    parser.add_argument("--frames", type=int, default=17, help="frames, 4n+1 (default: 17)")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each (default: 2)")
    parser.add_argument("--check", type=float, metavar="R", help="exit 1 if the base's mean correlation is below")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> int:
    files = model_files(json.loads(GRAPH.read_text(encoding="utf-8")), {"model": options.model, "vae": options.vae})
    variants = all_variants(options.sweep, options.variants)
    plan = Plan(tuple(variants), files, {"size": options.size, "frames": options.frames})
    digests = {variant.name: plan.digest(variant) for variant in variants}
    wanted = [
        RunKey(variant.name, reference, seed)
        for reference in range(options.references)
        for seed in range(options.seeds)
        for variant in variants
    ]
    store = Store(options.json)
    kept = [run for run in store.read() if digests.get(run["variant"]) == run["digest"] and "error" not in run]
    runs = {_key(run): run for run in kept}
    missing = [key for key in wanted if key not in runs]
    new = run_all(plan, missing, options.workers)
    bar = tqdm(new, total=len(wanted), initial=len(wanted) - len(missing), disable=None)
    for run in bar:
        run["digest"] = digests[run["variant"]]
        store.add(run)
        runs[_key(run)] = run
        figures = run.get("guided")
        result = run["error"] if figures is None else f"{figures['correlation']:.2f}, {figures['error_px']:.1f} px"
        bar.write(f"{run['variant']}, reference {run['reference']}, seed {run['seed']}: {result}", file=sys.stderr)
    done = [runs[key] for key in wanted]
    summary = summarise(variants, done)
    settings = {name: getattr(options, name) for name in ("references", "seeds", "sweep", "workers")}
    settings |= {"reference": plan.reference, "base": BASE}
    store.finish({"settings": settings, "host": _host(), "model": _model(plan), **summary, "runs": done})
    print(table(summary, summary["variants"]))
    return _verdict(done, summary, options.check)


def _verdict(runs: Sequence[dict[str, Any]], summary: dict[str, Any], least: float | None) -> int:
    failed = [run for run in runs if "error" in run]
    for run in failed[:5]:
        print(f"motion: {run['variant']}, reference {run['reference']}: {run['error']}", file=sys.stderr)
    reached = summary["guided"]["correlation"]
    if least is not None and (reached is None or reached < least):
        print(f"motion: expected a mean correlation of at least {least}, got {reached}", file=sys.stderr)
        return 1
    return 1 if failed else 0


def _key(run: dict[str, Any]) -> RunKey:
    return RunKey(run["variant"], run["reference"], run["seed"])


def _host() -> dict[str, str]:
    words = (Layout.of().comfyui / "comfyui_version.py").read_text(encoding="utf-8").split('"')
    return {
        "comfyui": words[-2],
        "torch": version("torch"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _model(plan: Plan) -> dict[str, dict[str, str]]:
    files = {**plan.files, **({"classifier": CLASSIFIER} if CLASSIFIER.exists() else {})}
    return {kind: {"file": file.name, "sha256": file_digest(file)} for kind, file in files.items()}


if __name__ == "__main__":
    sys.exit(main())
