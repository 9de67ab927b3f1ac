"""The contact sheet of a transfer: a row of frames for each clip, with the sprite's path drawn in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tools.train.clips import Floats

COLUMNS = 9
GAP = 6
SCALE = 2
MARGIN = 16
LABEL_WIDTH = 210
PAPER, INK, FAINT = (250, 250, 248), (30, 30, 34), (105, 105, 112)
REFERENCE_LINE, OWN_LINE, HALO = (0, 225, 255), (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True)
class Row:
    """One clip: ``frames`` (T, H, W, 3) in [0, 1], its name, lines of small print, and its path (T, 2) if known."""

    name: str
    notes: tuple[str, ...]
    frames: Floats
    path: Floats | None = None


def draw_sheet(rows: list[Row], reference: Floats | None, heading: str) -> Image.Image:
    """The sheet of ``rows``, the same times in the same columns; the path ``reference`` is drawn into each frame.

    Paths are drawn up to the time of the frame, the reference's in cyan and the row's own in white.
    """
    count = min(len(row.frames) for row in rows)
    times = np.unique(np.linspace(0, count - 1, min(COLUMNS, count)).round().astype(int))
    height, width = (size * SCALE for size in rows[0].frames.shape[1:3])
    top = MARGIN + 44
    size = (
        2 * MARGIN + LABEL_WIDTH + len(times) * (width + GAP),
        top + len(rows) * (height + GAP) + 34,
    )
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), heading, INK, ImageFont.load_default(24))
    for index, row in enumerate(rows):
        y = top + index * (height + GAP)
        pen.text((MARGIN, y + 8), row.name, INK, ImageFont.load_default(28))
        pen.multiline_text((MARGIN, y + 50), "\n".join(row.notes), FAINT, ImageFont.load_default(19), spacing=7)
        for column, time in enumerate(times):
            image = draw_frame(row.frames[time], (width, height))
            draw_path(image, reference, time, REFERENCE_LINE)
            if row.path is not reference:
                draw_path(image, row.path, time, OWN_LINE)
            sheet.paste(image, (MARGIN + LABEL_WIDTH + column * (width + GAP), y))
    for column, time in enumerate(times):
        x = MARGIN + LABEL_WIDTH + column * (width + GAP) + width // 2
        pen.text((x, size[1] - 26), f"frame {time}", FAINT, ImageFont.load_default(17), anchor="mm")
    return sheet


def draw_frame(frame: Floats, size: tuple[int, int]) -> Image.Image:
    """A frame (H, W, 3) in [0, 1] as an image of ``size``."""
    pixels = (np.clip(frame, 0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def draw_path(image: Image.Image, path: Floats | None, time: int, colour: tuple[int, int, int]) -> None:
    """Draw ``path`` up to ``time``, with a dot at its end; nothing if it is unknown."""
    if path is None or not np.isfinite(path).all():
        return
    pen = ImageDraw.Draw(image)
    points = [tuple((point + 0.5) * SCALE) for point in path[: time + 1]]
    x, y = points[-1]
    # A dark line below the bright one: it shows on any background.
    for extra, ink in ((2, HALO), (0, colour)):
        if len(points) > 1:
            pen.line(points, ink, 3 + extra, joint="curve")
        reach = 5 + extra / 2
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), ink)
