"""What a loaded model is: one description, which everything else asks. Trap: VAEs of other models make latents that
look alike, so shapes are checked where they come in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ....fastvmt_core.grid import TokenGrid
from ....fastvmt_core.motion.fingerprint import ModelFingerprint
from .families import family_of
from .family import Block, Condition, Family, NetworkSizes, SideBlock

if TYPE_CHECKING:
    from comfy.latent_formats import LatentFormat
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import CFGGuider

    from ....fastvmt_core.motion.embedding import MotionEmbedding


@dataclass(frozen=True, eq=False)
class VideoModel:
    """The facts about a video DiT that motion transfer needs."""

    family: Family
    network: torch.nn.Module
    """The DiT itself, as it was when this was made."""
    sizes: NetworkSizes
    latent_channels: int
    """Channels of the latent that is sampled."""

    @classmethod
    def of(cls, model: ModelPatcher) -> VideoModel:
        """The description of a MODEL.

        Raises:
            ValueError: it is no video DiT of a known family.
        """
        return cls._of(model.get_model_object("diffusion_model"), model.get_model_object("latent_format"))

    @classmethod
    def of_run(cls, guider: CFGGuider) -> VideoModel:
        """The description of the model that a guider samples, loaded and patched as it is then."""
        return cls._of(guider.inner_model.diffusion_model, guider.inner_model.latent_format)

    @classmethod
    def _of(cls, network: torch.nn.Module, latent_format: LatentFormat) -> VideoModel:
        family = family_of(network)
        return cls(family, network, family.sizes(network), int(latent_format.latent_channels))

    @property
    def depth(self) -> int:
        """Blocks."""
        return self.sizes.depth

    def grid(self, latent: torch.Tensor) -> TokenGrid:
        """The token grid of a latent (B, C, F, h, w)."""
        return TokenGrid.of_latent(latent.shape, self.sizes.patch)

    def fingerprint(self, blocks: Sequence[int]) -> ModelFingerprint:
        """What a motion that was read from `blocks`, in rising order, must find again in another model."""
        return ModelFingerprint(
            model_class=type(self.network).__name__,
            dim=self.sizes.dim,
            heads=self.sizes.heads,
            depth=self.sizes.depth,
            block=blocks[-1],
            latent_channels=self.latent_channels,
            more_blocks=tuple(blocks[:-1]),
        )

    def require_motion(self, motion: MotionEmbedding) -> None:
        """Refuse a motion that was read from another kind of model.

        Raises:
            ValueError: class, width, heads, depth, block or latent channels differ.
        """
        blocks = sorted({min(block, self.sizes.depth - 1) for block in motion.fingerprint.blocks})
        motion.require_model(self.fingerprint(blocks))

    def leading_frames(self, conditions: Sequence[Condition]) -> int:
        """How many of a latent's first frames are references rather than the video's; conditions are processed."""
        return self.family.leading_frames(self.network, conditions)

    def first_token(self, condition: Condition, x: torch.Tensor, grid: TokenGrid) -> int:
        """Which of the tokens that a self-attention compares is the grid's first; negative: counted from the end.

        Args:
            condition: processed, as the pass is given it.
            x: (B, C, F, h, w), the sampled latent.
            grid: that of the video, the last frames of x; the first ones may be references.
        """
        leading = self.grid(x).frames - grid.frames
        whole = dataclasses.replace(grid, frames=grid.frames + leading)
        return leading * grid.height * grid.width + self.family.tokens_before(self.network, condition, whole)

    def tokens_beside(self, conditions: Sequence[Condition]) -> int:
        """Tokens that the conditions add to the latent's, at most."""
        return max((self.family.tokens_beside(self.network, condition) for condition in conditions), default=0)

    def blocks(self) -> list[Block]:
        """The main blocks in the order in which they run."""
        return self.family.blocks(self.network)

    def side_blocks(self) -> list[SideBlock]:
        """Blocks that run beside the main ones."""
        return self.family.side_blocks(self.network)

    def writers(self) -> list[torch.nn.Module]:
        """Modules between the blocks that write into their tokens."""
        return self.family.writers(self.network)


def positive_conditions(guider: CFGGuider) -> Sequence[Condition]:
    """The conditions that guidance asks: the positive ones, or the only ones that a guider has.

    Raises:
        ValueError: there is none.
    """
    named = guider.conds.get("positive")
    conditions = next(iter(guider.conds.values()), ()) if named is None else named
    if not conditions:
        raise ValueError("positive: expected a prompt, got an empty list; connect CLIP Text Encode.")
    return conditions


def require_video_latent(name: str, latent: torch.Tensor, channels: int) -> None:
    """Refuse a latent that this model cannot take.

    Raises:
        ValueError: it is no finite video latent (B, channels, F, h, w), or empty.
    """
    if getattr(latent, "is_nested", False):
        raise ValueError(
            f"{name}: expected the latent of a video alone, got one with sound beside it; take the video out of it by "
            "Separate AV Latent."
        )
    if latent.ndim != 5 or latent.shape[1] != channels or min(latent.shape) < 1:
        raise ValueError(
            f"{name}: expected a video latent (batch, {channels}, frames, height, width) that is not empty, got shape "
            f"{tuple(latent.shape)}; load the VAE that belongs to the model (Wan: wan_2.1_vae for 16 "
            "channels, wan2.2_vae for 48) and make every latent with it, or with an empty-latent node for this model."
        )
    if not bool(torch.isfinite(latent).all()):
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity; check the node that made this latent.")
