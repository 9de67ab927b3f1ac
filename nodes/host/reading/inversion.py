"""Reading a reference's motion. Trap: only a sampler run by the host's guider sees a loaded model, processed conditions
and a latent in model space, so the reading is itself a sampler."""

from __future__ import annotations

import dataclasses
import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import comfy.sample
import torch
from comfy.samplers import CFGGuider, KSamplerX0Inpaint, Sampler
from comfy.utils import ProgressBar

from ....fastvmt_core.attention.flow import AttentionMotionFlow, attention_motion_flow
from ....fastvmt_core.attention.windows import Tiling
from ....fastvmt_core.config import AMFConfig, CutConfig, CutHandling
from ....fastvmt_core.grid import first_video_frame
from ....fastvmt_core.motion.bounds import bounded
from ....fastvmt_core.motion.embedding import MotionEmbedding
from ....fastvmt_core.motion.fields import reversed_centres
from ....fastvmt_core.motion.fingerprint import hash_of_reference
from ....fastvmt_core.video.cuts import find_cuts
from ..attention.capture import capture_qk
from ..models.video_model import WanModel, require_video_latent
from ..page.progress import raise_if_cancelled

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
    cuts: CutHandling | tuple[int, ...],
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
        cuts: frames of the latent that begin a new shot; "detect" looks for them at the lowest noise level, "ignore"
            takes the reference for one shot. Each shot is read by itself.

    Raises:
        ValueError: the latent does not fit the model, is not finite, or holds several clips.
    """
    wan = WanModel.of(model)
    require_video_latent("reference", reference, wan.latent_channels)
    if len(reference) != 1:
        raise ValueError(f"reference: expected one clip, got {len(reference)}; take one by Latent From Batch.")
    bar = ProgressBar(len(sigmas) + (cuts == "detect"))
    if cuts == "detect":
        finder = _CutFinder(wan, blocks, (min(sigmas),), (), bar)
        read_reference(model, reference, empty_prompt, finder, seed)
        cuts = finder.found
        logging.info("FastVMT: %s", _in_words(cuts))
    elif cuts == "ignore":
        cuts = ()
    sampler = _FlowSampler(wan, blocks, sigmas, cuts, bar, config)
    read_reference(model, reference, empty_prompt, sampler, seed)
    return MotionEmbedding(
        flows=tuple(sampler.flows),
        sigmas=tuple(sigmas),
        grid=wan.grid(reference),
        config=config,
        seed=seed,
        fingerprint=wan.fingerprint(blocks),
        reference=sampler.reference,
        reference_hash=hash_of_reference(sampler.reference),
        cuts=cuts,
        static_bias=tuple(sampler.static_bias),
        backward=tuple(sampler.backward),
    )


def _in_words(cuts: tuple[int, ...]) -> str:
    if not cuts:
        return "no cut found in the reference."
    places = ", ".join(f"near frame {first_video_frame(cut)}" for cut in cuts)
    return f"the reference seems to be cut {places} of the clip (from 0); each shot is read by itself."


def read_reference(
    model: ModelPatcher, reference: torch.Tensor, empty_prompt: list, sampler: ReadingSampler, seed: int
) -> None:
    """Run `sampler` on a reference (1, C, F, h, w) as the host runs any; `seed` is that of the noise."""
    guider = CFGGuider(model)
    guider.inner_set_conds({"positive": empty_prompt})
    levels = torch.tensor([*sampler.sigmas, 0.0], dtype=torch.float32)
    guider.sample(comfy.sample.prepare_noise(reference, seed), reference, sampler, levels, seed=seed)


class ReadingSampler(Sampler, ABC):
    """Noises a reference to each level, reads the model there, and returns the reference as it came."""

    def __init__(self, sigmas: Sequence[float], bar: ProgressBar) -> None:
        self.sigmas, self._bar = tuple(sigmas), bar
        self.reference: torch.Tensor | None = None

    @abstractmethod
    def read(
        self,
        model: KSamplerX0Inpaint,
        latent: torch.Tensor,
        noised: Callable[[torch.Tensor], torch.Tensor],
        level: torch.Tensor,
        extra_args: dict[str, Any],
    ) -> None:
        """Read what the model makes of a latent (1, C, F, h, w), `noised` to level `level` (1,), without gradients."""

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
        for sigma in self.sigmas:
            raise_if_cancelled()
            level = latent_image.new_full((1,), sigma)
            noised = functools.partial(model_wrap.inner_model.model_sampling.noise_scaling, level, noise)
            with torch.no_grad():
                self.read(model, latent_image, noised, level, {**extra_args, "denoise_mask": None})
            self._bar.update(1)
        with torch.inference_mode(False):
            self.reference = latent_image.detach().to("cpu", torch.float32, copy=True)
        return latent_image


class _AttentionSampler(ReadingSampler):
    """Reads what chosen blocks compare, each shot by itself."""

    def __init__(
        self, wan: WanModel, blocks: Sequence[int], sigmas: Sequence[float], cuts: Sequence[int], bar: ProgressBar
    ) -> None:
        super().__init__(sigmas, bar)
        self._wan, self._blocks, self._cuts = wan, blocks, cuts

    def _attention(
        self, model: KSamplerX0Inpaint, x: torch.Tensor, level: torch.Tensor, extra_args: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """q and k of a noised clip, (F, H, W, heads, d)."""
        q, k = capture_qk(model, x, level, extra_args, self._blocks, self._wan.grid(x), cuts=self._cuts)
        require_finite_attention(q, k)
        return q[0], k[0]


class _CutFinder(_AttentionSampler):
    """Looks for cuts at one noise level."""

    found: tuple[int, ...] = ()

    def read(
        self,
        model: KSamplerX0Inpaint,
        latent: torch.Tensor,
        noised: Callable[[torch.Tensor], torch.Tensor],
        level: torch.Tensor,
        extra_args: dict[str, Any],
    ) -> None:
        """Find the latent frames that begin a shot."""
        _, k = self._attention(model, noised(latent), level, extra_args)
        self.found = find_cuts(k, CutConfig())


class _FlowSampler(_AttentionSampler):
    """Reads the attention motion flow of chosen blocks, averaged."""

    def __init__(
        self,
        wan: WanModel,
        blocks: Sequence[int],
        sigmas: Sequence[float],
        cuts: Sequence[int],
        bar: ProgressBar,
        config: AMFConfig,
    ) -> None:
        super().__init__(wan, blocks, sigmas, cuts, bar)
        self._config = config
        self.flows: list[AttentionMotionFlow] = []
        self.static_bias: list[torch.Tensor] = []
        self.backward: list[torch.Tensor] = []

    def read(
        self,
        model: KSamplerX0Inpaint,
        latent: torch.Tensor,
        noised: Callable[[torch.Tensor], torch.Tensor],
        level: torch.Tensor,
        extra_args: dict[str, Any],
    ) -> None:
        """Add the flow at this level, what of it is the model's own rest, and the flow of the reversed clip.

        The rest is read from a clip in which nothing moves: the latent's mean, under the same noise.
        """
        q, k = self._attention(model, noised(latent), level, extra_args)
        flow = self._flow(q, k)
        backward = self._reversed(q, k, flow)
        del q, k
        still = latent.mean((2, 3, 4), keepdim=True).expand_as(latent)
        q, k = self._attention(model, noised(still), level, extra_args)
        rest, rest_backward = self._flow(q, k, flow.centres), self._reversed(q, k, flow)
        with torch.inference_mode(False):
            self.flows.append(flow)
            self.static_bias.append(rest.displacement.clone())
            # What the model leans to is not the same towards the past: the forward lean stands in its place.
            leaning = rest.displacement + backward.displacement - rest_backward.displacement
            self.backward.append(bounded(leaning, flow.grid))

    def _flow(self, q: torch.Tensor, k: torch.Tensor, centres: torch.Tensor | None = None) -> AttentionMotionFlow:
        # A motion outlives this run: what inference mode makes could never meet a gradient again.
        with torch.inference_mode(False):
            return attention_motion_flow(q, k, self._config, centres, window_keys=False).to("cpu")

    def _reversed(self, q: torch.Tensor, k: torch.Tensor, flow: AttentionMotionFlow) -> AttentionMotionFlow:
        tiling = Tiling(flow.grid.height, flow.grid.width, self._config.tile)
        centres = reversed_centres(flow, tiling)
        return self._flow(q.flip(0), k.flip(0), centres)


def require_finite_attention(q: torch.Tensor, k: torch.Tensor) -> None:
    """Refuse q and k that a precision too low has spoilt.

    Raises:
        ValueError: they hold NaN or infinity.
    """
    if not bool(torch.isfinite(q).all() & torch.isfinite(k).all()):
        raise ValueError(
            "model: expected finite attention, got NaN or infinity; load the model with another weight_dtype."
        )


def read_again(model: ModelPatcher, motion: MotionEmbedding, empty_prompt: list) -> MotionEmbedding:
    """The motion of its own reference latent, edited or not, as this model sees it; all else is kept.

    Raises:
        ValueError: the model is of another kind, or the motion holds no latent.
    """
    WanModel.of(model).require_motion(motion)
    if motion.reference is None:
        raise ValueError(
            "motion: expected one that holds its reference's latent, got one without; save it with keep_reference, or "
            "guide by it as it is."
        )
    with torch.inference_mode(False):
        latent = model.get_model_object("latent_format").process_out(motion.reference.float().clone())
    read = invert_motion(
        model=model,
        reference=latent,
        empty_prompt=empty_prompt,
        config=motion.config,
        blocks=motion.fingerprint.blocks,
        sigmas=motion.sigmas,
        seed=motion.seed,
        cuts=motion.cuts,
    )
    kept = ("mask", "about", "thumbnail", "reference_hash")
    return dataclasses.replace(read, **{name: getattr(motion, name) for name in kept})
