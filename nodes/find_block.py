"""Model -> which block to read motion from, and at which noise level."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..fastvmt_core.config import ClipConfig, InversionConfig, SurveyConfig
from ..fastvmt_core.grid import SHORTEST_MOTION, video_length
from ..fastvmt_core.metrics.probes import sprite_clips, varied_clips
from ..fastvmt_core.typed_text import noise_levels
from ..fastvmt_core.video.clip import fit_clip
from ..fastvmt_core.viz.heat_map import heat_map
from .host.files.vae import temporal_stride
from .host.files.video import free_memory
from .host.models.video_model import VideoModel
from .host.page.node_text import show_on_node
from .host.reading.survey import survey_blocks
from .schema import EVALUATE, LARGEST_SEED, node_schema, require_choice

if TYPE_CHECKING:
    import torch
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import VAE

    from ..fastvmt_core.metrics.probes import Clips

DEFAULTS = SurveyConfig()
STEPS = {"all": 1, "every 2nd": 2, "every 3rd": 3, "every 4th": 4}
"""Choices of the blocks widget."""


class FastVMTFindBlock(io.ComfyNode):
    """Survey a model's blocks for the one whose attention follows motion rather than appearance."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets; their defaults are those of `SurveyConfig`."""
        return node_schema(
            node_id="FastVMTFindBlock",
            display_name="FastVMT Find Block",
            category=EVALUATE,
            is_experimental=True,
            search_aliases=["motion transfer", "attention block", "transformer block", "layer search", "DiTFlow"],
            description="Measures which block of a model follows motion rather than appearance, and at which noise "
            "level, for models that nobody has measured yet. It shows the model small clips that differ in motion "
            "or in appearance only, and compares how each block's attention changes. Wire the results to Invert "
            "Motion.",
            inputs=[
                io.Model.Input("model", tooltip="The native video model to measure."),
                io.Vae.Input("vae", tooltip="The VAE that belongs to the model."),
                io.Conditioning.Input(
                    "empty_prompt", tooltip="CLIP Text Encode with an empty text: motion is read without words."
                ),
                io.String.Input(
                    "sigmas",
                    default=", ".join(f"{sigma:g}" for sigma in DEFAULTS.sigmas),
                    tooltip="Noise levels to try, from 0.01 to below 1, with commas between them. Each takes one pass "
                    "per clip.",
                ),
                io.Int.Input(
                    "width",
                    default=DEFAULTS.width,
                    min=64,
                    max=4096,
                    step=16,
                    tooltip="Width of the test clips in pixels; a small one is enough.",
                ),
                io.Int.Input(
                    "height",
                    default=DEFAULTS.height,
                    min=64,
                    max=4096,
                    step=16,
                    tooltip="Height of the test clips in pixels.",
                ),
                io.Int.Input(
                    "length",
                    default=DEFAULTS.length,
                    min=SHORTEST_MOTION,
                    max=401,
                    step=4,
                    tooltip="Length of the test clips in frames, 4n+1 (LTX-Video, Cosmos 1: 8n+1, Mochi: 6n+1).",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=LARGEST_SEED,
                    control_after_generate=False,
                    tooltip="Seed of the made-up test clips and of the noise added to them.",
                ),
                io.Combo.Input(
                    "blocks",
                    options=list(STEPS),
                    default="all",
                    tooltip="Which blocks are measured, from the first on. Fewer take less time.",
                ),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="A clip of your own to vary instead of made-up ones: reversed and mirrored for other "
                    "motions, in other colours and less contrast for another appearance.",
                ),
            ],
            outputs=[
                io.Int.Output(display_name="block", tooltip="The proposed block, for Invert Motion."),
                io.Float.Output(display_name="reference_sigma", tooltip="The proposed noise level, for Invert Motion."),
                io.Image.Output(display_name="heat_map", tooltip="Every block at every noise level; bright is good."),
                io.String.Output(display_name="report", tooltip="The table and the proposal as JSON."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        vae: VAE,
        empty_prompt: list,
        sigmas: str,
        width: int,
        height: int,
        length: int,
        seed: int,
        blocks: str,
        reference: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """Show the clips to the model and report the proposal; without one, Invert Motion's defaults."""
        step = STEPS[require_choice("blocks", blocks, STEPS)]
        config = SurveyConfig(width=width, height=height, length=length, sigmas=noise_levels("sigmas", sigmas))
        depth = VideoModel.of(model).depth
        survey = survey_blocks(
            model=model,
            vae=vae,
            empty_prompt=empty_prompt,
            clips=_clips(config, seed, reference, temporal_stride(vae)),
            blocks=range(0, depth, step),
            sigmas=config.sigmas,
            seed=seed,
        )
        default, best = InversionConfig(), survey.proposal
        block = best.block if best else default.resolve_blocks(depth)[0]
        sigma = best.sigma if best else default.reference_sigma
        text = show_on_node(cls, survey.in_words)
        heat = heat_map(survey.blocks, survey.sigmas, survey.ratios, survey.proposed_cell, survey.in_words)
        return io.NodeOutput(block, sigma, heat, json.dumps(survey.report), ui=text)


def _clips(config: SurveyConfig, seed: int, reference: torch.Tensor | None, stride: int) -> Clips:
    """The clips to show: made up, or the reference and what can be made of it.

    Raises:
        ValueError: they are shorter than two frames of the latent.
    """
    if reference is None:
        length = video_length(config.length, stride)
        if length <= stride:
            raise ValueError(f"length: expected at least {stride + 1} frames, got {config.length}; raise it.")
        return sprite_clips(config.height, config.width, length, seed)
    widgets = ClipConfig(config.width, config.height, config.length, source_fps=0.0)
    clip = fit_clip(reference, widgets, "reference", stride, free_memory())
    if clip.length <= stride:
        raise ValueError(
            f"reference: expected a clip of at least {stride + 1} frames, got {len(reference)}; connect a longer one."
        )
    return varied_clips(clip.frames)
