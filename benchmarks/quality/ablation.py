"""docs/ablation.md and its plot from the bench's results: python -m benchmarks.quality.ablation

The variants of each group are benchmarks/quality/ablation/<group>.json; headings and findings are in groups.md beside
them. The variants of promised.json and shots.json were measured on more clips, each into a file of its own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.runs.report import table
from benchmarks.runs.variants import read_variants

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE.parent / "results"
PAGE, PLOT = ROOT / "docs" / "ablation.md", ROOT / "docs" / "images" / "gradients.png"
PROMISED, SHOTS = HERE / "promised.json", HERE / "shots.json"
LOSS = 0.05
"""Path correlation that a saving may lose, at the end of the paired difference's 95 % interval."""
SAVINGS = (("Delta 3", "Delta 1", -1), ("adaptive", "adaptive", 1), ("window 5", "192 pixels, window 5", 1))
"""A saving, the variant whose difference shows the loss, and the sign of the saving in it."""
CUT = tuple((f"a cut clip: its {shot} shot", f"{shot} shot of a cut clip", 1) for shot in ("first", "second"))
"""The same for the cost of a cut."""
SPENDING = ("steps", "interval")
"""Groups whose rows differ in the number of gradients."""
PRESETS = {
    "10 gradients: 10 steps of 5, Delta 5": "draft",
    "base": "balanced",
    "40 gradients: 20 steps of 6, Delta 3": "best",
}
"""The presets, by their rows."""


def main() -> None:
    """Write the page and the plot."""
    results, promised, shots = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in ("ablation", "motion", "shots")
    )
    text = (HERE / "ablation" / "groups.md").read_text(encoding="utf-8")
    PAGE.write_text(page(text, results, promised, shots), encoding="utf-8")
    draw_gradients(PLOT, results)


def page(text: str, results: dict[str, Any], promised: dict[str, Any], shots: dict[str, Any]) -> str:
    """``text`` with each line ``{group}`` replaced by that group's table, and ``{about}`` by clips, model and host.

    The groups ``promised`` and ``shots`` take the results of their name, ``{bounds}`` both, all others ``results``.
    """
    made = text.replace("{about}", about(results)).replace("{bounds}", bounds(promised, shots))
    for name, variants, measured in (("promised", PROMISED, promised), ("shots", SHOTS, shots)):
        made = made.replace(f"{{about_{name}}}", about(measured))
        made = made.replace(f"{{{name}}}", table(measured, _names(variants)))
    for group in re.findall(r"^\{(\w+)\}$", made, re.MULTILINE):
        made = made.replace(f"{{{group}}}", table(results, _names(HERE / "ablation" / f"{group}.json")))
    return made


def _names(variants: Path) -> list[str]:
    return [variant.name for variant in read_variants(variants)]


def about(results: dict[str, Any]) -> str:
    """One sentence on clips, model and host."""
    settings, model = results["settings"], results["model"]
    return (
        f"{settings['references']} references x {settings['seeds']} seeds a row unless a row names others; model "
        f"`{model['model']['file']}` ({model['model']['sha256'][:8]}), ComfyUI {results['host']['comfyui']}, PyTorch "
        f"{results['host']['torch']} on the CPU."
    )


def bounds(promised: dict[str, Any], shots: dict[str, Any]) -> str:
    """A Markdown table of the loss of each saving or cut, and whether its 95 % interval ends within LOSS."""
    lines = ["| | loses [95 %] | at most | within it |", "|---|---|---|---|"]
    measured = [(promised, saving) for saving in SAVINGS] + [(shots, cut) for cut in CUT]
    for results, (name, variant, sign) in measured:
        row = results["variants"][variant]
        ends = [0.0 - sign * value for value in row["difference"]["correlation"]]
        loss, worst = ends[0], max(ends[1:])
        rival = variant if sign < 0 else row["against"]
        numbers = f"{loss:+.3f} [{min(ends[1:]):+.3f}, {worst:+.3f}]"
        lines.append(f"| {name} instead of {rival} | {numbers} | {LOSS} | {'yes' if worst <= LOSS else '**no**'} |")
    return "\n".join(lines)


def draw_gradients(file: Path, results: dict[str, Any]) -> None:
    """Plot the path correlation over the number of gradients: every schedule, and the presets."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for group in SPENDING for name in _names(HERE / "ablation" / f"{group}.json")]
    rows = [("base", results["guided"]), *((name, results["variants"][name]) for name in names)]
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, row in rows:
        spent, reached = row["gradient_evaluations"], row["correlation"]
        axes.plot([spent, spent], row["correlation_interval"], color="0.75", linewidth=1)
        preset = PRESETS.get(name)
        axes.plot(
            spent, reached, "o", color="tab:red" if preset else "tab:blue", markersize=5, zorder=3 if preset else 2
        )
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


if __name__ == "__main__":
    main()
