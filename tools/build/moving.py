"""The README's moving picture: references, and what the tiny model makes of each without and with its motion."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tools.demo.sheet import REFERENCE_LINE, draw_frame, draw_path
from tools.demo.transfer import load_graph, transfer
from tools.host.client import Client
from tools.train.clips import FPS, Clip, Floats, make_clip, write_video

COLUMNS = ("the clip you have", "your prompt, not guided", "guided by the clip's motion")
SCALE, GAP, MARGIN, HEAD, FOOT = 2, 10, 14, 34, 26
BACK, INK, QUIET = (29, 31, 36), (232, 232, 234), (150, 152, 160)
FRAME_MS, LAST_MS = 110, 1200
"""How long a frame is shown, and the last one. Slower than the clips' own rate, so that the paths can be compared."""


@dataclass(frozen=True)
class Scene:
    """A row of the picture: a reference by its seed and look, and the prompt and the seed of what is generated."""

    reference: int
    colour: str
    shape: str
    motion: str
    prompt: str
    seed: int

    def clip(self) -> Clip:
        """The reference."""
        return make_clip(self.reference, self.colour, self.shape, "plain", self.motion)


SCENES = (
    Scene(9, "red", "circle", "arc", "blue square plain", 0),
    Scene(31, "magenta", "ring", "bounce", "green square plain", 4),
)
Row = tuple[str, Sequence[Floats], Floats]
"""The prompt, the clips of COLUMNS, each (T, H, W, 3) in [0, 1], and the reference's path (T, 2) in pixels."""


def make(client: Client, path: Path) -> None:
    """Write the picture, a WebP that repeats for ever, to ``path``."""
    rows = [_row(client, scene) for scene in SCENES]
    frames = draw(rows)
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=80, method=6)


def _row(client: Client, scene: Scene) -> Row:
    clip = scene.clip()
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / f"moving_{scene.reference}.mp4"
        write_video(video, clip.frames, FPS)
        name = client.upload_input(video)
    result = transfer(client, load_graph(name, scene.prompt, scene.seed))
    return scene.prompt, (clip.frames, result.frames["unguided"], result.frames["guided"]), clip.path


def draw(rows: Sequence[Row]) -> list[Image.Image]:
    """The picture's frames: all clips at the same time, the reference's path so far drawn into each."""
    count = min(len(clip) for _, clips, _ in rows for clip in clips)
    side = rows[0][1][0].shape[1] * SCALE
    width = 2 * MARGIN + len(COLUMNS) * side + (len(COLUMNS) - 1) * GAP
    height = HEAD + len(rows) * (side + FOOT) + MARGIN
    pictures = []
    for time in range(count):
        picture = Image.new("RGB", (width, height), BACK)
        pen = ImageDraw.Draw(picture)
        for column, head in enumerate(COLUMNS):
            x = MARGIN + column * (side + GAP)
            pen.text((x + side // 2, HEAD // 2), head, INK, ImageFont.load_default(17), anchor="mm")
            for index, (prompt, clips, path) in enumerate(rows):
                y = HEAD + index * (side + FOOT)
                frame = draw_frame(clips[column][time], (side, side))
                draw_path(frame, path, time, REFERENCE_LINE)
                picture.paste(frame, (x, y))
                if column:
                    pen.text((x, y + side + 5), f"“{prompt}”", QUIET, ImageFont.load_default(14))
        pictures.append(picture)
    return pictures
