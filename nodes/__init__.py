"""The list of nodes that the host registers."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .guidance import FastVMTApplyMotion
from .inversion import FastVMTInvertMotion
from .reference import FastVMTEncodeReference
from .weights import FastVMTLossWeights


class FastVMTExtension(ComfyExtension):
    """The pack as the host sees it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """List every node class of the pack."""
        return [FastVMTEncodeReference, FastVMTInvertMotion, FastVMTLossWeights, FastVMTApplyMotion]
