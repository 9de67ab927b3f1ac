"""The host's context windows in the matrix: every schedule and manner of joining that its node offers."""

from __future__ import annotations

from tests.matrix.parts import Patch, node
from tests.matrix.row import Row

SHORT, SHARED = 5, 4
"""Frames of a window and of what two share: two latent frames and one, of the matrix's three, in every host."""


def windows(**changes: object) -> Patch:
    """The host's node for Wan."""
    settings = {
        "context_length": SHORT,
        "context_overlap": SHARED,
        "context_schedule": "standard_static",
        "context_stride": 1,
        "closed_loop": False,
        "fuse_method": "pyramid",
        # Hosts of 2026 ask for these too; others don't look at them.
        "freenoise": False,
        "retain_first_frame": False,
        "split_conds_to_windows": False,
    }
    return node("WanContextWindowsManual", **{**settings, **changes})


NAMED: dict[str, Patch] = {
    "context windows": windows(),
    "context windows that are longer than the clip": windows(context_length=81, context_overlap=30),
    "context windows, fused relative": windows(fuse_method="relative"),
    "context windows, fused flat": windows(fuse_method="flat"),
    "context windows, fused overlap-linear": windows(fuse_method="overlap-linear"),
    "context windows, uniform": windows(context_schedule="standard_uniform"),
    "context windows, uniform, stride 2": windows(context_schedule="standard_uniform", context_stride=2),
    "context windows, looped": windows(context_schedule="looped_uniform"),
    "context windows, closed loop": windows(context_schedule="looped_uniform", closed_loop=True),
    "context windows, batched": windows(context_schedule="batched"),
    "context windows, free noise": windows(freenoise=True),
}
"""By the rows' names."""
ROWS = tuple(Row("patches", name, before=patch) for name, patch in NAMED.items())
