"""The list of nodes that the host registers."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .compare import FastVMTCompare
from .decode import FastVMTDecodeShots
from .demo import TinyWanLoader, TinyWanPrompt
from .draw_motion import FastVMTDrawMotion
from .find_block import FastVMTFindBlock
from .guidance import FastVMTApplyMotion
from .inversion import FastVMTInvertMotion
from .motion_edit import FastVMTBlendMotion, FastVMTEditMotion, FastVMTMaskMotion
from .motion_fidelity import FastVMTMotionFidelity
from .motion_file import FastVMTLoadMotion, FastVMTSaveMotion
from .motion_preview import FastVMTPreviewMotion
from .objective import FastVMTObjective
from .place_subject import FastVMTPlaceSubject
from .provenance import FastVMTCheckVideo, FastVMTSaveVideoCredentials
from .reference import FastVMTEncodeReference
from .refresh import FastVMTRefreshMotion
from .sampler import FastVMTSampler
from .tracks import FastVMTMotionFromTracks, FastVMTMotionToTracks
from .weights import FastVMTLossWeights


class FastVMTExtension(ComfyExtension):
    """The pack as the host sees it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """List every node class of the pack."""
        return [
            FastVMTEncodeReference,
            FastVMTInvertMotion,
            FastVMTLossWeights,
            FastVMTApplyMotion,
            FastVMTSampler,
            TinyWanLoader,
            TinyWanPrompt,
            FastVMTFindBlock,
            FastVMTSaveMotion,
            FastVMTLoadMotion,
            FastVMTPreviewMotion,
            FastVMTEditMotion,
            FastVMTBlendMotion,
            FastVMTMaskMotion,
            FastVMTMotionFidelity,
            FastVMTRefreshMotion,
            FastVMTDecodeShots,
            FastVMTDrawMotion,
            FastVMTMotionFromTracks,
            FastVMTMotionToTracks,
            FastVMTObjective,
            FastVMTCompare,
            FastVMTSaveVideoCredentials,
            FastVMTCheckVideo,
            FastVMTPlaceSubject,
        ]
