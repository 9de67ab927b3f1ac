"""Identities: of the model that a motion was read from, and of its reference's latent."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import require_whole
from ..config import PIXELS_PER_TOKEN, WIDE_LATENT_CHANNELS
from ..grid import TEMPORAL_STRIDE

LTXV_LATENT_CHANNELS = 128
"""Of LTX-Video's VAE, which makes one latent pixel, and so a token, of 32 pixels and 8 frames."""
MOCHI_LATENT_CHANNELS = 12
"""Of Mochi's VAE, which makes one latent frame of 6."""
TEMPORAL_STRIDES: dict[int | str, int] = {LTXV_LATENT_CHANNELS: 8, MOCHI_LATENT_CHANNELS: 6, "GeneralDIT": 8}
"""Where it is another than Wan's: by the latent's channels, or, of Cosmos 1, whose latents look like Wan's, by the
host's name of its class."""


@dataclass(frozen=True)
class ModelFingerprint:
    """What two models must share for a motion to pass from one to the other.

    Weights are left out on purpose: a LoRA, another precision or the other expert of a pair keeps them comparable.

    Raises:
        ValueError: a field is empty or not positive; the message names it.
    """

    model_class: str
    """Name of the host's model class."""
    dim: int
    """Width of the transformer."""
    heads: int
    """Attention heads."""
    depth: int
    """Blocks."""
    block: int
    """Block that q and k were read from, counted from 0; the last one if there were several."""
    latent_channels: int
    """Channels of the latent."""
    more_blocks: tuple[int, ...] = ()
    """Blocks before that one that were averaged with it, in rising order."""

    def __post_init__(self) -> None:
        if not isinstance(self.model_class, str) or not self.model_class:
            raise ValueError(f"fingerprint model_class: expected a name, got {self.model_class!r}.")
        for name, low in (("dim", 1), ("heads", 1), ("depth", 1), ("block", 0), ("latent_channels", 1)):
            require_whole(f"fingerprint {name}", getattr(self, name), low)
        if self.block >= self.depth:
            raise ValueError(f"fingerprint block: expected one of 0 .. {self.depth - 1}, got {self.block}.")
        rising = isinstance(self.more_blocks, tuple) and list(self.blocks) == sorted(set(self.blocks))
        if not rising or any(type(block) is not int or block < 0 for block in self.more_blocks):
            raise ValueError(
                f"fingerprint more_blocks: expected numbers from 0 rising to below block {self.block}, got "
                f"{self.more_blocks!r}."
            )

    @property
    def blocks(self) -> tuple[int, ...]:
        """Every block that q and k were read from, in rising order."""
        return *self.more_blocks, self.block

    @property
    def pixels_per_token(self) -> int:
        """Pixels a side that one token stands for."""
        return PIXELS_PER_TOKEN * (2 if self.latent_channels in (WIDE_LATENT_CHANNELS, LTXV_LATENT_CHANNELS) else 1)

    @property
    def temporal_stride(self) -> int:
        """Frames of video to one latent frame after the first."""
        by_channels = TEMPORAL_STRIDES.get(self.latent_channels, TEMPORAL_STRIDE)
        return TEMPORAL_STRIDES.get(self.model_class, by_channels)

    def differences(self, other: ModelFingerprint) -> tuple[str, str]:
        """What differs, in words: as here, and as in `other`; both empty if the two are alike."""
        names = [
            field.name for field in dataclasses.fields(self) if getattr(self, field.name) != getattr(other, field.name)
        ]
        mine, theirs = (", ".join(f"{name} {getattr(model, name)}" for name in names) for model in (self, other))
        return mine, theirs


def hash_of_reference(latent: Tensor) -> str:
    """SHA-256 (hex) of a latent's shape and float32 values."""
    values = latent.detach().to("cpu", torch.float32).contiguous()
    return hashlib.sha256(repr(tuple(values.shape)).encode() + bytes_of(values)).hexdigest()


def bytes_of(tensor: Tensor) -> bytes:
    """The values of a contiguous tensor on the CPU, as they lie in memory."""
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
