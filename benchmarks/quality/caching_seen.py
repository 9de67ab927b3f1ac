"""What could give a reused gradient away in a clip: flicker, a rough path, and what a small classifier finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from scipy.stats import beta

from benchmarks.runs.bootstrap import mean_interval, paired_difference
from benchmarks.runs.references import Reference
from benchmarks.runs.report import markdown_table
from fastvmt_core.metrics.fidelity import path_correlation, path_error
from tools.train.patterns import Floats
from tools.train.track import track

FRESH, OTHERS = "Delta 1", ("Delta 3", "Delta 5")
UNGUIDED, FLICKERING = "not guided", "Delta 1 with 1 % flicker"
PAIRS = (*OTHERS, UNGUIDED, FLICKERING)
"""Each against FRESH; the last two are what a classifier that sees anything must tell."""
LATENT = 4
"""Frames of a latent frame."""
NEAR = 32.0
"""Pixels around the object that are left out of the background."""
BANDS = (1.0, 2.0, 4.0)
"""Standard deviations, pixels, of the blurs between which details are measured."""
RIDGE = 1.0
"""Share of a feature's own variance that is added to it: there are more features than some data can settle."""
FIGURES = ("correlation", "error_px", "flicker", "roughness")
Rows = Sequence[dict[str, Any]]


def figures_of(frames: Floats, reference: Reference) -> dict[str, Any]:
    """Figures of one clip (T, H, W, 3) in [0, 1].

    Returns:
        ``correlation`` and ``error_px`` of its path, ``flicker`` (how the background's change itself changes from frame
        to frame, root mean square, in 255ths of brightness), ``roughness`` (the same of the path, in pixels), and the
        classifier's ``features``.
    """
    target = reference.targets[0]
    path = track(frames, target.colour)
    lost = not np.isfinite(path).all()
    grey = frames.mean(-1)
    pair = torch.from_numpy(path), torch.from_numpy(target.path)
    return {
        "lost": lost,
        "correlation": 0.0 if lost else path_correlation(*pair),
        "error_px": frames.shape[1] / 2 if lost else path_error(*pair),
        "flicker": _flicker(grey, None if lost else path),
        "roughness": None if lost else _rms(np.diff(path, n=2, axis=0)),
        "features": features(grey),
    }


def features(grey: Floats) -> list[float]:
    """Logarithms of the energy of a clip (T, H, W) by size of detail and by change over time, and of its changes by
    their place in a latent frame."""
    blurred = [ndimage.gaussian_filter(grey, (0, sigma, sigma)) for sigma in BANDS]
    bands = [fine - coarse for fine, coarse in zip([grey, *blurred], blurred, strict=False)] + [blurred[-1]]
    values = [_rms(np.diff(band, n=times, axis=0) if times else band) for band in bands for times in (0, 1, 2)]
    steps = np.diff(grey, axis=0)
    values += [_rms(steps[place::LATENT]) for place in range(LATENT)]
    return [round(float(np.log(value + 1e-6)), 5) for value in values]


def flickering(frames: Floats, seed: int) -> Floats:
    """The clip with 1 % of random brightness from frame to frame."""
    gains = 1 + 0.01 * np.random.default_rng(seed).normal(size=(len(frames), 1, 1, 1))
    return (frames * gains).clip(0, 1).astype(np.float32)


def report_of(runs: Rows, clip: Callable[[str, int], Floats], count: int) -> dict[str, Any]:
    """Means of every row with their difference from FRESH, and how often the classifier is right."""
    rows = {}
    for name in (UNGUIDED, FRESH, *OTHERS):
        own = [run for run in runs if run["row"] == name]
        rows[name] = {"clips": len(own), "lost": sum(run["lost"] for run in own)}
        for figure in FIGURES:
            rows[name][figure] = mean_interval([run[figure] for run in own], [run["reference"] for run in own])
            if name in OTHERS:
                rows[name][f"{figure}_less_fresh"] = paired_difference(
                    _by_clip(runs, name, figure), _by_clip(runs, FRESH, figure)
                )
        if name != FRESH:
            psnr = [_psnr(clip(name, index), clip(FRESH, index)) for index in range(count)]
            rows[name]["psnr"] = float(np.mean(psnr))
    vectors = {name: _vectors(runs, name) for name in (UNGUIDED, FRESH, *OTHERS)}
    vectors[FLICKERING] = np.array([features(flickering(clip(FRESH, index), index).mean(-1)) for index in range(count)])
    return {
        "references": count,
        "rows": rows,
        "recognised": {name: recognised(vectors[name], vectors[FRESH]) for name in PAIRS},
    }


def recognised(changed: Floats, fresh: Floats) -> int:
    """In how many references the classifier points at the changed one of the two clips, having learnt from all others.

    Both are (references, features).
    """
    differences, right = changed - fresh, 0
    for index, difference in enumerate(differences):
        others = differences[np.arange(len(differences)) != index]
        covariance = others.T @ others / len(others)
        ridge = RIDGE * np.diag(np.diag(covariance)) + 1e-9 * np.eye(len(difference))
        right += bool(difference @ np.linalg.solve(covariance + ridge, others.mean(0)) > 0)
    return right


def page(text: str, report: dict[str, Any]) -> str:
    """``text`` with the tables in place of ``{figures}`` and ``{recognised}``, and the number of references."""
    references = report["references"]
    return text.format(
        references=references,
        features=3 * (len(BANDS) + 1) + LATENT,
        figures=_figures(report),
        recognised=_recognised(report["recognised"], references),
    )


def _figures(report: dict[str, Any]) -> str:
    inner = report["schedule"]["inner_steps"]
    heads = ("", "gradients a guided step", "path correlation", "error, px", "flicker", "roughness", "PSNR to Delta 1")
    lines = []
    for name, row in report["rows"].items():
        every = int(name.split()[-1]) if name.startswith("Delta") else 0
        cells = [_cell(row, figure) for figure in FIGURES]
        psnr = f"{row['psnr']:.1f} dB" if "psnr" in row else ""
        lines.append((name, str(-(-inner // every)) if every else "0", *cells, psnr))
    return markdown_table(heads, lines)


def _cell(row: dict[str, Any], figure: str) -> str:
    mean, difference = row[figure], row.get(f"{figure}_less_fresh")
    text = f"{mean[0]:.3f}"
    return text if difference is None else text + " ({:+.3f} [{:+.3f}, {:+.3f}])".format(*difference)


def _recognised(right: dict[str, int], of: int) -> str:
    rows = [(name, _share(count, of)) for name, count in right.items()]
    return markdown_table(("Delta 1 against", "the right one of two clips [95 %]"), rows)


def _share(right: int, of: int) -> str:
    """With the exact binomial interval (Clopper and Pearson)."""
    low = beta.ppf(0.025, right, of - right + 1) if right else 0.0
    high = beta.ppf(0.975, right + 1, of - right) if right < of else 1.0
    return f"{right} of {of} [{low:.2f}, {high:.2f}]"


def _vectors(runs: Rows, name: str) -> Floats:
    return np.array([run["features"] for run in runs if run["row"] == name])


def _by_clip(runs: Rows, name: str, figure: str) -> dict[tuple[int, int], float | None]:
    return {(run["reference"], 0): run[figure] for run in runs if run["row"] == name}


def _flicker(grey: Floats, path: Floats | None) -> float:
    """Without the pixels that the object comes near to in any frame."""
    y, x = np.mgrid[: grey.shape[1], : grey.shape[2]]
    far = np.ones(grey.shape[1:], bool)
    for place in () if path is None else path:
        far &= np.hypot(x - place[0], y - place[1]) > NEAR
    return _rms(np.diff(grey, n=2, axis=0)[:, far]) * 255 if far.any() else 0.0


def _psnr(one: Floats, other: Floats) -> float:
    return float(-20 * np.log10(_rms(one - other) + 1e-9))


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
