"""The bench's report: figures of each variant with their intervals, its differences from the base, a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.runs.bootstrap import RESAMPLES, mean_interval, paired_difference
from benchmarks.runs.variants import BASE, Variant

GUIDED = (
    "correlation",
    "error_px",
    "fidelity",
    "consistency",
    "colour_kept",
    "shape_kept",
    "lost",
    "camera_correlation",
    "camera_error_px",
    "gradient_evaluations",
    "seconds",
    "cpu_seconds",
    "first_loss",
    "last_loss",
)
UNGUIDED = (*GUIDED[:9], "seconds", "cpu_seconds")
COMPARED = GUIDED[:12]

Runs = Sequence[dict[str, Any]]


def summarise(variants: Sequence[Variant], runs: Runs, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Figures of the base, ``guided`` and ``unguided``, and of every variant.

    Each figure is a mean over the clips, its ``_interval`` the 95 % interval over references; ``lost`` counts clips;
    ``difference`` holds [mean, low, high] of the variant less the one that it is ``against``, over the references and
    seeds that both have. ``failed`` counts runs that ended in an error.
    """
    of = {variant.name: [run for run in runs if run["variant"] == variant.name] for variant in variants}
    rows = {}
    for variant in variants:
        mine = of[variant.name]
        rows[variant.name] = {
            **_figures(mine, "guided", GUIDED, resamples),
            "unguided": _figures(mine, "unguided", UNGUIDED, resamples),
            "change": variant.change(),
            "failed": sum("error" in run for run in mine),
        }
        if variant.name != BASE:
            rows[variant.name]["against"] = variant.against
            rows[variant.name]["difference"] = _differences(mine, of[variant.against], resamples)
    whole = rows.pop(BASE)
    unguided = whole.pop("unguided")
    return {"clips": whole["clips"], "guided": whole, "unguided": unguided, "variants": rows}


def _figures(runs: Runs, run: str, names: Sequence[str], resamples: int) -> dict[str, Any]:
    done = [each for each in runs if "error" not in each]
    figures: dict[str, Any] = {"clips": len(done)}
    for name in names:
        values = [each[run][name] for each in done]
        if name == "lost":
            figures[name] = sum(values)
            continue
        interval = mean_interval(values, [each["reference"] for each in done], resamples)
        figures[name] = None if interval is None else round(interval[0], 5)
        if interval is not None:
            figures[f"{name}_interval"] = _short(interval[1:])
    return figures


def _differences(changed: Runs, other: Runs, resamples: int) -> dict[str, list[float]]:
    differences = {
        name: paired_difference(_by_clip(changed, name), _by_clip(other, name), resamples) for name in COMPARED
    }
    return {name: _short(difference) for name, difference in differences.items() if difference is not None}


def _by_clip(runs: Runs, name: str) -> dict[tuple[int, int], float | None]:
    return {(run["reference"], run["seed"]): run["guided"][name] for run in runs if "error" not in run}


def _short(values: Sequence[float]) -> list[float]:
    return [round(value, 5) for value in values]


def table(summary: dict[str, Any]) -> str:
    """A few columns of every variant, for a terminal."""
    rows = {"unguided": summary["unguided"], BASE: summary["guided"], **summary["variants"]}
    width = max(len(name) for name in rows)
    heads = ("correlation [95 %]", "error px", "kept c/s", "lost", "gradients", "CPU s", "difference")
    lines = [_line("", heads, width)]
    for name, row in rows.items():
        cells = _cells(row) if row["clips"] else (f"no clip, {row.get('failed', 0)} failed", *[""] * 6)
        lines.append(_line(name, cells, width))
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    low, high = row["correlation_interval"]
    difference = row.get("difference", {}).get("correlation")
    return (
        f"{row['correlation']:.3f} [{low:.2f}, {high:.2f}]",
        f"{row['error_px']:.1f}",
        "/".join("-" if row[key] is None else f"{row[key]:.2f}" for key in ("colour_kept", "shape_kept")),
        str(row["lost"]),
        f"{row.get('gradient_evaluations') or 0:.0f}",
        f"{row['cpu_seconds']:.2f}",
        "" if difference is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*difference),
    )


def _line(name: str, cells: Sequence[str], width: int) -> str:
    widths = (21, 8, 9, 4, 9, 6, 0)
    return f"{name:{width}}  " + "  ".join(f"{cell:>{wide}}" for cell, wide in zip(cells, widths, strict=True))
