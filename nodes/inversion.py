"""Reference latent -> motion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from comfy_api.latest import io, ui

from ..fastvmt_core.config import AUTO_BLOCK, AMFConfig, Centre, CutHandling, InversionConfig
from ..fastvmt_core.motion.fingerprint import hash_of_reference
from ..fastvmt_core.objectives.registry import DEFAULT
from ..fastvmt_core.typed_text import LEAST_LEVEL, whole_numbers
from ..fastvmt_core.video.clip import MOST_FRAMES
from ..fastvmt_core.viz.motion_pictures import pictures_of
from .host.models.noise_levels import levels_of
from .host.models.video_model import VideoModel
from .host.reading.inversion import invert_motion
from .io_types import CUTS, FRAME_FLOW, Motion, Objective
from .schema import LARGEST_SEED, MOTION, advanced, node_schema, require_choice

if TYPE_CHECKING:
    import torch
    from comfy.model_patcher import ModelPatcher

    from ..fastvmt_core.objectives.method import Method

FLOW = AMFConfig()
DEFAULTS = InversionConfig()
WHOLE_FRAME = 0


class FastVMTInvertMotion(io.ComfyNode):
    """Read the motion of a reference clip from the model's own attention."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets; their defaults are those of `AMFConfig` and `InversionConfig`."""
        return node_schema(
            node_id="FastVMTInvertMotion",
            display_name="FastVMT Invert Motion",
            category=MOTION,
            essential=True,
            search_aliases=[
                "motion transfer",
                "camera motion",
                "reference video",
                "video to video motion",
                "extract motion",
                "read motion",
                "DiTFlow",
            ],
            description="Reads the motion of the reference from the model's own attention, once, and shows it. It "
            "then serves any prompt and seed; best at the same size and length, others are resampled.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="A native model: Wan, LTX-Video 0.9, LTX-2, Hunyuan Video, Cosmos, Mochi or Kandinsky 5. "
                    "Wan 2.2 14B: the low-noise one.",
                ),
                io.Latent.Input("reference", tooltip="The reference clip's latent, from Encode Reference."),
                io.Conditioning.Input(
                    "empty_prompt", tooltip="CLIP Text Encode with an empty text: motion is read without words."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=LARGEST_SEED,
                    control_after_generate=False,
                    tooltip="Seed of the reference's noise. Any will do; with sigmas: the sampler's.",
                ),
                *_reading_inputs(),
                *(advanced(widget) for widget in _flow_inputs()),
                *_optional_inputs(),
            ],
            outputs=[
                Motion.Output(display_name="motion", tooltip="The motion, for Apply Motion, Sampler and every edit."),
                io.Image.Output(display_name="preview", tooltip="The motion as arrows over the reference's latent."),
            ],
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
        objective: Method = DEFAULT,
        chunk_length: int = DEFAULTS.chunk_length,
    ) -> io.NodeOutput:
        """Collect the settings and read the motion."""
        flow = AMFConfig(
            temporal_span=temporal_span,
            window=None if window == WHOLE_FRAME else window,
            tile=(tile_height, tile_width),
            sharpness=sharpness,
            centre=require_choice("centre", centre, get_args(Centre)),
        )
        more = whole_numbers("more_blocks", more_blocks)
        reading = InversionConfig(reference_sigma, block, more, cuts, chunk_length)
        motion = invert_motion(
            model=model,
            reference=reference["samples"],
            empty_prompt=empty_prompt,
            config=flow,
            blocks=reading.resolve_blocks(VideoModel.of(model).depth),
            sigmas=reading.levels(levels_of(model, sigmas)),
            seed=seed,
            cuts=_cuts(reference, cuts),
            frame_flow=_known(reference, FRAME_FLOW),
            objective=objective,
            chunk_length=reading.chunk_length,
        )
        pictures = pictures_of(motion, "arrows", "movement")
        return io.NodeOutput(motion, pictures, ui=ui.PreviewImage(pictures))


def _reading_inputs() -> list[io.Input]:
    """At which noise level and in which block the motion is read, and how far it may go."""
    return [
        io.Float.Input(
            "reference_sigma",
            default=DEFAULTS.reference_sigma,
            min=LEAST_LEVEL,
            max=1.0,
            step=0.01,
            tooltip="Noise level at which the reference is read, 0.01 to 1. Around 0.3 the attention shows motion, "
            "above 0.9 only noise and appearance.",
        ),
        io.Int.Input(
            "block",
            default=DEFAULTS.block,
            min=AUTO_BLOCK,
            max=255,
            tooltip="Number of the block whose attention is read, from 0. -1: the paper's 15th in models of 28 blocks "
            "or more, else the middle one.",
        ),
        io.Int.Input(
            "window",
            default=FLOW.window,
            min=WHOLE_FRAME,
            max=512,
            tooltip="Side of the square in which a token is searched in other frames, in tokens (16 pixels; Wan 2.2 "
            "5B: 32). 21 reaches 10 tokens to each side. 0: whole frame, slower.",
        ),
    ]


def _flow_inputs() -> list[io.Input]:
    """How the attention's motion is computed; seldom changed."""
    return [
        io.Int.Input(
            "temporal_span",
            default=FLOW.temporal_span,
            min=1,
            max=64,
            tooltip="Latent frames (in Wan 4 video frames each) that a frame is compared with, itself included. More "
            "steady long motion and take longer; 3 to 6 works.",
        ),
        io.Int.Input(
            "tile_height",
            default=FLOW.tile[0],
            min=1,
            max=64,
            tooltip="Rows of tokens that share one window. Fewer is finer and slower.",
        ),
        io.Int.Input(
            "tile_width",
            default=FLOW.tile[1],
            min=1,
            max=64,
            tooltip="Columns of tokens that share one window. Fewer is finer and slower.",
        ),
        io.Float.Input(
            "sharpness",
            default=FLOW.sharpness,
            min=0.01,
            max=100.0,
            step=0.05,
            tooltip="Factor on the attention logits (tau). Higher: best match; lower: mean of all.",
        ),
        io.Combo.Input(
            "centre",
            options=list(get_args(Centre)),
            default=FLOW.centre,
            tooltip="Where the window lies. self: around the tile. expectation, argmax: where the reference's "
            "attention goes on average or most; take one of these for large motions.",
        ),
    ]


def _optional_inputs() -> list[io.Input]:
    """What came later, or can be left out."""
    return [
        io.Sigmas.Input(
            "sigmas",
            optional=True,
            tooltip="Reads the motion once at each of these noise levels instead of once at reference_sigma. Usually "
            "follows the reference worse.",
        ),
        advanced(
            io.String.Input(
                "more_blocks",
                default="",
                optional=True,
                tooltip="Numbers of further blocks to average with that one, e.g. 12, 16. Guidance then runs the model "
                "up to the last of them.",
            )
        ),
        io.Combo.Input(
            "cuts",
            options=list(get_args(CutHandling)),
            default=DEFAULTS.cuts,
            optional=True,
            tooltip="Cuts in the reference. detect: shots are read and guided apart. ignore: one shot.",
        ),
        Objective.Input(
            "objective",
            optional=True,
            tooltip="The method that will follow the motion, from Objective. Open: FastVMT.",
        ),
        advanced(
            io.Int.Input(
                "chunk_length",
                default=DEFAULTS.chunk_length,
                min=0,
                max=MOST_FRAMES,
                optional=True,
                tooltip="Frames of the clip that are read at once; longer clips are read in chunks that overlap. 81: "
                "the length Wan was made for. A model with context windows reads by their length at most. 0: all at "
                "once, which takes the most memory.",
            )
        ),
    ]


def _cuts(reference: dict, handling: CutHandling) -> tuple[int, ...] | CutHandling:
    """The known cuts of the reference where they are to be detected; else what to do about them."""
    known = _known(reference, CUTS) if handling == "detect" else None
    return handling if known is None else known


def _known(reference: dict, entry: str) -> Any:  # noqa: ANN401  (each entry has a type of its own)
    """What Encode Reference noted in `entry` about this latent; None where it did not make it."""
    if entry not in reference:
        return None
    made_for, noted = reference[entry]
    return noted if hash_of_reference(reference["samples"]) == made_for else None
