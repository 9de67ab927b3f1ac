"""What a loaded model is. Trap: MODEL may hold any network, so ask for the parts that we use, never for a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ....fastvmt_core.grid import TokenGrid
from ....fastvmt_core.motion.fingerprint import ModelFingerprint

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from ....fastvmt_core.motion.embedding import MotionEmbedding


@dataclass(frozen=True)
class WanModel:
    """The facts about a Wan-type DiT that motion transfer needs."""

    model_class: str
    """Class of the network, e.g. WanModel."""
    dim: int
    """Width of the blocks, channels."""
    heads: int
    """Attention heads."""
    depth: int
    """Blocks."""
    patch: tuple[int, int, int]
    """Latent frames, rows and columns to one token."""
    latent_channels: int
    """Channels of the latent that is sampled."""

    @classmethod
    def of(cls, model: ModelPatcher) -> WanModel:
        """Look into a MODEL.

        Raises:
            ValueError: it is not a native Wan-type video DiT.
        """
        network = model.get_model_object("diffusion_model")
        blocks = getattr(network, "blocks", None)
        is_wan = isinstance(blocks, torch.nn.ModuleList) and len(blocks) > 0 and hasattr(network, "patch_size")
        if not (is_wan and hasattr(blocks[0], "self_attn") and hasattr(network, "num_heads")):
            raise ValueError(
                "model: expected a native Wan-type video model (from Load Diffusion Model), got "
                f"{type(network).__name__}, which has no Wan blocks; connect a Wan 2.1 or 2.2 model."
            )
        return cls(
            model_class=type(network).__name__,
            dim=int(network.dim),
            heads=int(network.num_heads),
            depth=len(blocks),
            patch=tuple(int(side) for side in network.patch_size),
            latent_channels=int(model.get_model_object("latent_format").latent_channels),
        )

    def grid(self, latent: torch.Tensor) -> TokenGrid:
        """The token grid of a latent (B, C, F, h, w)."""
        return TokenGrid.of_latent(latent.shape, self.patch)

    def fingerprint(self, blocks: Sequence[int]) -> ModelFingerprint:
        """What a motion that was read from `blocks`, in rising order, must find again in another model."""
        return ModelFingerprint(
            model_class=self.model_class,
            dim=self.dim,
            heads=self.heads,
            depth=self.depth,
            block=blocks[-1],
            latent_channels=self.latent_channels,
            more_blocks=tuple(blocks[:-1]),
        )

    def require_motion(self, motion: MotionEmbedding) -> None:
        """Refuse a motion that was read from another kind of model.

        Raises:
            ValueError: class, width, heads, depth, block or latent channels differ.
        """
        blocks = sorted({min(block, self.depth - 1) for block in motion.fingerprint.blocks})
        motion.require_model(self.fingerprint(blocks))


def require_video_latent(name: str, latent: torch.Tensor, channels: int) -> None:
    """Refuse a latent that this model cannot take.

    Raises:
        ValueError: it is no finite video latent (B, channels, F, h, w).
    """
    if latent.ndim != 5 or latent.shape[1] != channels:
        raise ValueError(
            f"{name}: expected a video latent (batch, {channels}, frames, height, width), got shape "
            f"{tuple(latent.shape)}; load the VAE that belongs to the Wan model (wan_2.1_vae for 16 channels, "
            "wan2.2_vae for 48) and make every latent with it, or with an empty-latent node for this model."
        )
    if not bool(torch.isfinite(latent).all()):
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity; check the node that made this latent.")
