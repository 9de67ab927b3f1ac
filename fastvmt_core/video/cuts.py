"""Cuts inside a reference: neighbouring frames, of the video or of its latent, of which one shows another scene.

Axes: T frames of video, F latent frames, H and W pixels of a frame of video, or tokens of a latent frame, n heads, d
channels of a head.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import PIXELS_PER_TOKEN, CutConfig
from ..grid import TEMPORAL_STRIDE, latent_frames

_LONG_SIDE, _BLOCK = 64, 16
"""Pixels: frames are shrunk to that longer side to be searched for each other's blocks, up to a block away."""
_TEXTURE = 0.02
"""Contrast, 1 from black to white, below which a block shows nothing that could be recognised."""


def find_cuts_in_video(frames: Tensor, config: CutConfig) -> tuple[int, ...]:
    """The frames that begin a new shot, in rising order; empty if there is no cut.

    At a cut a frame changes more than at the frames around it, and most of neither frame is seen in the other. So a
    subtitle, an object that enters, a step of the camera or of the exposure is none: what was there is still there. A
    flash is no cut, and neither is a shot or a fade of up to `config.around` frames, whose changes stand beside each
    other. A frame that repeats the last one is skipped, so that footage of a lower frame rate than the video's is
    compared with itself.

    Args:
        frames: (T, H, W, 3) in [0, 1].
        config: how much a change has to exceed those around it.
    """
    changes = _changes(frames)
    if len(changes) <= config.around:
        return ()
    moves = [frame for frame, change in enumerate(changes) if change > config.least]
    cuts = []
    for index, frame in enumerate(moves):
        before, after = moves[max(0, index - config.around) : index], moves[index + 1 : index + 1 + config.around]
        most = max((changes[other] for other in before + after), default=0.0)
        stands_out = changes[frame] > config.change * (most + config.least)
        if stands_out and _shows_another_scene(frames[frame], frames[frame + 1], config):
            cuts.append(frame + 1)
    return tuple(cuts)


@torch.no_grad()
def _changes(frames: Tensor) -> list[float]:
    """From each frame to the next, the mean change of a pixel; of squares of pixels, so that grain does not count."""
    coarse = [
        torch.nn.functional.avg_pool2d(frame[..., :3].permute(2, 0, 1).float(), PIXELS_PER_TOKEN // 2, ceil_mode=True)
        for frame in frames
    ]
    return [float((later - now).abs().mean()) for now, later in itertools.pairwise(coarse)]


@torch.no_grad()
def _shows_another_scene(first: Tensor, second: Tensor, config: CutConfig) -> bool:
    """Whether most of either frame (H, W, 3) is nowhere near its place in the other."""
    frames = _shrunk(torch.stack((first, second))[..., :3].permute(0, 3, 1, 2).float())
    shares = _unseen(frames[0], frames[1], config.likeness), _unseen(frames[1], frames[0], config.likeness)
    # The one of which more is seen: what appears or leaves is in one of them alone.
    return min(shares) >= config.unseen


def _shrunk(frames: Tensor) -> Tensor:
    """Frames (T, 3, H, W) of at most _LONG_SIDE pixels, and of at least a block's."""
    scale = min(1.0, _LONG_SIDE / max(frames.shape[2:]))
    size = [max(_BLOCK, round(side * scale)) for side in frames.shape[2:]]
    return torch.nn.functional.interpolate(frames, size=size, mode="area")


def _unseen(frame: Tensor, other: Tensor, likeness: float) -> float:
    """The share of the blocks of a frame (3, H, W) with any texture that no block around the same place in `other` is
    like; 1 where there are none.

    Two blocks' likeness is the correlation of their pixels, all colours together: brighter or darker is alike.
    """
    wide = torch.nn.functional.pad(other[None], (_BLOCK,) * 4, mode="replicate")[0]
    blocks, candidates = _blocks(frame, _BLOCK // 2), _blocks(wide, 1)
    likenesses = torch.einsum(
        "yxp,rcp->yxrc", *(torch.nn.functional.normalize(b, dim=-1) for b in (blocks, candidates))
    )
    textured = blocks.square().mean(-1) >= _TEXTURE**2
    alike = []
    for row, column in torch.nonzero(textured).tolist():
        top, left = row * _BLOCK // 2, column * _BLOCK // 2
        around = likenesses[row, column, top : top + 2 * _BLOCK + 1, left : left + 2 * _BLOCK + 1]
        alike.append(bool(around.max() >= likeness))
    return 1 - sum(alike) / len(alike) if alike else 1.0


def _blocks(frame: Tensor, step: int) -> Tensor:
    """(rows, columns, 3 * pixels): a frame's blocks, `step` pixels apart, without the mean of each of their colours."""
    blocks = frame.unfold(1, _BLOCK, step).unfold(2, _BLOCK, step)
    return (blocks - blocks.mean((-2, -1), keepdim=True)).permute(1, 2, 0, 3, 4).flatten(2)


def latent_cuts(video_cuts: Sequence[int], length: int, stride: int = TEMPORAL_STRIDE) -> tuple[int, ...]:
    """The latent frames that begin a shot, for a video of `length` (n * stride + 1) frames of which `video_cuts` do.

    A latent frame that holds the end of one shot and the start of the next belongs to the one that has more of its
    frames, to the former if both have half. A shot that is left without a latent frame is dropped.
    """
    # The first frame of latent frame n is (n - 1) * stride + 1; one of a half or more is nearer to the next.
    nearest = ((cut + stride // 2 - 1) // stride + 1 for cut in video_cuts)
    return tuple(sorted({cut for cut in nearest if cut < latent_frames(length, stride)}))


def find_cuts(k: Tensor, config: CutConfig) -> tuple[int, ...]:
    """The latent frames that begin a new shot, in rising order; empty if there is no cut.

    At a cut the mismatch of two neighbours stands out from that of the clip's other neighbours, so fast motion
    throughout is no cut. A clip of fewer than `config.shortest` frames has too few neighbours to compare.

    Args:
        k: (F, H, W, n, d), a self-attention's keys after norm and RoPE, those that the reference's motion is read from.
        config: how far a mismatch has to stand out.
    """
    if len(k) < config.shortest:
        return ()
    mismatches = [frame_mismatch(k[frame], k[frame + 1], config.share) for frame in range(len(k) - 1)]
    total, others = sum(mismatches), len(mismatches) - 1
    stands_out = [one * others > config.ratio * (total - one) for one in mismatches]
    return tuple(frame + 1 for frame, is_cut in enumerate(stands_out) if is_cut)


@torch.no_grad()
def frame_mismatch(first: Tensor, second: Tensor, share: float) -> float:
    """How badly the worst tokens of two frames match: 0 perfectly, 1 not at all.

    A token's best match is the largest cosine of its key with one of the other frame, a mean over the heads. In each
    frame the best matches of the `share` of tokens that match worst are averaged. The frame that matches less well
    counts, because an object that appears is in one of them alone.

    Args:
        first: (H, W, n, d), keys of one frame.
        second: the same of the other.
        share: in (0, 1].
    """
    forwards, backwards = 0.0, 0.0
    # Head by head, so that there is one (H*W, H*W) table at a time.
    for head in range(first.shape[-2]):
        one, other = (
            torch.nn.functional.normalize(frame[..., head, :].flatten(0, 1).float(), dim=-1)
            for frame in (first, second)
        )
        cosines = one @ other.T
        forwards, backwards = forwards + cosines.amax(1), backwards + cosines.amax(0)
    fewest = max(1, round(share * len(forwards)))
    worst = min(float(best.sort().values[:fewest].mean()) for best in (forwards, backwards))
    return 1 - worst / first.shape[-2]


def straddles(pair: tuple[int, int], cuts: Sequence[int]) -> bool:
    """Whether frames (i, j) of a pair lie in different shots; `cuts` are the frames that begin one."""
    i, j = pair
    return any(i < cut <= j for cut in cuts)


def carried_cuts(cuts: Sequence[int], sources: Sequence[int]) -> tuple[int, ...]:
    """The frames that begin a shot in a clip whose frame a is frame `sources[a]` of one that is cut at `cuts`."""
    neighbours = enumerate(itertools.pairwise(sources), start=1)
    return tuple(frame for frame, pair in neighbours if straddles((min(pair), max(pair)), cuts))


def shots(cuts: Sequence[int], frames: int) -> tuple[range, ...]:
    """The latent frames of each shot of a clip of `frames` latent frames; `cuts` are those that begin a later one."""
    bounds = (0, *cuts, frames)
    return tuple(range(first, last) for first, last in itertools.pairwise(bounds))
