"""A page that shows videos of one motion beside each other: one HTML file, which opens from disk."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checks import is_number, require
from .html_page import page_with

TEMPLATE, PLACE = Path(__file__).with_name("comparison.html"), "COMPARISON_DATA"
LEAST_TRAVEL, DRAWN = 0.02, 60
"""Share of the frame from which a trajectory is drawn, and the most that are: those that travel farthest."""


@dataclass(frozen=True)
class Shown:
    """What a page shows.

    Args:
        clips: name and MP4 file of each video; all of one size, rate and length.
        width: pixels.
        height: pixels.
        frames: of each video.
        fps: frames a second.
        made: a line about when and of what.
        tracks: (T, N, 2) of the reference's trajectories as shares of the frame's width and height; None: none.
        figures: names and values.
        losses: of the gradients, in their order.
        graph: the workflow, as the host's page takes it; None: none to copy.
    """

    clips: Sequence[tuple[str, bytes]]
    width: int
    height: int
    frames: int
    fps: float
    made: str = ""
    tracks: Tensor | None = None
    figures: Sequence[tuple[str, str]] = ()
    losses: Sequence[float] = ()
    graph: dict[str, Any] | None = None


def comparison_page(shown: Shown) -> str:
    """The HTML of a page: the videos are in it, and nothing is fetched."""
    data = {
        "clips": [{"name": name, "src": _address(video)} for name, video in shown.clips],
        **{name: getattr(shown, name) for name in ("width", "height", "frames", "fps", "made", "graph")},
        "tracks": [] if shown.tracks is None else _farthest(shown.tracks),
        "figures": [list(figure) for figure in shown.figures],
        "losses": list(shown.losses),
    }
    return page_with(TEMPLATE, PLACE, data)


def figures_of(report: str) -> list[tuple[str, str]]:
    """Names and values of a report of Motion Fidelity (JSON text); none of an empty text.

    Raises:
        ValueError: it is no such report.
    """
    return [(name.replace("_", " "), _plain(value)) for name, value in _read("report", report).items()]


def losses_of(log: str) -> list[float]:
    """The losses of the gradients in a loss log of FastVMT Sampler (JSON text); none of an empty text.

    Raises:
        ValueError: it is no such log.
    """
    steps = _read("loss_log", log).get("steps", [])
    expected = "what FastVMT Sampler gives as loss_log"
    require(isinstance(steps, list) and all(isinstance(step, dict) for step in steps), "loss_log", expected, log)
    losses = [loss for step in steps for loss in step.get("losses") or () if loss is not None]
    require(all(is_number(loss, -math.inf) for loss in losses), "loss_log", expected, log)
    return [float(loss) for loss in losses]


def _read(name: str, text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = None
    expected = "the text that Motion Fidelity or FastVMT Sampler gives, or none"
    require(isinstance(read, dict), name, expected, text)
    return read


def _plain(value: object, deep: int = 0) -> str:
    if isinstance(value, dict):
        return "..." if deep > 3 else ", ".join(f"{name} {_plain(each, deep + 1)}" for name, each in value.items())
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _address(video: bytes) -> str:
    return "data:video/mp4;base64," + base64.b64encode(video).decode("ascii")


def _farthest(tracks: Tensor) -> list[list[list[float]]]:
    """The tracks (T, N, 2) that travel farthest, each a list of places."""
    travel = tracks.diff(dim=0).norm(dim=-1).sum(0)
    chosen = travel.topk(min(DRAWN, len(travel))).indices
    chosen = chosen[travel[chosen] >= LEAST_TRAVEL]
    return [[[round(x, 4), round(y, 4)] for x, y in path] for path in tracks[:, chosen].transpose(0, 1).tolist()]
