"""Reading a reference's motion. Trap: only a sampler run by the host's guider sees a loaded model, processed conditions
and a latent in model space, so the reading is itself a sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import comfy.sample
import comfy.utils
import torch
from comfy.samplers import CFGGuider, KSamplerX0Inpaint, Sampler

from ...fastvmt_core.amf import AttentionMotionFlow, attention_motion_flow
from ...fastvmt_core.config import AMFConfig
from ...fastvmt_core.motion import MotionEmbedding, hash_of_reference
from .capture import capture_qk
from .progress import raise_if_cancelled
from .wan_model import WanModel, require_video_latent

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


def invert_motion(
    model: ModelPatcher,
    reference: torch.Tensor,
    empty_prompt: list,
    config: AMFConfig,
    blocks: Sequence[int],
    sigmas: Sequence[float],
    seed: int,
) -> MotionEmbedding:
    """Read the attention motion flow of a reference at each noise level.

    Args:
        model: a native Wan-type model.
        reference: (1, C, F, h, w), the VAE's latent.
        empty_prompt: CONDITIONING of the empty text.
        config: how the flow is read.
        blocks: counted from 0, in rising order; several are averaged.
        sigmas: noise levels in (0, 1].
        seed: of the noise, made as the host's samplers make it.

    Raises:
        ValueError: the latent does not fit the model, is not finite, or holds several clips.
    """
    wan = WanModel.of(model)
    require_video_latent("reference", reference, wan.latent_channels)
    if len(reference) != 1:
        raise ValueError(f"reference: expected one clip, got {len(reference)}; take one by Latent From Batch.")
    sampler = CapturingSampler(wan, config, blocks, sigmas)
    guider = CFGGuider(model)
    guider.inner_set_conds({"positive": empty_prompt})
    levels = torch.tensor([*sigmas, 0.0], dtype=torch.float32)
    guider.sample(comfy.sample.prepare_noise(reference, seed), reference, sampler, levels, seed=seed)
    return MotionEmbedding(
        flows=tuple(sampler.flows),
        sigmas=tuple(sigmas),
        grid=wan.grid(reference),
        config=config,
        seed=seed,
        fingerprint=wan.fingerprint(blocks),
        reference=sampler.reference,
        reference_hash=hash_of_reference(sampler.reference),
    )


class CapturingSampler(Sampler):
    """Noises the reference to each level, reads its flow there, and returns the reference as it came."""

    def __init__(self, wan: WanModel, config: AMFConfig, blocks: Sequence[int], sigmas: Sequence[float]) -> None:
        self._wan, self._config, self._blocks, self._sigmas = wan, config, blocks, sigmas
        self.flows: list[AttentionMotionFlow] = []
        self.reference: torch.Tensor | None = None

    def sample(
        self,
        model_wrap: CFGGuider,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Callable | None,
        noise: torch.Tensor,
        latent_image: torch.Tensor | None = None,
        denoise_mask: torch.Tensor | None = None,
        disable_pbar: bool = False,
    ) -> torch.Tensor:
        """Called by the guider with everything in model space."""
        model = KSamplerX0Inpaint(model_wrap, sigmas)
        bar = comfy.utils.ProgressBar(len(self._sigmas))
        for sigma in self._sigmas:
            raise_if_cancelled()
            level = latent_image.new_full((1,), sigma)
            x = model_wrap.inner_model.model_sampling.noise_scaling(level, noise, latent_image)
            self.flows.append(self._read(model, x, level, {**extra_args, "denoise_mask": None}))
            bar.update(1)
        with torch.inference_mode(False):
            self.reference = latent_image.detach().to("cpu", torch.float32, copy=True)
        return latent_image

    def _read(
        self, model: KSamplerX0Inpaint, x: torch.Tensor, level: torch.Tensor, extra_args: dict[str, Any]
    ) -> AttentionMotionFlow:
        with torch.no_grad():
            q, k = capture_qk(model, x, level, extra_args, self._blocks, self._wan.grid(x), checkpointed=False)
            if not bool(torch.isfinite(q).all() & torch.isfinite(k).all()):
                raise ValueError(
                    "model: expected finite attention, got NaN or infinity; load the model with another weight_dtype."
                )
            # A motion outlives this run: what inference mode makes could never meet a gradient again.
            with torch.inference_mode(False):
                return attention_motion_flow(q[0], k[0], self._config, window_keys=False).to("cpu")
