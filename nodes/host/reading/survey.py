"""Surveying a model's blocks. Trap: q and k of every block at once would fill the card, so each block's are made into
its flow and let go while the forward pass goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import comfy.utils
import torch
from comfy.samplers import KSamplerX0Inpaint

from ....fastvmt_core.attention.flow import AttentionMotionFlow, attention_motion_flow
from ....fastvmt_core.config import AMFConfig
from ....fastvmt_core.metrics.probes import Clips
from ....fastvmt_core.metrics.selectivity import Selectivity, selectivity_ratio
from ..attention.capture import visit_qk
from ..files.vae import encode_video
from ..models.video_model import WanModel, require_video_latent
from ..page.progress import raise_if_cancelled
from .inversion import ReadingSampler, read_reference, require_finite_attention

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
    """Measure how well each block tells motion from look at each noise level: one forward pass a clip and level.

    Args:
        model: a native Wan-type model.
        vae: the model's VAE.
        empty_prompt: CONDITIONING of the empty text.
        clips: [motion][look], (T, H, W, 3) in [0, 1], T = 4n + 1.
        blocks: counted from 0, in rising order.
        sigmas: noise levels in (0, 1].
        seed: of the noise, the same for every clip.

    Raises:
        ValueError: the VAE is not the model's, or what it or the model makes is not finite.
    """
    wan = WanModel.of(model)
    count = sum(len(row) for row in clips)
    bar = comfy.utils.ProgressBar(count * (1 + len(sigmas)))
    latents = [[_encoded(vae, clip, wan, bar) for clip in row] for row in clips]
    ratios = []
    # Level by level, so that no more flows are held than one level's.
    for sigma in sigmas:
        flows = [[_flows(model, latent, empty_prompt, blocks, sigma, seed, bar) for latent in row] for row in latents]
        ratios.append(tuple(selectivity_ratio([[clip[b] for clip in row] for row in flows]) for b in blocks))
    return Selectivity(tuple(blocks), tuple(sigmas), tuple(ratios))


def _encoded(vae: VAE, clip: torch.Tensor, wan: WanModel, bar: comfy.utils.ProgressBar) -> torch.Tensor:
    raise_if_cancelled()
    latent = encode_video(vae, clip, tiled=False)
    require_video_latent("vae", latent, wan.latent_channels)
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
    sampler = _SurveySampler(WanModel.of(model), blocks, sigma, bar)
    read_reference(model, latent, empty_prompt, sampler, seed)
    return sampler.flows


class _SurveySampler(ReadingSampler):
    """Reads the attention motion flow of each of many blocks."""

    def __init__(self, wan: WanModel, blocks: Sequence[int], sigma: float, bar: comfy.utils.ProgressBar) -> None:
        super().__init__((sigma,), bar)
        self._wan, self._blocks = wan, blocks
        self.flows: dict[int, AttentionMotionFlow] = {}

    def read(
        self,
        model: KSamplerX0Inpaint,
        latent: torch.Tensor,
        noised: Callable[[torch.Tensor], torch.Tensor],
        level: torch.Tensor,
        extra_args: dict[str, Any],
    ) -> None:
        """Note each block's flow."""

        def on_block(block: int, q: torch.Tensor, k: torch.Tensor) -> None:
            require_finite_attention(q, k)
            self.flows[block] = attention_motion_flow(q[0], k[0], FLOW, window_keys=False).to("cpu")

        visit_qk(model, noised(latent), level, extra_args, self._blocks, self._wan.grid(latent), on_block)
