"""The choice of an objective."""

from __future__ import annotations

from comfy_api.latest import io

from ..fastvmt_core.motion.header import FASTVMT
from ..fastvmt_core.objectives.registry import METHODS
from .io_types import Objective
from .schema import GUIDANCE, node_schema, require_choice


class FastVMTObjective(io.ComfyNode):
    """Choose by which published method a motion is read and followed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """One widget: the objectives."""
        return node_schema(
            node_id="FastVMTObjective",
            display_name="FastVMT Objective",
            category=GUIDANCE,
            search_aliases=["motion transfer", "loss", *(name for name in METHODS if name != FASTVMT)],
            description="Another published method than FastVMT to read a motion and to follow it. Connect it to Invert "
            "Motion; what follows the motion then uses it too. For comparisons: FastVMT needs no such node.",
            inputs=[
                io.Combo.Input(
                    "objective",
                    options=list(METHODS),
                    default=FASTVMT,
                    tooltip="FastVMT, DiTFlow, MotionClone: attention. SMM, MOFT: features of a block. FlowMotion: the "
                    "predicted video, quick, copies layout. flow of values: the movement of content, ours.",
                ),
            ],
            outputs=[
                Objective.Output(
                    display_name="objective", tooltip="For Invert Motion; into Apply Motion only as a check."
                ),
            ],
        )

    @classmethod
    def execute(cls, objective: str) -> io.NodeOutput:
        """Look the objective up."""
        return io.NodeOutput(METHODS[require_choice("objective", objective, METHODS)])
