"""Write docs/ablation.md and its picture from what the bench measured: python -m benchmarks.quality.ablation

The variants of each group are benchmarks/quality/ablation/<group>.json; headings, and what a table was found to say, stand in
benchmarks/quality/ablation/groups.md. Those of benchmarks/quality/promised.json and benchmarks/quality/shots.json were measured on more clips,
each into a file of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.runs.variants import BASE, read_variants

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE.parent / "results"
PROMISED, SHOTS = HERE / "promised.json", HERE / "shots.json"
LOSS = 0.05
"""Path correlation that a saving may lose, at the end of the paired difference's 95 % interval."""
SAVINGS = (("Delta 3", "Delta 1", -1), ("adaptive", "adaptive", 1), ("window 5", "192 pixels, window 5", 1))
"""What is saved, the variant whose difference tells what that loses, and the sign of the saving in it."""
CUT = tuple((f"a cut clip: its {shot} shot", f"{shot} shot of a cut clip", 1) for shot in ("first", "second"))
"""Likewise of what a cut may cost."""
SPENDING = ("steps", "interval")
"""Groups whose rows differ in how many gradients they take."""
PRESETS = {
    "10 gradients: 10 steps of 5, Delta 5": "draft",
    "base": "balanced",
    "40 gradients: 20 steps of 6, Delta 3": "best",
}
"""The rows that the presets are."""
COLUMNS = (
    "variant",
    "correlation [95 %]",
    "error px",
    "against the base, or as said",
    "colour / shape kept",
    "gradients",
    "guided s / base",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; 1 where a table names a variant that was not measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS / "ablation.json")
    parser.add_argument("--promised", type=Path, default=RESULTS / "motion.json")
    parser.add_argument("--shots", type=Path, default=RESULTS / "shots.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "ablation.md")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "gradients.png")
    options = parser.parse_args(arguments)
    files = options.results, options.promised, options.shots
    results, promised, shots = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    text = (HERE / "ablation" / "groups.md").read_text(encoding="utf-8")
    options.page.write_text(page(text, results, promised, shots), encoding="utf-8")
    draw_gradients(options.picture, results)
    return 0


def page(text: str, results: dict[str, Any], promised: dict[str, Any], shots: dict[str, Any]) -> str:
    """``text`` with each line ``{group}`` replaced by that group's table, and ``{about}`` by what was measured.

    The groups ``promised`` and ``shots`` are filled in from what has their name, ``{bounds}`` from both, all others
    from ``results``.
    """
    made = text.replace("{about}", about(results)).replace("{bounds}", bounds(promised, shots))
    for name, variants, measured in (("promised", PROMISED, promised), ("shots", SHOTS, shots)):
        made = made.replace(f"{{about_{name}}}", about(measured))
        made = made.replace(f"{{{name}}}", table(_names(variants), measured))
    for group in re.findall(r"^\{(\w+)\}$", made, re.MULTILINE):
        made = made.replace(f"{{{group}}}", table(_names(HERE / "ablation" / f"{group}.json"), results))
    return made


def _names(variants: Path) -> list[str]:
    return [variant.name for variant in read_variants(variants)]


def about(results: dict[str, Any]) -> str:
    """One sentence on clips, model and host."""
    settings, model = results["settings"], results["model"]
    return (
        f"{settings['references']} references x {settings['seeds']} seeds a row unless a row says otherwise; model "
        f"`{model['model']['file']}` ({model['model']['sha256'][:8]}), ComfyUI {results['host']['comfyui']}, PyTorch "
        f"{results['host']['torch']} on the CPU."
    )


def bounds(promised: dict[str, Any], shots: dict[str, Any]) -> str:
    """A Markdown table of what each saving or cut loses, and whether its 95 % interval ends within LOSS."""
    lines = ["| | loses [95 %] | at most | held |", "|---|---|---|---|"]
    measured = [(promised, saving) for saving in SAVINGS] + [(shots, cut) for cut in CUT]
    for results, (name, variant, sign) in measured:
        row = results["variants"][variant]
        ends = [0.0 - sign * value for value in row["difference"]["correlation"]]
        loss, worst = ends[0], max(ends[1:])
        rival = variant if sign < 0 else row["against"]
        numbers = f"{loss:+.3f} [{min(ends[1:]):+.3f}, {worst:+.3f}]"
        lines.append(f"| {name} instead of {rival} | {numbers} | {LOSS} | {'yes' if worst <= LOSS else '**no**'} |")
    return "\n".join(lines)


def table(names: Sequence[str], results: dict[str, Any]) -> str:
    """A Markdown table of some variants, below the base and the same clips without guidance."""
    base = results["guided"]
    rows = [("not guided", results["unguided"]), ("base", base)]
    rows += [(name, results["variants"][name]) for name in names if name in results["variants"]]
    heads, cells = list(COLUMNS), [_cells(name, row, base) for name, row in rows]
    if any(row.get("camera_correlation") is not None for _, row in rows):
        heads.append("background [95 %]")
        cells = [[*line, _background(row)] for line, (_, row) in zip(cells, rows, strict=True)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, ["---"] * len(heads), *cells])


def _background(row: dict[str, Any]) -> str:
    """How far the background follows the reference's camera, where there is one that moves."""
    if row.get("camera_correlation") is None:
        return ""
    low, high = row["camera_correlation_interval"]
    return f"{row['camera_correlation']:.3f} [{low:.2f}, {high:.2f}]"


def draw_gradients(file: Path, results: dict[str, Any]) -> None:
    """Path correlation over the gradients that it takes: every way of spending them, and the presets."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for group in SPENDING for name in _names(HERE / "ablation" / f"{group}.json")]
    rows = [("base", results["guided"]), *((name, results["variants"][name]) for name in names)]
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, row in rows:
        spent, found = row["gradient_evaluations"], row["correlation"]
        axes.plot([spent, spent], row["correlation_interval"], color="0.75", linewidth=1)
        preset = PRESETS.get(name)
        axes.plot(spent, found, "o", color="tab:red" if preset else "tab:blue", markersize=5, zorder=3 if preset else 2)
        if preset:
            axes.annotate(preset, (spent, 1.0), ha="center", color="tab:red")
    axes.set(
        xlabel="gradients a clip",
        ylabel="path correlation, 95 % interval over references",
        xlim=(0, 105),
        ylim=(None, 1.02),
    )
    axes.grid(color="0.9")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)


def _cells(name: str, row: dict[str, Any], base: dict[str, Any]) -> list[str]:
    if not row["clips"]:
        return [name, "failed", "", "", "", "", ""]
    low, high = row["correlation_interval"]
    found = row.get("difference", {}).get("correlation")
    kept = " / ".join("-" if row[key] is None else f"{row[key]:.2f}" for key in ("colour_kept", "shape_kept"))
    lost = f", {row['lost']} lost" if row["lost"] else ""
    return [
        name,
        f"{row['correlation']:.3f} [{low:.2f}, {high:.2f}]{lost}",
        f"{row['error_px']:.1f}",
        "" if found is None else f"{found[0]:+.3f} [{found[1]:+.3f}, {found[2]:+.3f}]{_rival(row)}",
        kept,
        f"{row.get('gradient_evaluations') or 0:.0f}",
        f"{row['cpu_seconds'] / base['cpu_seconds']:.2f}",
    ]


def _rival(row: dict[str, Any]) -> str:
    return "" if row["against"] == BASE else f" (than {row['against']})"


if __name__ == "__main__":
    sys.exit(main())
