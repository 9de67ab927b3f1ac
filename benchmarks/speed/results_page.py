"""benchmarks/speed/RESULTS.md from the JSONs of guidance.py and video.py: python -m benchmarks.speed.results_page

The text is benchmarks/speed/results.md.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.speed.model import (
    TEXT,
    Shape,
    block_backward,
    block_forward,
    gradient,
    our_step,
    plain_step,
    released_step,
)
from tools.host.layout import REPO

RESULTS = REPO / "benchmarks" / "results"
PAGE = REPO / "benchmarks" / "speed" / "RESULTS.md"
GPU = {
    "guidance_wan1.3b": "a guided step of Wan 2.1 1.3B, bf16, 480x832x81",
    "guidance_wan14b": "a guided step of Wan 2.1 14B, fp8, 480x832x81",
    "guidance_wan2.2-5b": "a guided step of Wan 2.2 5B, bf16, 480x832x81",
    "video_wan1.3b": "whole videos of 50 and 4 steps, Wan 2.1 1.3B",
    "video_wan14b": "whole videos of 50 and 4 steps, Wan 2.1 14B, fp8",
    "video_wan2.2-5b": "whole videos of 50 and 4 steps, Wan 2.2 5B",
}
"""The cases of scripts/bench_gpu.sh, by the name of their JSON."""
OURS, RELEASED = "ours, Delta 3, fastest", "released schedule"
SMALLEST = "ours, Delta 3, smallest"
MOST_TIME, MOST_MEMORY, MOST_ERROR = 0.55, 1 / 3, 0.25
FORESEEN = {"time": 0.53, "memory": 0.25}
"""Written down before the first run, from benchmarks/speed/model.py with guessed rates (70 GFLOP/s of products, 85 of
attention, 5 GB/s): ours over the released schedule, smallest over fastest."""
WAN = Shape(dim=1536, ffn_dim=8960, depth=30, grid=(21, 30, 52))
"""Wan 2.1 1.3B at 480x832x81, which the floor is counted for."""
HALF_WAN = replace(WAN, grid=(21, 15, 26))
"""The same clip at `resolution` half."""

Report = dict[str, Any]


def reports(folder: Path = RESULTS) -> dict[str, Report]:
    """All reports by name, those of a step before those of videos, small clips before large ones."""
    files = [path for kind in ("guidance", "video") for path in folder.glob(f"{kind}_*.json")]
    read = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}
    return dict(
        sorted(read.items(), key=lambda item: (item[0].split("_")[0], item[1]["preset"], item[1]["shape"]["tokens"]))
    )


def page(all_reports: dict[str, Report]) -> str:
    """The whole page: benchmarks/speed/results.md with its tables filled in."""
    sections = [
        _step(name, report) if "rows" in report else _video(name, report) for name, report in all_reports.items()
    ]
    text = (PAGE.parent / "results.md").read_text(encoding="utf-8")
    tables = {
        "machines": _machines(all_reports),
        "bounds": _bounds(all_reports),
        "reports": "\n\n".join(sections),
        "floor": _floor(),
    }
    return text.format(tokens=WAN.tokens, text=TEXT, **tables)


def _machines(all_reports: dict[str, Report]) -> str:
    lines = ["| JSON | case | run on |", "| --- | --- | --- |"]
    for name, report in all_reports.items():
        if name not in GPU:
            lines.append(f"| `{name}` | {_what(report)} | {report['machine']} |")
    for name, what in GPU.items():
        machine = all_reports[name]["machine"] if name in all_reports else "**not run**: no GPU was at hand"
        lines.append(f"| `{name}` | {what} | {machine} |")
    return "\n".join(lines)


def _what(report: Report) -> str:
    shape = report["shape"]
    return (
        f"dim {shape['dim']}, {shape['depth']} blocks, {shape['tokens']:,} tokens ({report['size']}), "
        f"{report['weights']} weights"
    )


def _bounds(all_reports: dict[str, Report]) -> str:
    lines = [
        "| case | ours over the released schedule, seconds | smallest over fastest, peak memory | "
        "counted model off by, at most |",
        "| --- | --- | --- | --- |",
        f"| bound: at most | {MOST_TIME} | {MOST_MEMORY:.2f} | {MOST_ERROR:.0%} |",
        f"| foreseen before the first run | {FORESEEN['time']} | {FORESEEN['memory']} | |",
    ]
    for name, report in all_reports.items():
        if "rows" in report:
            time, memory, error = promises(report)
            lines.append(f"| `{name}` | {_number(time)} | {_number(memory)} | {error:.0%} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def promises(report: Report) -> tuple[float | None, float | None, float]:
    """Seconds of ours over the released schedule, memory of smallest over fastest, and the counted model's error."""
    rows = report["rows"]
    time = memory = None
    if {OURS, RELEASED} <= rows.keys():
        time = rows[OURS]["median_seconds"] / rows[RELEASED]["median_seconds"]
    if {OURS, SMALLEST} <= rows.keys():
        memory = rows[SMALLEST]["peak_mib"] / rows[OURS]["peak_mib"]
    return time, memory, max(error for row in rows.values() for error in errors(row))


def errors(row: Report) -> list[float]:
    """The errors of the counted seconds and memory, as shares of the measured ones."""
    pairs = [(row["foreseen_seconds"], row["median_seconds"]), (row["foreseen_mib"], row["peak_mib"])]
    return [abs(foreseen / measured - 1) for foreseen, measured in pairs if foreseen is not None]


def _step(name: str, report: Report) -> str:
    rates = report["rates"]
    lines = [
        f"## {_what(report)}",
        "",
        f"`{name}`: {report['machine']}; computed in {report['computed_in']}; {report['clock']} seconds, medians of "
        f"{report['rounds']} round(s); block {report['block']} is read, the released schedule runs "
        f"{report['released_blocks']} blocks. Memory is the peak above the model's {report['model_mib']:.0f} MiB. "
        f"Measured rates: {rates['products'] / 1e12:.3f} TFLOP/s of matrix products (the ceiling), "
        f"{rates['attention'] / 1e12:.3f} of attention forward, {rates['attention_backward'] / 1e12:.3f} backward, "
        f"{rates['moved'] / 1e9:.1f} GB/s of elementwise work.",
        "",
        "| guidance of one step | seconds | foreseen | MiB | foreseen | gradients | blocks entered | TFLOP | TFLOP/s | "
        "of the ceiling |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for label, row in report["rows"].items():
        foreseen = "" if row["foreseen_mib"] is None else f"{row['foreseen_mib']:.0f}"
        lines.append(
            f"| {label} | {row['median_seconds']:.2f} | {row['foreseen_seconds']:.2f} | {row['peak_mib']:.0f} | "
            f"{foreseen} | {row['gradients']} | {row['blocks_entered'] or '–'} | {row['tflop']:.3g} | "
            f"{row['tflop_per_second']:.3g} | {row['share_of_ceiling']:.0%} |"
        )
    left = [f"{label} ({why})" for label, why in report["not_run"].items() if not why.startswith("not asked for")]
    lines += ["", f"Not run: {'; '.join(left)}."] if left else []
    return "\n".join(lines)


def _video(name: str, report: Report) -> str:
    lines = [
        f"## Whole videos: {_what(report)}",
        "",
        f"`{name}`: {report['machine']}; sampling alone; memory {report['memory']}; reading the motion took "
        f"{report['reading_seconds']:.1f} s, once.",
        "",
        "| steps | guided | seconds | over plain | MiB | guided steps | gradients | TFLOP |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for steps, pair in report["steps"].items():
        for label, answer in (("plain", "no"), ("guided", "yes")):
            row = pair[label]
            ratio = row["seconds"] / pair["plain"]["seconds"]
            lines.append(
                f"| {steps} | {answer} | {row['seconds']:.1f} | {ratio:.2f} | {row['peak_mib']:.0f} | "
                f"{row['guided_steps']} | {row['gradients']} | {row['tflop']:.3g} |"
            )
    return "\n".join(lines)


def floor() -> dict[str, float]:
    """TFLOP of Wan 2.1 1.3B at 480x832x81, counted; attention motion flow apart, which adds about 1.6 a gradient."""
    kept, whole = gradient(WAN, 14, 14).tflop, block_forward(WAN).tflop
    checkpointed = gradient(WAN, 20, 20, 20).tflop
    return {
        "one block forward": whole,
        "of it self-attention": WAN.attention / 1e12,
        "one block backward, to the latent alone": block_backward(WAN).tflop,
        "the whole model forward": 30 * whole,
        "a gradient through 14 blocks, all kept": kept,
        "the same at half the height and width": gradient(HALF_WAN, 14, 14).tflop,
        "a gradient through 20 blocks, all recomputed": checkpointed,
        "a guided step of 4 gradients, ours, the reference kept": 4 * kept,
        "the same with a reference pass": 4 * kept + 14 * whole,
        "a guided step of 4 gradients through 20 recomputed blocks, with a reference pass": 4 * checkpointed
        + 20 * whole,
        "a guided step of the released schedule as its code does it": released_step(WAN, 14, 20, 4).tflop,
        "a guided step of ours, flow and all": our_step(WAN, 14, 4).tflop,
        "50 steps with CFG, no guidance": 50 * plain_step(WAN).tflop,
    }


def _floor() -> str:
    rows = [
        f"| {label} | {value:,.3g} |" if value < 1000 else f"| {label} | {value:,.0f} |"
        for label, value in floor().items()
    ]
    return "\n".join(["| | TFLOP |", "| --- | --- |", *rows])


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(reports()), encoding="utf-8")


if __name__ == "__main__":
    main()
