"""Slopes, faults and the plot of a soak, from its lines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tools.host.layout import REPO

PLOT = REPO / "docs" / "images" / "soak.svg"
SETTLED = 10
"""Runs of a server before it counts: the first use of each kernel and model allocates what stays."""
MOST_MB = 1.0
"""Growth a run."""
LEFT = ("hooks", "wrappers", "swapped")
STEADY = ("handles", "threads", "models")
SPARE = 4
"""Handles, threads and models that may come and go: of connections, of the host's pools, and of the job before."""

Lines = list[dict[str, Any]]


def settled(lines: Lines) -> list[Lines]:
    """The lines that count, server by server."""
    servers = {line["server"] for line in lines}
    parts = [[line for line in lines if line["server"] == server][SETTLED:] for server in sorted(servers)]
    return [part for part in parts if len(part) > 1]


def slope(part: Lines, key: str) -> float:
    """Growth of a value a run: the slope of the least-squares line."""
    return float(np.polyfit([line["run"] for line in part], [line[key] for line in part], 1)[0])


def faults_of(lines: Lines) -> list[str]:
    """What grows, what is left, and which jobs ended as they should not."""
    found = []
    for part in settled(lines):
        for key in ("memory_mb", "tensors_mb"):
            if slope(part, key) >= MOST_MB:
                found.append(f"{key} grows by {slope(part, key):.2f} a run, {MOST_MB} at most")
        for key in STEADY:
            tail = part[len(part) // 2 :]
            if min(line[key] for line in tail) > part[0][key] + SPARE:
                found.append(f"{key}: from {part[0][key]} to {part[-1][key]}")
    found += [f"run {line['run']} leaves {line[key]} {key}" for line in lines for key in LEFT if line[key]]
    wanted = {"runs": ("ran",), "fails": ("KSampler: positive: expected",)}
    for line in lines:
        if not line["ended"].startswith(wanted.get(line["wanted"], ("cancelled", "ran"))):
            found.append(f"run {line['run']} was to end as {line['wanted']!r}, ended as {line['ended']!r}")
    return found


def in_words(lines: Lines) -> str:
    """The figures of a soak in one paragraph."""
    ends = Counter("failed as it should" if ":" in line["ended"] else line["ended"] for line in lines)
    slopes = {
        key: max((slope(part, key) for part in settled(lines)), default=0.0) for key in ("memory_mb", "tensors_mb")
    }
    counted = ", ".join(f"{count} {ended}" for ended, count in ends.most_common())
    last = lines[-1]
    return (
        f"{len(lines)} runs ({counted}) in {len({line['server'] for line in lines})} server(s). After run {SETTLED}: "
        f"memory {slopes['memory_mb']:+.3f} MB a run, live tensors {slopes['tensors_mb']:+.4f} MB a run. At the end "
        + ", ".join(f"{last[key]} {key}" for key in (*STEADY, *LEFT))
        + "."
    )


def draw(lines: Lines, file: Path) -> None:
    """Write the plot: memory, live tensors, handles and threads, and seconds, over the runs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(4, 1, sharex=True)
    runs = [line["run"] for line in lines]
    for axes, keys, label in (
        (rows[0], ("memory_mb",), "resident memory, MB"),
        (rows[1], ("tensors_mb",), "live tensors, MB"),
        (rows[2], ("handles", "threads"), "count"),
        (rows[3], ("seconds",), "seconds a run"),
    ):
        for key in keys:
            style = "." if key == "seconds" else "-"
            axes.plot(runs, [line[key] for line in lines], style, linewidth=1, markersize=3, label=key)
        axes.set(ylabel=label, ylim=(0, None))
        axes.grid(color="0.9")
    rows[2].legend(loc="center right")
    rows[3].set(xlabel="guided run")
    file.parent.mkdir(parents=True, exist_ok=True)
    # Without a date, so that the same lines give the same file.
    figure.savefig(file, metadata={"Date": None})
