"""The objectives that people choose from, by name: a new one is a file beside this and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..motion.embedding import MotionEmbedding
from ..motion.header import FASTVMT
from ..presets import PAPER_LOSS_WEIGHTS
from .ditflow import DiTFlow
from .fastvmt import FastVMT
from .flow_of_values import FlowOfValues
from .flowmotion import FlowMotion
from .method import Method
from .moft import MOFT
from .motionclone import MotionClone
from .smm import SMM

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            FastVMT(PAPER_LOSS_WEIGHTS),
            DiTFlow(),
            SMM(),
            MOFT(),
            MotionClone(),
            FlowMotion(),
            FlowOfValues(),
        )
    }
)
"""In the order in which they were added, as saved workflows hold them."""
DEFAULT = METHODS[FASTVMT]


def method_for(motion: MotionEmbedding, chosen: Method | None = None) -> Method:
    """The objective that follows `motion`: the one that it was read for.

    Args:
        motion: any.
        chosen: what a user connected; None: nothing.

    Raises:
        ValueError: another one is connected, or this version does not know the motion's.
    """
    if chosen is not None and chosen.name != motion.objective:
        raise ValueError(
            f"objective: expected {motion.objective}, which the motion was read for, got {chosen.name}; disconnect the "
            "input, or connect this objective to Invert Motion as well."
        )
    if chosen is None and motion.objective not in METHODS:
        raise ValueError(
            f"motion: expected one read for {', '.join(METHODS)}, got one read for {motion.objective}; update FastVMT, "
            "or read the motion again with Invert Motion."
        )
    return METHODS[motion.objective] if chosen is None else chosen
