"""docs/motion-tools.md, written from the bench's and the fuzzer's numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

TEXT = """# Motion as footage

A motion is read from a reference once. After that it can be kept, looked at, changed, mixed, masked and judged without
the clip. Every node has a help page of its own; this page says how it works and how well.

## What an edit does

Attention says where a model looks, softly and drawn to places of its own. So a motion holds three things beside the
displacements that guide:

* its **rest**: what the same attention says of a clip in which nothing moves (the reference's mean, under the same
  noise). An edit leaves it in its place and changes only what the flow has beyond it;
* the displacements of the reference **played backwards**, which reversing exchanges for the forward ones;
* where things go, token by token (**steps**), found by matching the blocks of the reference's latent. Edits carry the
  vectors to where they put the things; the vectors around a thing go with it.

If the motion keeps the reference's latent, every edit changes that too: it is cut along the same ways and put together
again. **Refresh Motion** shows it to the model, which then says itself how the edited clip would have moved. That costs
as much as Invert Motion, and follows edits better than the vectors alone: in the travel when they amplify or damp, in
the path when they mirror.

Edits find what moves, not what it means: what moves less than half a token (8 pixels) counts as standing still, and the
camera is the median of all movement, which is wrong where the subject fills most of the picture.
"""

FILES = """## Files from strangers

A motion file is a safetensors file with one JSON header: numbers and text, nothing that is ever executed. Everything is
checked before it is believed: the index's length, the sizes it claims, every field of the header, the shape, type and
range of every tensor, and a checksum over all of it. Names stay inside `models/fastvmt_motion`,
`input/fastvmt_motion` and the pack's own `assets/motions`: no `..`, no absolute paths, no links that lead out, no
device names.
"""


def write_page(path: Path, report: dict[str, Any], fuzz: dict[str, Any] | None, sheets: Path | None) -> None:
    """Write the page.

    Args:
        path: of the page.
        report: of ``benchmarks/quality/motion_tools.py``.
        fuzz: of ``tools/fuzz_motion.py``.
        sheets: folder of the pictures, one or more a row.
    """
    parts = [TEXT, _measured(report), _sheets(path, report, sheets), _judged(report), FILES]
    parts.append(_fuzzed(fuzz) if fuzz else "")
    path.write_text("\n".join(part.rstrip("\n") + "\n" for part in parts if part), encoding="utf-8")


def _measured(report: dict[str, Any]) -> str:
    low, high = report["slopes"]
    lines = [
        "## What comes of it",
        "",
        "On the demo's tiny model, before it went on with more kinds of clips: the path of the generated sprite "
        "against the edited path of the reference's. "
        f"Asked for: correlation of {report['least_correlation']} or more, slope of the travel (generated on edited) "
        f"from {low} to {high}. Rows of vectors alone are guided without Refresh Motion, to compare. "
        "Every row is guided over the first fifth of the way, 15 nudges a step. Two things at once (left a, right b) "
        "and clips of another length are more than the tiny model is used to: these rows are guided twice as long, the "
        "former twice as hard too. Saved motions are asked for the correlation alone.",
        "",
        "| edit | clips | correlation | clips at .8 or more | slope | px off | as asked |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in report["rows"].items():
        verdict = "–" if not row["asked"] else "yes" if row["reached"] else "no"
        lines.append(
            f"| {name} | {row['clips']} | {row['correlation']:.2f} | {row['clips_reaching']} | {row['slope']:.2f} | "
            f"{row['error_px']:.1f} | {verdict} |"
        )
    return "\n".join(lines)


def _sheets(path: Path, report: dict[str, Any], sheets: Path | None) -> str:
    if sheets is None:
        return ""
    lines = []
    for picture in sorted(sheets.glob("*.jpg")):
        lines += [f"![{picture.stem}]({os.path.relpath(picture, path.parent)})", ""]
    return "\n".join(lines)


def _judged(report: dict[str, Any]) -> str:
    found = report["fidelity"]
    if found is None:
        return ""
    return "\n".join(
        (
            "## Motion fidelity",
            "",
            "Points that move, followed by OpenCV's DIS optical flow, no model; the papers follow theirs by CoTracker, "
            "so figures of the two cannot be compared. A sprite that moves up and down moves alike when left and right "
            "change places, so that one row mirrors each clip along the axis of most of its way.",
            "",
            "| clip against its reference | mean |",
            "| --- | --- |",
            f"| itself | {found['same']:.2f} |",
            f"| mirrored along its way | {found['mirrored']:.2f} |",
            f"| mirrored, left and right | {found['mirrored_sideways']:.2f} |",
            f"| generated, guided | {found['guided']:.2f} |",
            f"| generated, unguided | {found['unguided']:.2f} |",
            "",
            f"Guided above unguided on {found['guided_above_unguided']} of {found['clips']} clips.",
        )
    )


def _fuzzed(fuzz: dict[str, Any]) -> str:
    lines = [
        f"`python tools/fuzz_motion.py --count {fuzz['files']} --seed {fuzz['seed']}`: {fuzz['files']:,} damaged files "
        f"and as many hostile names. The slowest took {fuzz['slowest_ms']:.0f} ms, the largest "
        f"{fuzz['largest_mb']:.1f} MB of Python's memory; the process grew by {fuzz['process_grew_mb']:.0f} MB in all. "
        f"{len(fuzz['failures'])} broke a bound, crashed, or left the folder.",
        "",
        "| done to the file | refused | loaded |",
        "| --- | --- | --- |",
    ]
    for kind, counts in fuzz["outcomes"].items():
        if kind != "name":
            lines.append(f"| {kind.replace('_', ' ')} | {counts.get('refused', 0):,} | {counts.get('loaded', 0):,} |")
    names = fuzz["outcomes"]["name"]
    lines += [
        "",
        "What loaded under *signed lies* are files whose maker knows the format and signs other values that a motion "
        f"may hold. Of the names, {names.get('refused', 0):,} were refused and {names.get('inside', 0):,} led to a "
        "file inside.",
    ]
    return "\n".join(lines)
