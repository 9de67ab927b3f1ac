"""A template's card in the page's browser: a reference, and what the tiny model made of its motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tools.train.clips import Floats

SIZE = (640, 360)
FRAMES = 5
SIDE = 112
GAP = 8
BACK, INK, QUIET, BLUE, ORANGE = "#1d1f24", "#e8e8ea", "#8a8c93", "#4a9bd6", "#e08a3c"
CREDIT = "image: the tiny model"


@dataclass(frozen=True)
class Card:
    """What is shown for one template: two words, and what the tiny model makes of its reference.

    That is a video of the template's own where it brings its model and its clip; otherwise that of another one, with
    this prompt and these changed widgets of its sampler.
    """

    label: str
    prompt: str = ""
    sampler: dict[str, Any] = field(default_factory=dict)
    from_reference: bool = False
    seed: int = 0
    made: tuple[str, ...] = ("Video guided",)
    """What to show, by the nodes that keep it; two take the reference's place."""
    base: str = "00_tiny_demo"
    """The template with the tiny model that runs in its place."""


CARDS = {
    "00_tiny_demo": Card("tiny model · runs anywhere"),
    "01_tiny_side_by_side": Card("tiny model · with and without", made=("Video guided", "Video unguided")),
    "02_tiny_edit_and_blend": Card("tiny model · edit and blend"),
    "03_tiny_motion_library": Card("tiny model · save once, load many", made=("Video one", "Video two")),
    "04_tiny_fidelity_report": Card(
        "tiny model · how well it follows", made=("Video tracks guided", "Video tracks unguided")
    ),
    "05_tiny_draw_motion": Card("tiny model · draw the motion", made=("Video drawing", "Video guided")),
    "06_tiny_quick_look": Card("tiny model · quick look first", made=("Video quick look", "Video guided")),
    "07_tiny_place_subject": Card("tiny model · place the subject", made=("Video drawing", "Video placed")),
    "08_tiny_own_clip": Card("tiny model · your own clip", "magenta square plain", seed=8),
    "10_text_to_video": Card("Wan 2.1 1.3B · text to video", "yellow circle plain", seed=1),
    "11_start_from_reference": Card(
        "Wan 2.1 1.3B · from the reference",
        "green circle plain",
        {"denoise": 0.75, "end_percent": 0.45},
        from_reference=True,
    ),
    "12_image_to_video": Card("Wan 2.1 14B · image to video", "magenta square plain", seed=2),
    "13_long_clip": Card("Wan 2.1 1.3B · long clips", "yellow square plain", seed=5),
    "14_draw_motion": Card(
        "Wan 2.1 1.3B · draw the motion",
        "blue square plain",
        made=("Video drawing", "Video guided"),
        base="05_tiny_draw_motion",
    ),
    "15_quick_look": Card(
        "Wan 2.1 1.3B · quick look first",
        "green circle plain",
        made=("Video quick look", "Video guided"),
        base="06_tiny_quick_look",
    ),
    "20_wan22_high_low": Card("Wan 2.2 14B · high and low noise", "white circle plain", seed=3),
    "21_wan22_four_steps": Card("Wan 2.2 14B · four steps", "green square plain", seed=4),
    "30_ltx_video": Card("LTX-Video · text to video", "blue circle plain", seed=6),
    "31_hunyuan_video": Card("HunyuanVideo 1.5 · text to video", "white square plain", seed=7),
}


def draw_card(reference: Floats, made: Sequence[Floats], label: str) -> Image.Image:
    """Two rows of frames, the reference's above where only one clip was made; clips are (T, H, W, 3) in [0, 1]."""
    card = Image.new("RGB", SIZE, BACK)
    draw = ImageDraw.Draw(card)
    left = (SIZE[0] - FRAMES * SIDE - (FRAMES - 1) * GAP) // 2
    for row, (clip, colour) in enumerate([(reference, BLUE), *((clip, ORANGE) for clip in made)][-2:]):
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
            (left + FRAMES * SIDE + (FRAMES - 1) * GAP, SIZE[1] - 20), CREDIT, fill=QUIET, font=_font(13), anchor="rs"
        )
    return card


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
