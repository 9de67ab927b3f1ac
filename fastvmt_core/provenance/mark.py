"""An invisible number of 32 bits in a clip's brightness, which compression, another size and a crop leave readable.

Four faint noise patterns are added to every frame, fainter where the picture is flat and would show them. Each covers
the whole frame, in frequencies counted per frame rather than per pixel, so that another size leaves them as they are.
The first shows where the frame was; how far each of the others is shifted against it, and its sign, are the number
(code shift keying). The reader looks at the phases of the mean frame alone, to which every frame adds its vote.

invisible-watermark's DWT-DCT is not used: its bits belong to a grid of pixels, which another size or a crop moves.
docs/provenance.md has both measured.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cache

import torch
from einops import reduce, repeat
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ..checks import require

MOST = 2**32 - 1
"""The largest number."""
SMALLEST_FRAME = 96
"""Pixels a side, of which fewer do not hold the patterns."""
_SIDE, _STEP, _CELLS = 256, 8, 32
"""Side of the square that frames are brought to, the unit of a shift, in its pixels, and how many units a side has."""
_BAND = (8.0, 56.0)
"""Cycles a frame: below, the picture itself is too strong; above, H.264 leaves out what is faint."""
_PATTERNS = 4
_STRENGTH, _IN_FLAT = 1.5 / 255, 0.35
"""Standard deviation of one pattern where the picture is busy, in brightness, and the share of it where it is flat."""
_BUSY, _AROUND = 6 / 255, 9
"""Standard deviation of the picture at which it is half busy, and the pixels of the square's a side that it is of."""
_SCALES = tuple(1 - 0.01 * step for step in range(21))
"""Shares of the frame's sides that a crop may have left."""
_DOUBT = 1e-3
"""Share of clips without a mark in which one may be found."""
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Mark:
    """What was read from a clip."""

    number: int
    """What the strongest shifts stand for, whether or not there is a mark; 33 bits."""
    doubt: float
    """Chance that noise alone would show as much, 0 to 1."""
    kept: float
    """Share of the marked frame's sides that the frames still have; 1: no crop."""

    @property
    def found(self) -> bool:
        """Whether there is a mark and this is its number."""
        return self.doubt < _DOUBT and self.number <= MOST


def with_mark(frames: Tensor, number: int) -> Tensor:
    """The frames (T, H, W, 3) in [0, 1] with the number in them.

    Raises:
        ValueError: the number has more than 32 bits, or the frames are smaller than SMALLEST_FRAME.
    """
    require(0 <= number <= MOST, "mark", f"a number from 0 to {MOST}, or -1 for none", number)
    expected = f"frames of {SMALLEST_FRAME} pixels or more a side, to hold a mark"
    require(min(frames.shape[1:3]) >= SMALLEST_FRAME, "video", expected, tuple(frames.shape))
    places = _places(number)
    waves = torch.fft.irfft2(_spectra(), s=(_SIDE, _SIDE))
    waves = waves / waves.std(dim=(-2, -1), keepdim=True)
    moved = torch.stack([sign * wave.roll(at, (0, 1)) for wave, (at, sign) in zip(waves, places, strict=True)])
    pattern = _STRENGTH * _hidden_noise(_square(_mean_luma(frames), 1.0)) * reduce(moved, "n y x -> y x", "sum")
    full = interpolate(pattern[None, None], size=frames.shape[1:3], mode="bicubic", align_corners=False)
    return (frames + full[0, 0, ..., None].to(frames)).clamp(0, 1)


def read_mark(frames: Tensor) -> Mark:
    """What the frames (T, H, W, 3) in [0, 1] hold; every frame votes, with the same weight."""
    luma = _mean_luma(frames)
    peaks = [_correlations(_square(luma, scale), _spectra()[:1])[0] for scale in _SCALES]
    scale, first = max(zip(_SCALES, peaks, strict=True), key=lambda pair: float(pair[1].max()))
    row, column = divmod(int(first.argmax()), _SIDE)
    others = _correlations(_square(luma, scale), _spectra()).roll((-row, -column), (1, 2))[1:, ::_STEP, ::_STEP]
    number, doubt = 0, len(_SCALES) * _SIDE**2 * _chance(float(first.max()))
    for each in reversed(others):
        cell = int(each.abs().argmax())
        value = float(each.flatten()[cell])
        number = number * 2 * _CELLS**2 + cell + (_CELLS**2 if value < 0 else 0)
        doubt += 2 * _CELLS**2 * _chance(abs(value))
    return Mark(number, min(1.0, doubt), scale)


@cache
def _spectra() -> Tensor:
    """(4, 256, 129) complex64: the patterns' spectra, of size 1 in the band, their phases the same on every machine."""
    y, x = torch.fft.fftfreq(_SIDE, 1 / _SIDE)[:, None], torch.fft.rfftfreq(_SIDE, 1 / _SIDE)
    radius = torch.hypot(y, x)
    # Of column 0, the rows of one half are the conjugates of the other's, which drawn phases are not.
    band = ((radius >= _BAND[0]) & (radius <= _BAND[1]) & (x > 0)).float()
    drawn = torch.frombuffer(bytearray(random.Random(0).randbytes(_PATTERNS * band.numel())), dtype=torch.uint8)
    return torch.polar(repeat(band, "y x -> n y x", n=_PATTERNS), drawn.view(-1, *band.shape) * (math.tau / 256))


def _places(number: int) -> list[tuple[tuple[int, int], int]]:
    """(shift in pixels of the square, sign) of each pattern: 11 bits in each but the first."""
    places = [((0, 0), 1)]
    for _ in range(_PATTERNS - 1):
        number, digit = divmod(number, 2 * _CELLS**2)
        negative, cell = divmod(digit, _CELLS**2)
        places.append((tuple(_STEP * step for step in divmod(cell, _CELLS)), -1 if negative else 1))
    return places


def _correlations(square: Tensor, spectra: Tensor) -> Tensor:
    """(N, 256, 256): of a square with each pattern at each shift, by phase alone, in standard deviations."""
    spectrum = torch.fft.rfft2(square)
    phases = spectrum / spectrum.abs().clamp(min=1e-6)
    found = torch.fft.irfft2(phases * spectra.conj(), s=(_SIDE, _SIDE))
    return found / found.std(dim=(-2, -1), keepdim=True).clamp(min=1e-12)


def _square(luma: Tensor, scale: float) -> Tensor:
    """(256, 256): a picture (H, W) on that share of the square's sides, its mean taken away, 0 beside it."""
    side = round(_SIDE * scale)
    small = interpolate(luma[None, None], size=(side, side), mode="bilinear", antialias=True, align_corners=False)[0, 0]
    square = torch.zeros(_SIDE, _SIDE)
    square[:side, :side] = small - small.mean()
    return square


def _hidden_noise(square: Tensor) -> Tensor:
    """(256, 256) in [_IN_FLAT, 1]: how much of a noise each place of a picture hides."""
    moments = torch.stack((square, square.square()))
    mean, of_squares = avg_pool2d(moments, _AROUND, stride=1, padding=_AROUND // 2, count_include_pad=False)
    busy = (of_squares - mean.square()).clamp(min=0).sqrt()
    return _IN_FLAT + (1 - _IN_FLAT) * busy / (busy + _BUSY)


def _mean_luma(frames: Tensor) -> Tensor:
    return reduce(frames[..., :3], "t h w c -> h w c", "mean").cpu().float() @ torch.tensor(_LUMA)


def _chance(deviations: float) -> float:
    return math.erfc(deviations / math.sqrt(2)) / 2
