"""The survey of a model's blocks. Trap: q and k of every block at once would fill the card, so each block's are made
into its flow and let go while the forward pass goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import comfy.utils
import torch

from ....fastvmt_core.attention.flow import AttentionMotionFlow, attention_motion_flow
from ....fastvmt_core.config import AMFConfig
from ....fastvmt_core.metrics.probes import Clips
from ....fastvmt_core.metrics.selectivity import Selectivity, selectivity_ratio
from ..files.vae import encode_video
from ..models.video_model import VideoModel, require_video_latent
from ..page.progress import raise_if_cancelled
from .reader import NoisedReference, read_reference

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import VAE

FLOW = AMFConfig(window=None)
"""The whole frame: no window that fits one motion better than another."""


def survey_blocks(
    model: ModelPatcher,
    vae: VAE,
    empty_prompt: list,
    clips: Clips,
    blocks: Sequence[int],
    sigmas: Sequence[float],
    seed: int,
) -> Selectivity:
    """How well each block tells motion from appearance at each noise level: one forward pass a clip and level.

    Args:
        model: a native Wan-type model.
        vae: the model's VAE.
        empty_prompt: CONDITIONING of the empty text.
        clips: [motion][appearance], (T, H, W, 3) in [0, 1], T = 4n + 1.
        blocks: counted from 0, in rising order.
        sigmas: noise levels in (0, 1].
        seed: of the noise, the same for every clip.

    Raises:
        ValueError: the VAE is not the model's, or what it or the model makes is not finite.
    """
    channels = VideoModel.of(model).latent_channels
    count = sum(len(row) for row in clips)
    bar = comfy.utils.ProgressBar(count * (1 + len(sigmas)))
    latents = [[_encoded(vae, clip, channels, bar) for clip in row] for row in clips]
    ratios = []
    # Level by level, so that no more flows are held than one level's.
    for sigma in sigmas:
        flows = [[_flows(model, latent, empty_prompt, blocks, sigma, seed, bar) for latent in row] for row in latents]
        ratios.append(tuple(selectivity_ratio([[clip[b] for clip in row] for row in flows]) for b in blocks))
    return Selectivity(tuple(blocks), tuple(sigmas), tuple(ratios))


def _encoded(vae: VAE, clip: torch.Tensor, channels: int, bar: comfy.utils.ProgressBar) -> torch.Tensor:
    raise_if_cancelled()
    latent = encode_video(vae, clip, tiled=False)
    require_video_latent("vae", latent, channels)
    bar.update(1)
    return latent


def _flows(
    model: ModelPatcher,
    latent: torch.Tensor,
    empty_prompt: list,
    blocks: Sequence[int],
    sigma: float,
    seed: int,
    bar: comfy.utils.ProgressBar,
) -> dict[int, AttentionMotionFlow]:
    """The flow of each block at one noise level, on the CPU."""
    flows = {}

    def on_attention(block: int, q: torch.Tensor, k: torch.Tensor, _: torch.Tensor) -> None:
        flows[block] = attention_motion_flow(q[0], k[0], FLOW, window_keys=False).to("cpu")

    def read(reference: NoisedReference) -> None:
        reference.visit(reference.latent, blocks, on_attention)

    read_reference(model, latent, empty_prompt, (sigma,), seed, bar, read)
    return flows
