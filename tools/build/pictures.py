"""``python -m tools.build pictures``: run the tiny demo in the page and keep images of it.

Writes workflows/*.jpg, web/docs/*.jpg, docs/images/page_*.jpg and docs/images/*.webp. Needs Chromium and a few minutes.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from tools.browser.page import ComfyPage, chromium
from tools.build import guide, moving
from tools.build.cards import CARDS, Card, draw_card
from tools.demo.transfer import node, node_id
from tools.host.client import Client
from tools.host.layout import REPO
from tools.train.clips import Floats

IMAGES = REPO / "docs" / "images"
DEMO = "00_tiny_demo"
SIDE_BY_SIDE = "01_tiny_side_by_side"
OF_DEMO = {
    "FastVMTEncodeReference": "Encode reference",
    "FastVMTInvertMotion": "Invert motion",
    "FastVMTLossWeights": "Loss weights",
    "FastVMTSampler": "Sample guided",
    "TinyWanLoader": "Tiny Wan",
    "TinyWanPrompt": "Prompt",
}
ALONE = (
    "Objective",
    "Find Block",
    "Save Motion",
    "Load Motion",
    "Preview Motion",
    "Edit Motion",
    "Blend Motion",
    "Mask Motion",
    "Place Subject",
    "Motion Fidelity",
    "Refresh Motion",
    "Decode Shots",
    "Draw Motion",
    "Motion From Tracks",
    "Motion To Tracks",
    "Compare",
    "Save Video Credentials",
    "Check Video",
)
CURVE = "[[0, 1], [0.35, 1.5], [0.7, 0.6], [1, 0.2]]"
PANEL_DONE = "() => document.querySelector('.fastvmt-panel')?.dataset.state === 'done'"
PARTS = ("nodes", "cards", "moving", "guide")


def make(url: str, only: str | None = None) -> None:
    """Make all pictures, or one part of them."""
    # The page first: nodes that a card has run come from the cache without what they show, and one card saves a motion.
    parts = PARTS if only is None else (only,)
    if "nodes" in parts:
        with chromium() as browser, ComfyPage.open(browser, url) as page:
            nodes(page)
    if "cards" in parts:
        cards(url)
    if "moving" in parts:
        with Client(url) as client:
            moving.make(client, IMAGES / "transfer.webp")
            print("fastvmt: docs/images/transfer.webp")
    if "guide" in parts:
        with Client(url) as client:
            guide.make(client, IMAGES)


def cards(url: str) -> None:
    """One card a template."""
    reference = _read(REPO / "assets" / "reference.mp4")
    with Client(url) as client:
        for name, card in CARDS.items():
            made = _transfer(client, name, card)
            draw_card(reference, made, card.label).save(REPO / "workflows" / f"{name}.jpg", quality=88)
            print(f"fastvmt: workflows/{name}.jpg")


def nodes(page: ComfyPage) -> None:
    """Each node alone, and the whole page, once a run is done."""
    docs = REPO / "web" / "docs"
    page.load(_workflow(DEMO))
    page.do(
        "curve => { window.app.graph._nodes.find(n => n.title === 'Loss weights')"
        ".widgets.find(w => w.name === 'curve').value = curve }",
        CURVE,
    )
    page.run()
    page.until(PANEL_DONE)
    page.until("() => window.app.ui.lastQueueSize === 0")
    for kind, title in OF_DEMO.items():
        _save(page.picture_of(title), docs / f"{kind}.jpg")
    page.look_at("Sample guided", 0.62)
    _save(page.page.screenshot(), IMAGES / "page_demo.jpg")
    page.load(_workflow(SIDE_BY_SIDE))
    page.run()
    page.until(PANEL_DONE)
    _save(page.picture_of("Apply motion"), docs / "FastVMTApplyMotion.jpg")
    alone(page, docs)


def alone(page: ComfyPage, docs: Path) -> None:
    """Nodes that no run has to fill."""
    for kind in ALONE:
        title = page.do(
            """kind => {
                window.app.graph.clear()
                const node = window.LiteGraph.createNode(kind)
                node.pos = [100, 100]
                window.app.graph.add(node)
                return node.title
            }""",
            f"FastVMT{kind.replace(' ', '')}",
        )
        _save(page.picture_of(title), docs / f"FastVMT{kind.replace(' ', '')}.jpg")


def _transfer(client: Client, name: str, card: Card) -> list[Floats]:
    """The clips of a card, from the template itself where it brings its model and its clip."""
    graph = _job(name)
    kinds = {each["class_type"] for each in graph.values()}
    if "TinyWanLoader" not in kinds or "LoadVideo" in kinds:
        graph = _job(card.base)
        node(graph, "Prompt")["inputs"]["prompt"] = card.prompt
        sampler = node(graph, "Sample guided")["inputs"]
        sampler.update(card.sampler, seed=card.seed)
        if card.from_reference:
            sampler["latent_image"] = [node_id(graph, "Encode reference"), 0]
    history = client.run(graph)
    files = [history.files(node_id(graph, title))[0] for title in card.made]
    clips = [_read(io.BytesIO(client.view(file))) for file in files]
    # Of two square clips side by side the right one.
    return [clip[:, :, -clip.shape[1] :] for clip in clips]


def _job(name: str) -> dict[str, Any]:
    return json.loads((REPO / "assets" / "api" / f"{name}.json").read_text(encoding="utf-8"))


def _read(video: Path | io.BytesIO) -> Floats:
    with av.open(video if isinstance(video, io.BytesIO) else str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames).astype(np.float32) / 255


def _workflow(name: str) -> dict[str, Any]:
    return json.loads((REPO / "workflows" / f"{name}.json").read_text(encoding="utf-8"))


def _save(png: bytes, path: Path) -> None:
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=85)
    print(f"fastvmt: {path.relative_to(REPO)}")
