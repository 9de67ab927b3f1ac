"""A template's card in the page's browser: a reference, and what the tiny model made of its motion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tools.tinywan.clips import Floats

SIZE = (640, 360)
FRAMES = 5
SIDE = 112
GAP = 8
BACK, INK, QUIET, BLUE, ORANGE = "#1d1f24", "#e8e8ea", "#8a8c93", "#4a9bd6", "#e08a3c"
SAID = "picture: the tiny model"


@dataclass(frozen=True)
class Card:
    """What is shown for one template: the tiny model's prompt, changed widgets of its sampler, two words, and an edit
    of the motion."""

    prompt: str
    label: str
    sampler: dict[str, Any] = field(default_factory=dict)
    from_reference: bool = False
    seed: int = 0
    edit: str | None = None


CARDS = {
    "00_tiny_demo": Card("blue square plain", "tiny model · runs anywhere"),
    "01_tiny_side_by_side": Card("blue square plain", "tiny model · with and without"),
    "02_tiny_motion_tools": Card("blue square plain", "tiny model · edit and keep", edit="mirror left and right"),
    "10_text_to_video": Card("yellow star plain", "Wan 2.1 1.3B · text to video", seed=1),
    "11_start_from_reference": Card(
        "green circle plain",
        "Wan 2.1 1.3B · from the reference",
        {"denoise": 0.75, "end_percent": 0.45},
        from_reference=True,
    ),
    "12_image_to_video": Card("magenta square plain", "Wan 2.1 14B · image to video", seed=2),
    "20_wan22_high_low": Card("white circle plain", "Wan 2.2 14B · high and low noise", seed=3),
    "21_wan22_four_steps": Card("green square plain", "Wan 2.2 14B · four steps", seed=4),
}


def draw_card(reference: Floats, made: Floats, label: str) -> Image.Image:
    """Two rows of frames, the reference's above; clips are (T, H, W, 3) in [0, 1]."""
    card = Image.new("RGB", SIZE, BACK)
    draw = ImageDraw.Draw(card)
    left = (SIZE[0] - FRAMES * SIDE - (FRAMES - 1) * GAP) // 2
    for row, (clip, colour) in enumerate(((reference, BLUE), (made, ORANGE))):
        top = 24 + row * (SIDE + 26)
        shown = np.linspace(0, len(clip) - 1, FRAMES).round().astype(int)
        for column, index in enumerate(shown):
            x = left + column * (SIDE + GAP)
            picture = Image.fromarray((np.clip(clip[index], 0, 1) * 255).astype(np.uint8))
            card.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (x, top))
            draw.rectangle((x - 2, top - 2, x + SIDE + 1, top + SIDE + 1), outline=colour, width=2)
    draw.text((left, SIZE[1] - 56), label, fill=INK, font=_font(30))
    if not label.startswith("tiny"):
        draw.text(
            (left + FRAMES * SIDE + (FRAMES - 1) * GAP, SIZE[1] - 20), SAID, fill=QUIET, font=_font(13), anchor="rs"
        )
    return card


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
