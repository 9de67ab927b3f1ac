"""docs/motion-tools.md from the committed numbers: python -m benchmarks.quality.motion_tools_page

The text is benchmarks/quality/motion_tools.md; the tables are results/motion_tools.json.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE, SHEETS = ROOT / "docs" / "motion-tools.md", ROOT / "docs" / "images" / "motion_tools"
CLIPS = {
    "same": "itself",
    "mirrored": "mirrored along its path",
    "mirrored_sideways": "mirrored, left and right",
    "guided": "generated, guided",
    "unguided": "generated, unguided",
}


def page(report: dict[str, Any], sheets: list[Path]) -> str:
    """The page of what ``motion_tools`` measured, with links to the contact sheets."""
    text = (HERE / "motion_tools.md").read_text(encoding="utf-8")
    return text.format(
        least_correlation=report["least_correlation"],
        least_slope=report["slopes"][0],
        most_slope=report["slopes"][1],
        rows=_rows(report["rows"]),
        sheets="\n\n".join(f"![{sheet.stem}]({os.path.relpath(sheet, PAGE.parent)})" for sheet in sheets),
        fidelity=_fidelity(report["fidelity"]),
    )


def _rows(rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| edit | clips | correlation | clips at .8 or more | slope | px off | passes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        verdict = "–" if not row["asked"] else "yes" if row["reached"] else "no"
        figures = f"{row['correlation']:.2f} | {row['clips_reaching']} | {row['slope']:.2f} | {row['error_px']:.1f}"
        lines.append(f"| {name} | {row['clips']} | {figures} | {verdict} |")
    return "\n".join(lines)


def _fidelity(means: dict[str, Any]) -> str:
    lines = ["| clip against its reference | mean |", "| --- | --- |"]
    lines += [f"| {label} | {means[name]:.2f} |" for name, label in CLIPS.items()]
    above = f"Guided above unguided on {means['guided_above_unguided']} of {means['clips']} clips."
    return "\n".join([*lines, "", above])


def main() -> None:
    """The page is written."""
    report = json.loads((HERE.parent / "results" / "motion_tools.json").read_text(encoding="utf-8"))
    PAGE.write_text(page(report, sorted(SHEETS.glob("*.jpg"))), encoding="utf-8")


if __name__ == "__main__":
    main()
