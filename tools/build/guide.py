"""Pictures of docs/guide.md and docs/how-it-works.md, all of one clip: too little and too much of each setting, and
what the method sees and does."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from fastvmt_core.metrics.fidelity import path_correlation
from tools.build.moving import BACK, INK, QUIET, SCENES
from tools.demo.sheet import REFERENCE_LINE, SCALE, draw_frame, draw_path
from tools.demo.transfer import Recorder, load_graph, node, node_id, read_frames
from tools.host.client import Client, Graph, History
from tools.train.clips import FPS, Clip, Floats, write_video
from tools.train.track import track

SCENE = replace(SCENES[1], seed=3)
"""With a seed whose object goes elsewhere when little guides it."""
SHOWN = (0, 4, 8, 12, 16)
"""Frames."""
LABEL, GAP, MARGIN = 190, 8, 12
TOKEN = 16
"""Pixels of a token's side in the tiny model."""


@dataclass(frozen=True)
class Setting:
    """A widget of the demo's graph and three values of it; None for the demo's own."""

    owner: str
    widget: str
    values: tuple[float | None, ...]
    words: tuple[str, ...] = ("too little", "the demo's", "too much")


SETTINGS = (
    Setting("Apply motion", "strength", (0.03, None, 8.0)),
    Setting("Apply motion", "end_percent", (0.03, None, 1.0), ("too little", "the demo's", "all steps")),
    Setting("Apply motion", "inner_steps", (1, None, 40)),
    Setting("Apply motion", "gradient_interval", (1, None, 6), ("every step fresh", "the demo's", "one a guided step")),
    Setting("Invert motion", "window", (1, None, 0), ("its own place", "the demo's", "whole frame")),
)


@dataclass(frozen=True)
class Run:
    """A guided clip, and what its sampler sent."""

    frames: Floats
    record: Recorder
    history: History
    graph: Graph

    @property
    def gradients(self) -> int:
        """That were evaluated."""
        return sum(step["gradient_evaluations"] for step in self.record.steps)

    def correlation(self, clip: Clip) -> float:
        """Of the generated path with the clip's; 0 where no sprite is found in it."""
        path = track(self.frames, SCENE.prompt.split()[0])
        known = torch.from_numpy(clip.path)
        return path_correlation(torch.from_numpy(path), known) if np.isfinite(path).all() else 0.0


def make(client: Client, folder: Path) -> None:
    """Write every picture: guide/<widget>.webp for the guide, and how_*.webp for how it works."""
    clip = SCENE.clip()
    with tempfile.TemporaryDirectory() as temporary:
        video = Path(temporary) / "guide.mp4"
        write_video(video, clip.frames, FPS)
        graph = _guided_alone(load_graph(client.upload_input(video), SCENE.prompt, SCENE.seed))
    demo = run(client, graph, None, None)
    (folder / "guide").mkdir(parents=True, exist_ok=True)
    for setting in SETTINGS:
        runs = [demo if value is None else run(client, graph, setting, value) for value in setting.values]
        name = f"guide/{setting.widget}.webp"
        _save(draw_setting(setting, graph, runs, clip), folder / name)
    _save(draw_search(clip, graph), folder / "how_search.webp")
    _save(draw_losses(demo), folder / "how_losses.webp")
    file = demo.history.files(node_id(graph, "Invert motion"))[0]
    _save(Image.open(io.BytesIO(client.view(file))).convert("RGB"), folder / "how_motion.webp")


def run(client: Client, graph: Graph, setting: Setting | None, value: float | None) -> Run:
    """The guided clip with one setting changed, or none."""
    graph = {identity: {**each, "inputs": dict(each["inputs"])} for identity, each in graph.items()}
    if setting is not None:
        node(graph, setting.owner)["inputs"][setting.widget] = value
    record = Recorder(graph)
    history = client.run(graph, record.on_event)
    return Run(read_frames(client, history, graph, "guided"), record, history, graph)


def draw_setting(setting: Setting, graph: Graph, runs: Sequence[Run], clip: Clip) -> Image.Image:
    """A row of frames for each value, the reference's path drawn into each frame."""
    side = clip.frames.shape[1]
    size = (2 * MARGIN + LABEL + len(SHOWN) * (side + GAP) - GAP, 2 * MARGIN + len(runs) * (side + GAP) - GAP)
    picture = Image.new("RGB", size, BACK)
    pen = ImageDraw.Draw(picture)
    own = node(graph, setting.owner)["inputs"][setting.widget]
    for row, (value, words, made) in enumerate(zip(setting.values, setting.words, runs, strict=True)):
        y = MARGIN + row * (side + GAP)
        pen.text((MARGIN, y + 16), f"{setting.widget} {own if value is None else value:g}", INK, _font(16))
        pen.text((MARGIN, y + 40), words, INK, _font(16))
        pen.text((MARGIN, y + 70), f"follows the path: {made.correlation(clip):.2f}", QUIET, _font(14))
        pen.text((MARGIN, y + 90), f"{made.gradients} gradients", QUIET, _font(14))
        for column, time in enumerate(SHOWN):
            frame = draw_frame(made.frames[time], (side * SCALE, side * SCALE))
            draw_path(frame, clip.path, time, REFERENCE_LINE)
            place = (MARGIN + LABEL + column * (side + GAP), y)
            picture.paste(frame.resize((side, side), Image.Resampling.LANCZOS), place)
    return picture


def draw_search(clip: Clip, graph: Graph) -> Image.Image:
    """Two neighbouring latent frames of the clip: its tiles, a token, and the window in which that is searched."""
    inputs = node(graph, "Invert motion")["inputs"]
    zoom, times = 3, (4, 8)
    side, step = clip.frames.shape[1] * zoom, TOKEN * zoom
    picture = Image.new("RGB", (2 * side + 3 * MARGIN, side + MARGIN + 44), BACK)
    grid = clip.frames.shape[1] // TOKEN
    column, row = (int(value) // TOKEN for value in clip.path[times[0]])
    tile_y, tile_x = inputs["tile_height"], inputs["tile_width"]
    half, window = inputs["window"] // 2, inputs["window"]
    left, top = (min(max(place - half, 0), grid - window) for place in (column, row))
    heads = ("a token in its tile", "its window, one latent frame on")
    for index, (time, head) in enumerate(zip(times, heads, strict=True)):
        frame = draw_frame(clip.frames[time], (side, side))
        pen = ImageDraw.Draw(frame)
        for line in range(grid + 1):
            across, down = (3 if line % tile else 5 for tile in (tile_y, tile_x))
            pen.line((0, line * step, side, line * step), (95, 100, 110), across - 2)
            pen.line((line * step, 0, line * step, side), (95, 100, 110), down - 2)
        if index:
            right, bottom = (left + window) * step - 1, (top + window) * step - 1
            pen.rectangle((left * step, top * step, right, bottom), None, REFERENCE_LINE, 4)
        pen.rectangle((column * step, row * step, (column + 1) * step - 1, (row + 1) * step - 1), None, INK, 3)
        if index:
            ends = [tuple((clip.path[each] + 0.5) * zoom) for each in times]
            pen.line(ends, INK, 4)
            pen.ellipse([value for sign in (-7, 7) for value in (ends[1][0] + sign, ends[1][1] + sign)], INK)
        x = MARGIN + index * (side + MARGIN)
        picture.paste(frame, (x, 44))
        ImageDraw.Draw(picture).text((x + side // 2, 22), head, INK, _font(18), anchor="mm")
    return picture


def draw_losses(made: Run) -> Image.Image:
    """The loss of every fresh gradient of a run, step after step; ticks are inner steps that used one again."""
    losses = [loss for step in made.record.steps for loss in step["losses"]]
    width, height, left, foot = 720, 300, 64, 46
    picture = Image.new("RGB", (width, height), BACK)
    pen = ImageDraw.Draw(picture)
    most = max(loss for loss in losses if loss is not None)
    x = [left + (width - left - 20) * index / max(1, len(losses) - 1) for index in range(len(losses))]
    floor, ceiling = height - foot, 30
    known = [(place, loss) for place, loss in zip(x, losses, strict=True) if loss is not None]
    points = [(place, floor - (floor - ceiling) * loss / most) for place, loss in known]
    pen.line([(left, ceiling), (left, floor), (width - 20, floor)], QUIET, 1)
    pen.line(points, (224, 140, 60), 2)
    for place, high in points:
        pen.ellipse((place - 4, high - 4, place + 4, high + 4), (224, 140, 60))
    for place, loss in zip(x, losses, strict=True):
        if loss is None:
            pen.line([(place, floor - 7), (place, floor)], (74, 155, 214), 2)
    pen.text((left - 8, ceiling), f"{most:.3g}", QUIET, _font(14), anchor="rm")
    pen.text((left - 8, floor), "0", QUIET, _font(14), anchor="rm")
    steps, inner = len(made.record.steps), len(made.record.steps[0]["losses"])
    words = f"{steps} guided steps of {inner} inner steps: dots, fresh gradients; ticks, reused ones"
    pen.text((width // 2, height - 20), words, INK, _font(15), anchor="mm")
    return picture


def _guided_alone(graph: Graph) -> Graph:
    """The demo's graph without its unguided half."""
    return {key: each for key, each in graph.items() if not each["_meta"]["title"].endswith("unguided")}


def _save(picture: Image.Image, path: Path) -> None:
    picture.save(path, quality=82, method=6)
    print(f"fastvmt: {path.name}")


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
