"""Means of clips with intervals: references are drawn again, and the seeds of a reference stay together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

RESAMPLES = 4000
LEVEL = 0.95


def mean_interval(
    values: Sequence[float | None], clusters: Sequence[Hashable], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float, float] | None:
    """Mean of all values, and the bounds of its 95 % percentile bootstrap interval over clusters.

    Clips of one reference are alike, so that whole references are drawn with replacement. A single cluster
    leaves others unknown: both bounds are the mean.

    Args:
        values: one a clip; None and NaN are left out.
        clusters: what each clip belongs to (its reference).

    Returns:
        (mean, low, high), or None where no value is left.
    """
    if len(values) != len(clusters):
        raise ValueError(f"clusters: expected one for each of {len(values)} values, got {len(clusters)}.")
    known = [(float(value), cluster) for value, cluster in zip(values, clusters, strict=True) if _is_known(value)]
    if not known:
        return None
    names = {name: index for index, name in enumerate(dict.fromkeys(cluster for _, cluster in known))}
    owner = np.array([names[cluster] for _, cluster in known])
    sums = np.bincount(owner, [value for value, _ in known])
    counts = np.bincount(owner)
    drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(sums.sum() / counts.sum()), float(low), float(high)


def paired_difference(
    changed: dict[tuple[Hashable, Hashable], float | None],
    base: dict[tuple[Hashable, Hashable], float | None],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float, float] | None:
    """Mean of changed - base over the (reference, seed) clips that both have, with its interval over references."""
    clips = [clip for clip in changed if _is_known(changed[clip]) and _is_known(base.get(clip))]
    differences = [float(changed[clip]) - float(base[clip]) for clip in clips]
    return mean_interval(differences, [reference for reference, _ in clips], resamples, seed)


def _is_known(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))
