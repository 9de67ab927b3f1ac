"""The bench's report: figures of each variant with their intervals, its differences from the base, a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

COLUMNS = (
    "variant",
    "correlation [95 %]",
    "error px",
    "against the base, or another row",
    "colour / shape kept",
    "gradients",
    "guided s / base",
)

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


def table(summary: dict[str, Any], names: Iterable[str]) -> str:
    """A Markdown table of these variants, below the base and the same clips without guidance."""
    base, variants = summary["guided"], summary["variants"]
    rows = [("not guided", summary["unguided"]), (BASE, base)]
    rows += [(name, variants[name]) for name in names if name in variants]
    heads, cells = list(COLUMNS), [_cells(name, row, base) for name, row in rows]
    if any(row.get("camera_correlation") is not None for _, row in rows):
        heads.append("background [95 %]")
        cells = [[*line, _background(row)] for line, (_, row) in zip(cells, rows, strict=True)]
    return markdown_table(heads, cells)


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of these cells."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, ["---"] * len(heads), *rows])


def _background(row: dict[str, Any]) -> str:
    """How closely the background follows the reference's camera, if that moves."""
    if row.get("camera_correlation") is None:
        return ""
    low, high = row["camera_correlation_interval"]
    return f"{row['camera_correlation']:.3f} [{low:.2f}, {high:.2f}]"


def _cells(name: str, row: dict[str, Any], base: dict[str, Any]) -> list[str]:
    if not row["clips"]:
        return [name, f"no clip, {row.get('failed', 0)} failed", *[""] * 5]
    low, high = row["correlation_interval"]
    difference = row.get("difference", {}).get("correlation")
    kept = " / ".join("-" if row[key] is None else f"{row[key]:.2f}" for key in ("colour_kept", "shape_kept"))
    lost = f", {row['lost']} lost" if row["lost"] else ""
    return [
        name,
        f"{row['correlation']:.3f} [{low:.2f}, {high:.2f}]{lost}",
        f"{row['error_px']:.1f}",
        "" if difference is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*difference) + _rival(row),
        kept,
        f"{row.get('gradient_evaluations') or 0:.0f}",
        f"{row['cpu_seconds'] / base['cpu_seconds']:.2f}" if base["clips"] else "",
    ]


def _rival(row: dict[str, Any]) -> str:
    return "" if row["against"] == BASE else f" (than {row['against']})"
