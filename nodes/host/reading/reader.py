"""Running a network on a reference to read it. Trap: only a sampler run by the host's guider sees a loaded model,
processed conditions and a latent in model space, so reading is itself a sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import comfy.sample
import torch
from comfy.samplers import CFGGuider, KSamplerX0Inpaint, Sampler
from comfy.utils import ProgressBar

from ....fastvmt_core.checks import require_seed
from ....fastvmt_core.grid import TokenGrid
from ....fastvmt_core.motion.half_size import level_to_halve
from ....fastvmt_core.objectives.protocol import Needs, Signals
from ..attention.capture import OnAttention, active_at, visit
from ..attention.signals import signals_of
from ..gradient.scope import gradient_scope, networks_of, patches_of
from ..models.noise_levels import sigma_of
from ..models.video_model import VideoModel, positive_conditions
from ..page.progress import raise_if_cancelled

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_CONNECT = "connect CLIP Text Encode with an empty text"


@dataclass(frozen=True, eq=False)
class NoisedReference:
    """A reference at one noise level, and the model to read it with."""

    model: KSamplerX0Inpaint
    """What the host gives a sampler function."""
    latent: torch.Tensor
    """(1, C, F, h, w), model space, without noise."""
    noise: torch.Tensor
    """The same shape."""
    level: float
    """The noise level, in (0, 1]."""
    extra_args: dict[str, Any]
    """A sampler function's."""

    def visit(self, latent: torch.Tensor, blocks: Sequence[int], on_attention: OnAttention) -> None:
        """Hand over q, k and v of each block for `latent` under this level's noise, and let them go.

        Raises:
            ValueError: they are not finite, or the model cannot be read.
        """

        def on_finite(block: int, *tokens: torch.Tensor) -> None:
            _require_finite(*tokens)
            on_attention(block, *tokens)

        visit(self.model, *self._noised(latent, self.level), self.extra_args, blocks, (), self._grid(latent), on_finite)

    def queries_and_keys(self, latent: torch.Tensor, blocks: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """q and k of `latent` under this level's noise, (F, H, W, heads, d).

        Raises:
            ValueError: as for `visit`.
        """
        signals = self.signals(latent, Needs(queries_and_keys=tuple(blocks)))
        return signals.q, signals.k

    def signals(self, latent: torch.Tensor, needs: Needs, cuts: Sequence[int] = (), half: bool = False) -> Signals:
        """What an objective reads of `latent` under this level's noise.

        At half size, with `half`, it is the halved latent that has this level.

        Raises:
            ValueError: as for `visit`.
        """
        noised = self._noised(latent, level_to_halve(self.level) if half else self.level)
        grid = self._grid(latent)
        (signals,) = signals_of(
            self.model, *noised, self.extra_args, needs, grid.halved if half else grid, cuts=cuts, half=half
        )
        _require_finite(*(tokens for tokens in vars(signals).values() if torch.is_tensor(tokens)))
        return signals

    def _noised(self, latent: torch.Tensor, level: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The latent under noise of a level, and the host's sigma for it (1,)."""
        model_sampling = self.model.inner_model.inner_model.model_sampling
        sigma = sigma_of(model_sampling, latent.new_full((1,), level))
        return model_sampling.noise_scaling(sigma, self.noise, latent), sigma

    def _grid(self, latent: torch.Tensor) -> TokenGrid:
        return VideoModel.of_run(self.model.inner_model).grid(latent)


Read = Callable[[NoisedReference], None]
"""Reads a reference at one noise level, without gradients, and keeps what it wants of it."""


def read_reference(
    model: ModelPatcher,
    reference: torch.Tensor,
    empty_prompt: list,
    levels: Sequence[float],
    seed: int,
    bar: ProgressBar,
    read: Read,
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """The reference in model space, float32 on the CPU, once `read` was called with it at each noise level.

    Args:
        model: a native Wan-type model.
        reference: (1, C, F, h, w), the VAE's latent.
        empty_prompt: CONDITIONING of the empty text.
        levels: of noise, in (0, 1].
        seed: of the noise, made as the host's samplers make it.
        bar: moves on by one a level.
        read: called once a level.
        noise: of the reference's shape; None: made of the seed.

    Raises:
        ValueError: the prompt is none, or does not count at a level.
    """
    if not empty_prompt:
        raise ValueError(f"empty_prompt: expected a prompt, got an empty list; {_CONNECT}.")
    guider = CFGGuider(model)
    guider.inner_set_conds({"positive": empty_prompt})
    sigmas = sigma_of(model.get_model_object("model_sampling"), torch.tensor([*levels, 0.0], dtype=torch.float32))
    sampler = ReadingSampler(tuple(levels), bar, read)
    noise = noise_of(reference, seed) if noise is None else noise
    guider.sample(noise, reference, sampler, sigmas, seed=seed)
    return sampler.latent


def noise_of(reference: torch.Tensor, seed: int) -> torch.Tensor:
    """Noise of a reference's shape, made as the host's samplers make it.

    Raises:
        ValueError: it is not a seed that torch takes.
    """
    require_seed("seed", seed)
    return comfy.sample.prepare_noise(reference, seed)


class ReadingSampler(Sampler):
    """A sampler that samples nothing: it reads the latent image at each noise level and returns it unchanged."""

    def __init__(self, levels: tuple[float, ...], bar: ProgressBar, read: Read) -> None:
        self._levels, self._bar, self._read = levels, bar, read
        self.latent: torch.Tensor | None = None
        """(1, C, F, h, w), model space, float32 on the CPU; None before the run."""

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
        for level, sigma in zip(self._levels, sigmas, strict=False):
            raise_if_cancelled()
            _require_active(model_wrap, float(sigma))
            patches = patches_of(extra_args["model_options"])
            with gradient_scope(*networks_of(model_wrap), patches=patches), torch.no_grad():
                self._read(NoisedReference(model, latent_image, noise, level, {**extra_args, "denoise_mask": None}))
            self._bar.update(1)
        with torch.inference_mode(False):
            self.latent = latent_image.detach().to("cpu", torch.float32, copy=True)
        return latent_image


def _require_active(guider: CFGGuider, sigma: float) -> None:
    """Refuse a prompt that a node has limited to other noise levels."""
    if not any(active_at(sigma, condition) for condition in positive_conditions(guider)):
        raise ValueError(
            f"empty_prompt: expected a prompt for every noise level, got one that does not count at sigma {sigma:g}; "
            f"{_CONNECT}, without a ConditioningSetTimestepRange."
        )


def _require_finite(*signals: torch.Tensor) -> None:
    """Refuse signals that a precision too low has spoilt."""
    if not all(bool(torch.isfinite(tokens).all()) for tokens in signals):
        raise ValueError(
            "model: expected finite attention, got NaN or infinity; load the model with another weight_dtype."
        )
