"""The list of the templates, in the order in which the page shows them."""

from __future__ import annotations

from tools.build.graphs import tiny, wan, wan22
from tools.build.spec import Workflow


def workflows() -> list[Workflow]:
    """Every template, the one that runs anywhere first."""
    return [
        tiny.tiny_demo(),
        tiny.tiny_side_by_side(),
        tiny.tiny_edit_and_blend(),
        tiny.tiny_motion_library(),
        tiny.tiny_fidelity_report(),
        wan.text_to_video(),
        wan.from_reference(),
        wan.image_to_video(),
        wan22.high_low(),
        wan22.four_steps(),
    ]
