"""Two motions in one, and a motion that guides only a part of the frame.

Axes: F latent frames, H and W rows and columns of tokens, C channels of the latent, h and w its rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from einops import rearrange
from kornia.filters import gaussian_blur2d
from kornia.geometry.transform import resize
from torch import Tensor

from ..attention.windows import Tiling
from ..checks import require, require_number
from ..grid import TEMPORAL_STRIDE, TokenGrid, first_video_frame, latent_frame_of
from .edit import with_camera
from .embedding import MotionEmbedding
from .fields import camera_of, edited_hash, frame_flow_of
from .half_size import WITHOUT_HALF_SIZE
from .resize import fit_to

MOST_FEATHER = 32.0
"""Tokens. A wider edge blurs with a kernel, and a border, of gigabytes."""


def blend(first: MotionEmbedding, second: MotionEmbedding, share: float | Tensor) -> MotionEmbedding:
    """Two motions in one: `share` of the second and the remainder of the first.

    Args:
        first: it gives size, length, settings and the model.
        second: it is fitted to the first.
        share: one number from 0 to 1, or a (F, H, W) of them on the first's grid: 1 takes the second.

    Raises:
        ValueError: the motions were read from different models or blocks, with different settings or at different
            noise levels, or the share is not of that kind.
    """
    first.require_flow_alone()
    _require_alike(first, second)
    second = fit_to(second, first.grid)
    if not torch.is_tensor(share):
        require_number("weight", share, high=1.0)
        share = torch.full(first.grid.as_tuple, float(share))
    share = _required_mask("mask", share, first.grid)

    def mixed(a: Tensor, b: Tensor, part: Tensor) -> Tensor:
        return a + part * (b - a)

    pairs = first.flows[0].pairs
    # A vector belongs to the frame that its pair begins with; played backwards, that is counted from the end.
    forward = share[[i for i, _ in pairs]][..., None]
    backward = share.flip(0)[[i for i, _ in pairs]][..., None]
    tiling = Tiling(first.grid.height, first.grid.width, first.config.tile)
    of_tile = tiling.mean_of_tiles(forward[..., 0])[..., None]
    flows = tuple(
        replace(
            a,
            displacement=mixed(a.displacement, b.displacement, forward),
            centres=mixed(a.centres, b.centres, of_tile),
        )
        for a, b in zip(first.flows, second.flows, strict=True)
    )

    def mixed_fields(a: tuple[Tensor, ...], b: tuple[Tensor, ...], part: Tensor) -> tuple[Tensor, ...]:
        return tuple(mixed(x, y, part) for x, y in zip(a, b, strict=True)) if a and b else ()

    forward_steps, backward_steps = zip(frame_flow_of(first), frame_flow_of(second), strict=True)
    steps = mixed(*forward_steps, share[:-1][..., None]), mixed(*backward_steps, share[1:][..., None])
    masks = [torch.ones(first.grid.as_tuple) if each.mask is None else each.mask for each in (first, second)]
    return replace(
        first,
        flows=flows,
        **WITHOUT_HALF_SIZE,
        static_bias=mixed_fields(first.static_bias, second.static_bias, forward),
        backward=mixed_fields(first.backward, second.backward, backward),
        reference=_blended_latent(first, second, share),
        reference_hash=edited_hash(first, f"blend {second.reference_hash[:16]}"),
        frame_flow=torch.stack(steps),
        mask=None if first.mask is None and second.mask is None else mixed(*masks, share),
        cuts=tuple(sorted({*(first.cuts if share.min() < 1 else ()), *(second.cuts if share.max() > 0 else ())})),
    )


def subject_and_camera(subject: MotionEmbedding, camera: MotionEmbedding) -> MotionEmbedding:
    """The moving objects of one motion under the camera of the other.

    Raises:
        ValueError: the motions come from different models.
    """
    _require_same_model(subject, camera)
    return with_camera(subject, camera_of(fit_to(camera, subject.grid)))


def masked(motion: MotionEmbedding, mask: Tensor) -> MotionEmbedding:
    """The motion, guiding each token by `mask` (F, H, W) in [0, 1], times the mask that it has already.

    Raises:
        ValueError: the mask has another shape, other values, or is empty.
    """
    mask = _required_mask("mask", mask, motion.grid)
    mask = mask if motion.mask is None else mask * motion.mask
    if not bool((mask > 0).any()):
        raise ValueError("mask: expected some area that is guided, got an empty mask; draw one, or leave the node out.")
    return replace(motion, mask=mask)


def token_mask(mask: Tensor, grid: TokenGrid, feather: float = 0.0, stride: int = TEMPORAL_STRIDE) -> Tensor:
    """(F, H, W) in [0, 1]: a mask of images on a motion's tokens.

    Args:
        mask: (h, w) or (T, h, w) in [0, 1]: one for all frames or one a frame of the clip, at any size. A latent frame
            takes the mean of the masks that fall on its frames of the clip.
        grid: the motion's.
        feather: tokens over which its edge is made soft, at most MOST_FEATHER.
        stride: frames of the clip to a latent frame after the first.

    Raises:
        ValueError: it has another shape, or is not finite.
    """
    require_number("feather", feather, high=MOST_FEATHER)
    if mask.ndim == 2:
        mask = mask[None]
    require(mask.ndim == 3 and min(mask.shape) >= 1, "mask", "images (frames, height, width)", tuple(mask.shape))
    require(bool(torch.isfinite(mask).all()), "mask", "finite values", "NaN or infinity")
    small = _pooled(mask, grid.frames, stride)
    small = resize(small[:, None], (grid.height, grid.width), antialias=True)
    # Less has no weight beyond its own token, and may be 0 in float32.
    if feather > 0.1:
        side = 2 * math.ceil(2 * feather) + 1
        # Replicated by hand: a border narrower than the kernel cannot be reflected.
        reach = side // 2
        wide = torch.nn.functional.pad(small, (reach,) * 4, mode="replicate")
        small = gaussian_blur2d(wide, (side, side), (feather, feather))[..., reach:-reach, reach:-reach]
    return small[:, 0].clamp(0, 1)


def _pooled(mask: Tensor, frames: int, stride: int) -> Tensor:
    """(frames, h, w) of masks (T, h, w) that are spread over the clip: those on each latent frame's part, averaged."""
    moments = torch.linspace(0, first_video_frame(frames, stride) - 1, len(mask)).round().int().tolist()
    owners = torch.tensor([latent_frame_of(moment, stride) for moment in moments])
    nearest = torch.linspace(0, len(mask) - 1, frames).round().long()
    pooled = []
    for frame, near in enumerate(nearest):
        own = torch.nonzero(owners == frame).flatten() if len(mask) > 1 else near[None]
        # Fewer masks than latent frames leave some without one of their own.
        pooled.append(mask[own if len(own) else near[None]].detach().float().cpu().clamp(0, 1).mean(0))
    return torch.stack(pooled)


def _blended_latent(first: MotionEmbedding, second: MotionEmbedding, share: Tensor) -> Tensor | None:
    """The first's latent with the second's laid over it; None unless both are kept."""
    if first.reference is None or second.reference is None or first.reference.shape != second.reference.shape:
        return None
    on_latent = resize(share[:, None], tuple(first.reference.shape[3:]), antialias=True).clamp(0, 1)
    part = rearrange(on_latent, "f 1 h w -> 1 1 f h w")
    mixed = torch.lerp(first.reference.float(), second.reference.float(), part)
    return mixed.to(first.reference.dtype)


def _require_alike(first: MotionEmbedding, second: MotionEmbedding) -> None:
    """Refuse motions whose vectors do not mean the same."""
    _require_same_model(first, second)
    names = ["temporal_span", "tile", "sharpness", "centre"]
    # On another grid a window is scaled with its motion; the whole frame (None) is not.
    whole = first.config.window is None or second.config.window is None
    names += ["window"] if whole or first.grid.as_tuple[1:] == second.grid.as_tuple[1:] else []
    differing = [("objective", first.objective, second.objective)]
    differing += [(name, getattr(first.config, name), getattr(second.config, name)) for name in names]
    differing.append(("sigmas", _rounded(first.sigmas), _rounded(second.sigmas)))
    for name, expected, got in differing:
        if expected != got:
            raise ValueError(
                f"motion_b: expected {name} {expected}, as in motion_a, got {got}; read both alike with Invert Motion."
            )


def _require_same_model(first: MotionEmbedding, second: MotionEmbedding) -> None:
    expected, got = first.fingerprint.differences(second.fingerprint)
    if expected:
        raise ValueError(
            f"motion_b: expected {expected}, as in motion_a, got {got}; read both with the same model and block."
        )


def _rounded(sigmas: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(sigma, 4) for sigma in sigmas)


def _required_mask(name: str, mask: Tensor, grid: TokenGrid) -> Tensor:
    if tuple(mask.shape) != grid.as_tuple or not bool(torch.isfinite(mask).all()):
        raise ValueError(f"{name}: expected finite numbers of shape {grid.as_tuple}, got {tuple(mask.shape)}.")
    if bool((mask < 0).any() or (mask > 1).any()):
        raise ValueError(f"{name}: expected values from 0 to 1, got {float(mask.min()):g} to {float(mask.max()):g}.")
    return mask.detach().float().cpu()
