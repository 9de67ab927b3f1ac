"""Reference latent -> motion."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from comfy_api.latest import io, ui

from ..fastvmt_core.config import AUTO_BLOCK, AMFConfig, Centre, CutHandling, InversionConfig
from ..fastvmt_core.motion.fingerprint import hash_of_reference
from ..fastvmt_core.typed_text import whole_numbers
from ..fastvmt_core.viz.motion_pictures import pictures_of
from .host.models.video_model import VideoModel
from .host.reading.inversion import invert_motion
from .io_types import CATEGORY, CUTS, Motion

if TYPE_CHECKING:
    import torch
    from comfy.model_patcher import ModelPatcher

FLOW = AMFConfig()
DEFAULTS = InversionConfig()
WHOLE_FRAME = 0


class FastVMTInvertMotion(io.ComfyNode):
    """Read the motion of a reference clip from the model's own attention."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the widgets; their defaults are those of `AMFConfig` and `InversionConfig`."""
        return io.Schema(
            node_id="FastVMTInvertMotion",
            display_name="FastVMT Invert Motion",
            category=CATEGORY,
            description="Reads the motion of the reference from the model's own attention, once, and shows it. It "
            "then serves any prompt and seed; best at the same size and length, others are resampled.",
            inputs=[
                io.Model.Input("model", tooltip="A native Wan model. For the Wan 2.2 pair: the low-noise one."),
                io.Latent.Input("reference", tooltip="From Encode Reference."),
                io.Conditioning.Input("empty_prompt", tooltip="CLIP Text Encode with an empty text."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=False,
                    tooltip="Of the noise the reference is read under. Any value will do, unless sigmas "
                    "are connected: then the sampler's seed.",
                ),
                io.Float.Input(
                    "reference_sigma",
                    default=DEFAULTS.reference_sigma,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="Noise level at which the reference is read. Around .3 the attention shows its "
                    "motion, above .9 only noise and look.",
                ),
                io.Int.Input(
                    "block",
                    default=DEFAULTS.block,
                    min=AUTO_BLOCK,
                    max=255,
                    tooltip="Which block's attention is read, from 0. -1: the paper's 15th in models of "
                    "28 blocks or more, else the middle one.",
                ),
                io.Int.Input(
                    "window",
                    default=FLOW.window,
                    min=WHOLE_FRAME,
                    max=512,
                    tooltip="How far a token is looked for in other frames: the side of a square, in tokens "
                    "of 16 pixels. 0: the whole frame, slower.",
                ),
                io.Int.Input(
                    "temporal_span",
                    default=FLOW.temporal_span,
                    min=1,
                    max=64,
                    tooltip="How many frames of the latent (4 of the video each) one is compared with, itself "
                    "included.",
                ),
                io.Int.Input(
                    "tile_height", default=FLOW.tile[0], min=1, max=64, tooltip="Rows of tokens that share one window."
                ),
                io.Int.Input(
                    "tile_width",
                    default=FLOW.tile[1],
                    min=1,
                    max=64,
                    tooltip="Columns of tokens that share one window.",
                ),
                io.Float.Input(
                    "sharpness",
                    default=FLOW.sharpness,
                    min=0.01,
                    max=100.0,
                    step=0.05,
                    tooltip="Larger values follow the best match, smaller ones the average of all.",
                ),
                io.Combo.Input(
                    "centre",
                    options=list(get_args(Centre)),
                    default=FLOW.centre,
                    tooltip="Where the window lies: around the tile itself, or where the reference's "
                    "attention expects it or is largest. Large motions need one of the latter.",
                ),
                io.Sigmas.Input(
                    "sigmas",
                    optional=True,
                    tooltip="Read the motion once at each of these noise levels instead of once at "
                    "reference_sigma. Usually follows the reference worse.",
                ),
                io.String.Input(
                    "more_blocks",
                    default="",
                    optional=True,
                    tooltip="Blocks to average with that one, e.g. 12, 16. The guided model then runs up to the last "
                    "of them.",
                ),
                io.Combo.Input(
                    "cuts",
                    options=list(get_args(CutHandling)),
                    default=DEFAULTS.cuts,
                    optional=True,
                    tooltip="Read each shot by itself where Encode Reference saw cuts (in a latent from elsewhere they "
                    "are looked for here, and the log says where), and let no shot see another while it is guided. Or "
                    "take the reference for one shot.",
                ),
            ],
            outputs=[Motion.Output(display_name="motion")],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        reference: dict,
        empty_prompt: list,
        seed: int,
        reference_sigma: float,
        block: int,
        window: int,
        temporal_span: int,
        tile_height: int,
        tile_width: int,
        sharpness: float,
        centre: Centre,
        sigmas: torch.Tensor | None = None,
        more_blocks: str = "",
        cuts: CutHandling = DEFAULTS.cuts,
    ) -> io.NodeOutput:
        """Collect the settings and read the motion."""
        more = whole_numbers("more_blocks", more_blocks)
        where = InversionConfig(reference_sigma=reference_sigma, block=block, more_blocks=more)
        flow = AMFConfig(
            temporal_span=temporal_span,
            window=None if window == WHOLE_FRAME else window,
            tile=(tile_height, tile_width),
            sharpness=sharpness,
            centre=centre,
        )
        known = _known_cuts(reference) if cuts == "detect" else None
        motion = invert_motion(
            model=model,
            reference=reference["samples"],
            empty_prompt=empty_prompt,
            config=flow,
            blocks=where.resolve_blocks(VideoModel.of(model).depth),
            sigmas=where.levels(sigmas),
            seed=seed,
            cuts=cuts if known is None else known,
        )
        return io.NodeOutput(motion, ui=ui.PreviewImage(pictures_of(motion, "arrows", "movement")))


def _known_cuts(reference: dict) -> tuple[int, ...] | None:
    """The frames of the latent at which Encode Reference saw a shot begin; None where it did not make this latent."""
    if CUTS not in reference:
        return None
    made_for, cuts = reference[CUTS]
    return cuts if hash_of_reference(reference["samples"]) == made_for else None
