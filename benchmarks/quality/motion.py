"""How well motion transfers: python -m benchmarks.quality.motion --json OUT

Runs the demo's own graph in a ComfyUI in this process, on references whose motion is known, with and without guidance:
the base, and each variant that is asked for with --sweep or --variants. A bench that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.runs.bench import Key, Plan, Store, WorkerError, file_digest, find_model, run_all
from benchmarks.runs.bootstrap import RESAMPLES
from benchmarks.runs.measures import CLASSIFIER
from benchmarks.runs.report import draw_plot, summarise, table, write_csv
from benchmarks.runs.variants import BASE, FILES, all_variants
from tools.demo.transfer import GRAPH, node
from tools.host.layout import Layout


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; 1 where a check or a run failed, 2 where something can't be run."""
    options = _options(arguments)
    try:
        return _run(options)
    except (ValueError, WorkerError, ImportError) as error:
        print(f"motion: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("motion: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where to write the numbers")
    parser.add_argument("--references", type=int, default=8, help="reference clips (default: 8)")
    parser.add_argument("--first", type=int, default=0, help="the first reference's number (default: 0)")
    parser.add_argument("--seeds", type=int, default=1, help="sampler seeds of each reference (default: 1)")
    parser.add_argument(
        "--sweep",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=V1,V2",
        help="change one input at a time: an input's name, or <node title>.<input> where several nodes have it; "
        "kind, size and frames change the reference; model and vae name files",
    )
    parser.add_argument("--variants", nargs="+", type=Path, default=[], metavar="FILE", help="JSON lists of variants")
    parser.add_argument("--reference", type=json.loads, default={}, help="JSON: further arguments of make_reference")
    parser.add_argument("--model", help="the base's diffusion model (default: the demo's)")
    parser.add_argument("--vae", help="the base's VAE (default: the demo's)")
    parser.add_argument("--size", type=int, default=128, help="pixels a side (default: 128)")
    parser.add_argument("--frames", type=int, default=17, help="frames, 4n+1 (default: 17)")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each (default: 2)")
    parser.add_argument("--sheets", type=Path, help="folder for pictures of the first three references")
    parser.add_argument("--csv", type=Path, help="one line a run")
    parser.add_argument("--plot", type=Path, help="correlation of every variant (needs matplotlib)")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="of the bootstrap")
    parser.add_argument("--check", type=float, metavar="R", help="exit 1 if the base's mean correlation is below")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> int:
    base = json.loads(GRAPH.read_text(encoding="utf-8"))
    defaults = {kind: node(base, where)["inputs"][key] for kind, (where, key) in FILES.items()}
    files = {kind: find_model(kind, getattr(options, kind) or name, Path()) for kind, name in defaults.items()}
    variants = all_variants(options.sweep, options.variants)
    reference = {"size": options.size, "frames": options.frames, **options.reference}
    plan = Plan(tuple(variants), options.seeds, files["model"], files["vae"], reference, options.sheets)
    digests = {variant.name: plan.digest(variant) for variant in variants}
    indices = range(options.first, options.first + options.references)
    wanted = [(variant.name, index, seed) for index in indices for seed in range(options.seeds) for variant in variants]

    store = Store(options.json)
    kept = [run for run in store.read() if digests.get(run["variant"]) == run["digest"] and "error" not in run]
    runs = {_key(run): run for run in kept}
    missing = [key for key in wanted if key not in runs]
    if len(missing) < len(wanted):
        print(f"motion: {len(wanted) - len(missing)} of {len(wanted)} runs were there already", file=sys.stderr)
    started = time.monotonic()
    for count, run in enumerate(run_all(plan, missing, options.workers), 1):
        run["digest"] = digests[run["variant"]]
        store.add(run)
        runs[_key(run)] = run
        _say(run, count, len(missing), time.monotonic() - started)
    done = [runs[key] for key in wanted]

    summary = summarise(variants, done, options.resamples)
    report = {"settings": _settings(options, plan), "host": _host(), "model": _model(plan), **summary, "runs": done}
    store.finish(report)
    print(table(summary))
    if options.csv:
        write_csv(options.csv, done)
    if options.plot:
        draw_plot(options.plot, summary)
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


def _key(run: dict[str, Any]) -> Key:
    return run["variant"], run["reference"], run["seed"]


def _say(run: dict[str, Any], count: int, total: int, seconds: float) -> None:
    found = run.get("guided")
    said = run["error"] if found is None else f"{found['correlation']:.2f}, {found['error_px']:.1f} px"
    left = seconds / count * (total - count) / 60
    where = f"{run['variant']}, reference {run['reference']}, seed {run['seed']}"
    print(f"[{count}/{total}] {where}: {said} ({left:.1f} min left)", file=sys.stderr, flush=True)


def _settings(options: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    names = ("references", "first", "seeds", "sweep", "workers", "resamples")
    return {**{name: getattr(options, name) for name in names}, "reference": plan.reference, "base": BASE}


def _host() -> dict[str, str]:
    words = (Layout.of().comfyui / "comfyui_version.py").read_text(encoding="utf-8").split('"')
    return {
        "comfyui": words[-2],
        "torch": version("torch"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _model(plan: Plan) -> dict[str, dict[str, str]]:
    files = {kind: getattr(plan, kind) for kind in FILES}
    if CLASSIFIER.exists():
        files["classifier"] = CLASSIFIER
    return {kind: {"file": file.name, "sha256": file_digest(file)} for kind, file in files.items()}


if __name__ == "__main__":
    sys.exit(main())
