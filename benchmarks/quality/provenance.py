"""How faint the mark of Save Video is, and what leaves it readable: python -m benchmarks.quality.provenance

Writes results/provenance.json, and from it docs/provenance.md, whose text is benchmarks/quality/provenance.md;
``--page`` writes the page alone. The other method needs `pip install --no-deps invisible-watermark` and PyWavelets.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageSequence
from torch.nn.functional import interpolate

from fastvmt_core.provenance.mark import read_mark, with_mark
from tools.host.layout import Layout
from tools.train.clips import FPS, FRAMES, make_clip

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "provenance.json", HERE.parents[1] / "docs" / "provenance.md"
BITS, UNMARKED = 32, 200
TINY = ((128, 12), (256, 12))
"""Pixels a side of the tiny world's clips, and how many."""
FOOTAGE = (("bikes.mp4", (20, 90, 145, 195)), ("bigbuckbunny.mp4", (60, 100)), ("carphone_pristine.mp4", (40, 80)))
"""Real clips, and the frames at which a part of them begins."""
WIDEST = 832
LEAST_OF_OTHER = 256
"""Pixels a side that invisible-watermark takes."""
OTHERS = {"dwtDct": "invisible-watermark, DWT-DCT", "dwtDctSvd": "the same with singular values"}
"""Its methods that need no model."""
SCALE, KEPT, FROM = 0.75, 0.9, 0.03
"""Share of the sides that a resize leaves, that a crop leaves, and where the crop begins."""
Frames = torch.Tensor
"""(T, H, W, 3) in [0, 1], in steps of 1 / 255."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write the page alone")
    if not parser.parse_args(arguments).page:
        torch.set_num_threads(1)
        report = {"clips": [measured(*clip) for clip in marked_clips()], "unmarked": unmarked()}
        RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")


def marked_clips() -> Iterator[tuple[str, int, Frames]]:
    """(group, number to hide, clip) of the clips that are marked; none of them helped to choose the mark's settings."""
    random = np.random.default_rng(0)
    for size, count in TINY:
        for index in range(count):
            yield f"tiny world, {size} pixels", int(random.integers(2**BITS)), tiny(2000 + index, size)
    for name, starts in FOOTAGE:
        for start in starts:
            frames = footage(name, start)
            group = "footage" if frames.shape[2] > LEAST_OF_OTHER else "footage, 176 x 144"
            yield group, int(random.integers(2**BITS)), frames


def unmarked() -> dict[str, Any]:
    """How many clips without a mark were read, in how many one was found, and the least doubt of all."""
    clips = [tiny(5000 + index, (128, 256)[index % 2]) for index in range(UNMARKED - 2 * 28)]
    for name, _ in FOOTAGE:
        parts = [footage(name, start) for start in range(0, {"bikes.mp4": 14}.get(name, 7) * FRAMES, FRAMES)]
        clips += [frames for part in parts for frames in (part, part.flip(2))]
    found = [read_mark(frames) for frames in clips]
    return {"clips": len(found), "found": sum(mark.found for mark in found), "doubt": min(mark.doubt for mark in found)}


def measured(group: str, number: int, frames: Frames) -> dict[str, Any]:
    """What marking does to one clip, and what is read after each of ATTACKS, by our mark and by the other library."""
    ours = in_steps(with_mark(frames, number))
    row = {"group": group, "psnr": psnr(frames, ours), "read": {}}
    for name, attack in ATTACKS.items():
        mark = read_mark(attack(ours))
        row["read"][name] = {"bits": bits_right(mark.number, number), "found": mark.found}
    if min(frames.shape[1:3]) >= LEAST_OF_OTHER:
        for method, (mark_other, read_other) in invisible_watermark().items():
            theirs = mark_other(frames, number)
            row[method] = psnr(frames, theirs)
            for name, attack in ATTACKS.items():
                read = read_other(attack(theirs), frames.shape[1:3])
                row["read"][name][method] = bits_right(read, number)
    print(group, f"{row['psnr']:.1f} dB", {name: read["bits"] for name, read in row["read"].items()}, flush=True)
    return row


def tiny(seed: int, size: int) -> Frames:
    """A clip of the tiny world; every third one has a moving camera, every third a second sprite."""
    return in_steps(torch.from_numpy(make_clip(seed, size=size, camera=seed % 3 == 1, second=seed % 3 == 2).frames))


def footage(name: str, start: int) -> Frames:
    """FRAMES frames of a real clip, at most WIDEST pixels across."""
    with av.open(str(Layout.of().clips / name)) as container:
        images = []
        for number, frame in enumerate(container.decode(video=0)):
            if number >= start:
                scale = min(1.0, WIDEST / frame.width)
                size = {"width": round(frame.width * scale), "height": round(frame.height * scale)}
                images.append(frame.reformat(**size, format="rgb24", interpolation="AREA").to_ndarray())
            if len(images) == FRAMES:
                break
    return torch.from_numpy(np.stack(images)).float() / 255


def in_steps(frames: Frames) -> Frames:
    """As 8 bits hold them."""
    return (frames.float() * 255).round().clamp(0, 255) / 255


def pixels(frames: Frames) -> np.ndarray:
    """(T, H, W, 3) uint8."""
    return (frames * 255).round().byte().numpy()


def psnr(frames: Frames, changed: Frames) -> float:
    """Peak signal to noise ratio over all pixels and colours, dB."""
    return float(-10 * (frames - changed).square().mean().log10())


def bits_right(read: int, hidden: int) -> int:
    """Of 32."""
    return BITS - ((read ^ hidden) & (2**BITS - 1)).bit_count()


def h264(crf: int) -> Callable[[Frames], Frames]:
    """Frames as a player shows them after x264 at that constant rate factor, 4:2:0."""

    def coded(frames: Frames) -> Frames:
        frames = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=FPS, options={"crf": str(crf)})
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
            for image in pixels(frames):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        buffer.seek(0)
        with av.open(buffer) as container:
            images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return torch.from_numpy(np.stack(images)).float() / 255

    return coded


def webp(frames: Frames) -> Frames:
    """Frames after the animated WebP that Save Video writes."""
    images, buffer = [Image.fromarray(image) for image in pixels(frames)], io.BytesIO()
    images[0].save(buffer, "WEBP", save_all=True, append_images=images[1:], quality=90, method=4)
    shown = [np.asarray(image.convert("RGB")) for image in ImageSequence.Iterator(Image.open(buffer))]
    return torch.from_numpy(np.stack(shown)).float() / 255


def resized(frames: Frames, height: int, width: int) -> Frames:
    """Frames of another size."""
    images = rearrange(frames, "t h w c -> t c h w")
    images = interpolate(images, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    return in_steps(rearrange(images, "t c h w -> t h w c"))


def smaller(frames: Frames) -> Frames:
    """Frames at SCALE of their size, coded at CRF 23."""
    return h264(23)(resized(frames, *(round(side * SCALE) for side in frames.shape[1:3])))


def cropped(frames: Frames) -> Frames:
    """Frames without a tenth of each side, more of it at the right and the bottom, coded at CRF 23."""
    height, width = frames.shape[1:3]
    top, left = round(height * FROM), round(width * FROM)
    return h264(23)(frames[:, top : top + round(height * KEPT), left : left + round(width * KEPT)])


ATTACKS: dict[str, Callable[[Frames], Frames]] = {
    "nothing": lambda frames: frames,
    "WebP": webp,
    "H.264, CRF 18": h264(18),
    "H.264, CRF 23": h264(23),
    "H.264, CRF 28": h264(28),
    "75 % of the size": smaller,
    "10 % cropped": cropped,
}
"""What is done to a clip before its mark is read."""


def invisible_watermark() -> dict[str, tuple[Callable[[Frames, int], Frames], Callable[..., int]]]:
    """Of each of OTHERS, voted over frames: what marks, and what reads at the marked size, which it has to know.
    Empty where invisible-watermark is not installed."""
    try:
        from imwatermark import WatermarkDecoder, WatermarkEncoder
    except ImportError:
        return {}

    def mark(method: str, frames: Frames, number: int) -> Frames:
        encoder = WatermarkEncoder()
        encoder.set_watermark("bits", [int(bit) for bit in f"{number:032b}"])
        images = [encoder.encode(image[..., ::-1].copy(), method)[..., ::-1] for image in pixels(frames)]
        return torch.from_numpy(np.stack(images)).float() / 255

    def read(method: str, frames: Frames, size: tuple[int, int]) -> int:
        images = pixels(frames if frames.shape[1:3] == size else resized(frames, *size))
        decoder = WatermarkDecoder("bits", BITS)
        votes = np.mean([decoder.decode(image[..., ::-1].copy(), method) for image in images], axis=0)
        return int("".join(str(int(vote > 0.5)) for vote in votes), 2)

    return {method: (partial(mark, method), partial(read, method)) for method in OTHERS}


def page(report: dict[str, Any]) -> str:
    """The page, with its tables."""
    clips, unmarked_clips = report["clips"], report["unmarked"]
    groups = list(dict.fromkeys(clip["group"] for clip in clips))
    rows = [f"| after | {' | '.join(groups)} | all |", f"|---|{'---|' * (len(groups) + 1)}"]
    rows.append(f"| *PSNR of the marked clip* | {' | '.join(_psnr(clips, group) for group in (*groups, None))} |")
    rows += [f"| {name} | {' | '.join(_cell(clips, group, name) for group in (*groups, None))} |" for name in ATTACKS]
    compared = [clip for clip in clips if set(OTHERS) <= set(clip)]
    wrong = sum(read["found"] and read["bits"] < BITS for clip in clips for read in clip["read"].values())
    text = (HERE / "provenance.md").read_text(encoding="utf-8")
    return text.format(
        table="\n".join(rows), other=_other(compared), clips=len(clips), compared=len(compared), wrong=wrong, **{
            f"unmarked_{name}": value for name, value in unmarked_clips.items()
        }
    )  # fmt: skip


def _of(clips: list[dict[str, Any]], group: str | None) -> list[dict[str, Any]]:
    return [clip for clip in clips if group in (None, clip["group"])]


def _psnr(clips: list[dict[str, Any]], group: str | None, key: str = "psnr") -> str:
    values = [clip[key] for clip in _of(clips, group)]
    return f"{np.mean(values):.1f} dB, least {min(values):.1f}"


def _cell(clips: list[dict[str, Any]], group: str | None, name: str) -> str:
    """Clips whose number is read and known to be right, of how many; and the share of bits that are right."""
    reads = [clip["read"][name] for clip in _of(clips, group)]
    sure = sum(read["found"] and read["bits"] == BITS for read in reads)
    return f"{sure} of {len(reads)}, {np.mean([read['bits'] for read in reads]) / BITS:.1%} of bits"


def _other(clips: list[dict[str, Any]]) -> str:
    if not clips:
        return ""
    rows = [f"| after | this mark | {' | '.join(OTHERS.values())} |", f"|---|{'---|' * (1 + len(OTHERS))}"]
    rows.append(f"| *PSNR of the marked clip* | {' | '.join(_psnr(clips, None, key) for key in ('psnr', *OTHERS))} |")
    for name in ATTACKS:
        shares = [np.mean([clip["read"][name][key] for clip in clips]) / BITS for key in ("bits", *OTHERS)]
        rows.append(f"| {name} | {' | '.join(f'{share:.1%} of bits' for share in shares)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
