"""Write docs/ablation.md from what the bench measured: python benchmarks/ablation.py

The variants of each group are benchmarks/ablation/<group>.json; headings, and what a table was found to say, stand in
benchmarks/ablation/groups.md. The group ``promised`` was measured on more clips than the others, into its own file.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.variants import BASE  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PROMISED = "promised"
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
    parser.add_argument("--results", type=Path, default=HERE / "results" / "ablation.json")
    parser.add_argument("--promised", type=Path, default=HERE / "results" / "motion.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "ablation.md")
    options = parser.parse_args(arguments)
    results, promised = (json.loads(file.read_text(encoding="utf-8")) for file in (options.results, options.promised))
    text = (HERE / "ablation" / "groups.md").read_text(encoding="utf-8")
    options.page.write_text(page(text, results, promised), encoding="utf-8")
    return 0


def page(text: str, results: dict[str, Any], promised: dict[str, Any]) -> str:
    """``text`` with each line ``{group}`` replaced by that group's table, and ``{about}`` by what was measured.

    The group ``promised`` is filled in from ``promised``, all others from ``results``.
    """
    made = text.replace("{about}", about(results)).replace("{about_promised}", about(promised))
    for group in re.findall(r"^\{(\w+)\}$", made, re.MULTILINE):
        variants = json.loads((HERE / "ablation" / f"{group}.json").read_text(encoding="utf-8"))
        found = promised if group == PROMISED else results
        made = made.replace(f"{{{group}}}", table([variant["name"] for variant in variants], found))
    return made


def about(results: dict[str, Any]) -> str:
    """One sentence on clips, model and host."""
    settings, model = results["settings"], results["model"]
    return (
        f"{settings['references']} references x {settings['seeds']} seeds a row unless a row says otherwise; model "
        f"`{model['model']['file']}` ({model['model']['sha256'][:8]}), ComfyUI {results['host']['comfyui']}, PyTorch "
        f"{results['host']['torch']} on the CPU."
    )


def table(names: Sequence[str], results: dict[str, Any]) -> str:
    """A Markdown table of the base and some variants."""
    base = results["guided"]
    rows = [("base", base), *((name, results["variants"][name]) for name in names if name in results["variants"])]
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(_cells(name, row, base)) + " |" for name, row in rows]
    return "\n".join(lines)


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
        f"{row['gradient_evaluations'] or 0:.0f}",
        f"{row['cpu_seconds'] / base['cpu_seconds']:.2f}",
    ]


def _rival(row: dict[str, Any]) -> str:
    return "" if row["against"] == BASE else f" (than {row['against']})"


if __name__ == "__main__":
    sys.exit(main())
