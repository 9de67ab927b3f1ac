"""docs/objectives.md from the bench's results: python -m benchmarks.quality.objectives

The runs are made by benchmarks.quality.motion with benchmarks/quality/objectives.json and objectives_kinds.json, and
resume; the page shows how many there are. Of each objective it also counts what a gradient costs at the size of a real
Wan.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runs.bootstrap import mean_interval
from benchmarks.runs.report import markdown_table
from benchmarks.runs.variants import read_variants
from fastvmt_core.budget.memory import KEEP_ALL, GuidedPass
from fastvmt_core.objectives.method import Method
from fastvmt_core.objectives.registry import METHODS

HERE = Path(__file__).resolve().parent
VARIANTS, TEXT = HERE / "objectives.json", HERE / "objectives.md"
KINDS = HERE / "objectives_kinds.json"
"""Variants named "<row>: <kind of clip>"."""
RESULTS = HERE.parent / "results" / "objectives.json"
PAGE = HERE.parents[1] / "docs" / "objectives.md"
DEPTH, BLOCK = 30, 14
"""Of Wan 1.3B: its blocks, and the one that is read."""
WAN = {"batch": 1, "tokens": 32760, "dim": 1536, "ffn_dim": 8960, "bytes_per_value": 2}
"""81 frames of 832 x 480."""
FOLLOWED = (("correlation", 2), ("error_px", 1))
"""Figures of a kind of clip, and their digits."""
QUALITY = {
    "flickering": "flickering",
    "smoothness": "smoothness",
    "dynamic_degree": "dynamic degree, px",
    "consistency": "consistency",
    "shared_layout": "shared layout",
}
"""Figures of a video by itself, and their heads."""
GRADIENT = 3.0
"""Forward passes that a forward and a backward pass through the same blocks take."""

Runs = Sequence[dict[str, Any]]


def main() -> None:
    """Write the page."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(page(TEXT.read_text(encoding="utf-8"), results["runs"]), encoding="utf-8")


def page(text: str, runs: Runs) -> str:
    """``text`` with the tables in the places of ``{table}``, ``{quality}``, ``{kinds}`` and ``{methods}``."""
    names, of_kinds = ([variant.name for variant in read_variants(path)] for path in (VARIANTS, KINDS))
    tables = {"table": table(names, runs), "quality": quality(names, runs), "kinds": kinds(of_kinds, runs)}
    for place, made in {**tables, "methods": methods()}.items():
        text = text.replace("{" + place + "}", made)
    return text


def table(names: Sequence[str], runs: Runs) -> str:
    """A Markdown table of the variants that have runs, below the clips without guidance."""
    of = {name: _done(runs, name) for name in names}
    heads = ("row", "clips", "path correlation [95 %]", "px", "prompt's colour / shape", "reference's colour / shape")
    heads = (*heads, "between seeds", "gradients")
    lines = [_line("not guided", _each_clip_once(of.values()), "unguided")]
    lines += [_line(name, of[name], "guided") for name in names if of[name]]
    return markdown_table(heads, lines)


def _line(name: str, runs: Runs, run: str) -> tuple[str, ...]:
    def mean(figure: str) -> float | None:
        values = [each[run][figure] for each in runs if each[run].get(figure) is not None]
        return float(np.mean(values)) if values else None

    def shares(*figures: str) -> str:
        return " / ".join("-" if mean(figure) is None else f"{mean(figure):.2f}" for figure in figures)

    interval = mean_interval([each[run]["correlation"] for each in runs], [each["reference"] for each in runs])
    correlation = "-" if interval is None else "{:.3f} [{:.2f}, {:.2f}]".format(*interval)
    between = diversity(runs, run)
    return (
        name,
        str(len(runs)),
        correlation,
        shares("error_px"),
        shares("colour_kept", "shape_kept"),
        shares("colour_leaked", "shape_leaked"),
        "-" if between is None else f"{between:.3f}",
        _gradients(mean("gradient_evaluations"), mean("tuning_iterations")),
    )


def _gradients(guiding: float | None, tuning: float | None) -> str:
    if tuning is not None:
        return f"{tuning:.0f} before"
    return "-" if guiding is None else f"{guiding:.2f}".removesuffix(".00")


def kinds(names: Sequence[str], runs: Runs) -> str:
    """A Markdown table of path correlation and distance in pixels: a row a kind of clip, a column a method."""
    parts = [name.partition(": ") for name in names]
    rows, columns = (list(dict.fromkeys(values)) for values in ([kind for *_, kind in parts], [of for of, *_ in parts]))
    tried = {run["variant"] for run in runs}
    lines = []
    for kind in rows:
        of = {column: _done(runs, f"{column}: {kind}") for column in columns}
        unguided = _each_clip_once(of.values())
        if unguided:
            empty = {column: "refused" if f"{column}: {kind}" in tried else "-" for column in columns}
            figures = [_followed(of[column], "guided") or empty[column] for column in columns]
            lines.append((kind, str(len(unguided)), _followed(unguided, "unguided"), *figures))
    return markdown_table(("clips of", "number", "not guided", *columns), lines)


def quality(names: Sequence[str], runs: Runs) -> str:
    """A Markdown table of the figures of the videos by themselves, and of the background that they share.

    Of the clips that every row has: the figures hang on the clip as much as on the method.
    """
    of = {name: [run for run in _done(runs, name) if "flickering" in run["guided"]] for name in names}
    shared = set.intersection(*[{_clip(run) for run in done} for done in of.values() if done] or [set()])
    of = {name: [run for run in done if _clip(run) in shared] for name, done in of.items()}
    lines = []
    for name, done, run in [
        ("not guided", _each_clip_once(of.values()), "unguided"),
        *((name, of[name], "guided") for name in names),
    ]:
        if done:
            lines.append((name, str(len(done)), *(_mean([each[run][figure] for each in done]) for figure in QUALITY)))
    return markdown_table(("row", "clips", *QUALITY.values()), lines)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if known else "-"


def _each_clip_once(groups: Iterable[Runs]) -> Runs:
    """One run of each reference and seed: the clip without guidance is the same in all."""
    return list({_clip(run): run for runs in groups for run in runs}.values())


def _clip(run: dict[str, Any]) -> tuple[int, int]:
    return run["reference"], run["seed"]


def _done(runs: Runs, name: str) -> Runs:
    return [run for run in runs if run["variant"] == name and "error" not in run]


def _followed(runs: Runs, run: str) -> str:
    """Mean correlation and pixels, with a moving camera also the background's correlation; nothing without runs."""
    if not runs:
        return ""
    figures = [each[run] for each in runs]
    text = " / ".join(f"{np.mean([each[key] for each in figures]):.{digits}f}" for key, digits in FOLLOWED)
    camera = [each["camera_correlation"] for each in figures if each.get("camera_correlation") is not None]
    return f"{text} px, background {np.mean(camera):.2f}" if camera else f"{text} px"


def diversity(runs: Runs, run: str = "guided") -> float | None:
    """Root mean square distance of two seeds' clips under one motion, in coarse cells; None with one seed."""
    distances = [
        float(np.sqrt(np.mean((np.array(one[run]["cells"]) - np.array(other[run]["cells"])) ** 2)))
        for one, other in itertools.combinations(runs, 2)
        if one["reference"] == other["reference"] and one["seed"] != other["seed"]
    ]
    return float(np.mean(distances)) if distances else None


def methods() -> str:
    """A Markdown table of the objectives: source, what is read, schedule, and what a gradient costs at Wan's size."""
    heads = (
        "objective",
        "source",
        "reads",
        "its schedule",
        "forward passes a gradient",
        "GB beside Wan 1.3B, all kept",
    )
    rows = [_described(method) for method in METHODS.values()]
    return markdown_table(heads, rows)


def _described(method: Method) -> tuple[str, ...]:
    needs, plan = method.compares((BLOCK,)), method.schedule
    parts = (("q, k", needs.queries_and_keys), ("v", needs.values), ("output of a block", needs.hidden))
    reads = [name for name, blocks in parts if blocks] + ["prediction of the model"] * needs.velocity
    rates = "Polyak" if plan.optimizer == "polyak" else f"Adam {plan.lr_start:g} to {plan.lr_end:g}"
    interval = f", a gradient every {plan.gradient_interval}" if plan.gradient_interval > 1 else ""
    interval = "" if plan.optimizer == "polyak" else interval
    schedule = f"{plan.inner_steps} inner, {rates}{interval}, first {plan.end_percent:.0%}"
    sizes = GuidedPass(blocks=needs.whole_blocks, **WAN)
    return (
        method.name,
        method.source,
        ", ".join(reads),
        schedule,
        f"{forward_passes(method):.1f}",
        f"{sizes.needed(KEEP_ALL) / 1e9:.0f}",
    )


def forward_passes(method: Method) -> float:
    """What one gradient costs, in forward passes through the whole of a Wan of 30 blocks."""
    needs = method.compares((BLOCK,))
    return GRADIENT * needs.whole_blocks / DEPTH + needs.velocity


if __name__ == "__main__":
    main()
