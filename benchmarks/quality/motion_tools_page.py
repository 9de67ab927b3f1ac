"""docs/motion-tools.md from the committed numbers: python -m benchmarks.quality.motion_tools_page

The text is benchmarks/quality/motion_tools.md; the tables are results/motion_tools.json and results/fuzz_motion.json.
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


def page(report: dict[str, Any], fuzz: dict[str, Any], sheets: list[Path]) -> str:
    """The page of what ``motion_tools`` and ``tools.fuzz_motion`` measured, with links to the contact sheets."""
    text = (HERE / "motion_tools.md").read_text(encoding="utf-8")
    return text.format(
        least_correlation=report["least_correlation"],
        least_slope=report["slopes"][0],
        most_slope=report["slopes"][1],
        rows=_rows(report["rows"]),
        sheets="\n\n".join(f"![{sheet.stem}]({os.path.relpath(sheet, PAGE.parent)})" for sheet in sheets),
        fidelity=_fidelity(report["fidelity"]),
        fuzz=_fuzz(fuzz),
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


def _fuzz(fuzz: dict[str, Any]) -> str:
    names = fuzz["outcomes"]["name"]
    lines = [
        f"`python -m tools.fuzz_motion --count {fuzz['files']} --seed {fuzz['seed']}`: {fuzz['files']:,} damaged files "
        f"and as many hostile names. The slowest took {fuzz['slowest_ms']:.0f} ms, the largest "
        f"{fuzz['largest_mb']:.1f} MB of Python's memory; the process grew by {fuzz['process_grew_mb']:.0f} MB in all. "
        f"{len(fuzz['failures'])} broke a bound, crashed, or left the folder.",
        "",
        "| damage | refused | loaded |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {kind.replace('_', ' ')} | {counts.get('refused', 0):,} | {counts.get('loaded', 0):,} |"
        for kind, counts in fuzz["outcomes"].items()
        if kind != "name"
    ]
    return "\n".join(
        [
            *lines,
            "",
            "The loaded files under *signed lies* have an author who knows the format and signs other values that a "
            f"motion may hold. Of the names, {names.get('refused', 0):,} were refused and {names.get('inside', 0):,} "
            "led to a file inside.",
        ]
    )


def main() -> None:
    """The page is written."""
    results = (HERE.parent / "results" / f"{name}.json" for name in ("motion_tools", "fuzz_motion"))
    report, fuzz = (json.loads(file.read_text(encoding="utf-8")) for file in results)
    PAGE.write_text(page(report, fuzz, sorted(SHEETS.glob("*.jpg"))), encoding="utf-8")


if __name__ == "__main__":
    main()
