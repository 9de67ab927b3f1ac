"""What jobs share: the part of a graph that makes a motion of a clip, run once, and the graph that uses the result."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.batch.files import digest_of, digest_of_file, write_folder
from tools.batch.workflow import ADDED, ENCODE, FILE_INPUTS, INVERT, links, of_type, relink, replace_by_file, upstream
from tools.host.client import Graph
from tools.host.layout import REPO

MOTION, CLIP, SIZES = "motion.safetensors", "reference.mp4", "sizes.json"
"""Files of a motion in the cache: the motion, the clip as the model sees it, and what Encode Reference says of it."""
SIZE_OUTPUTS = {1: int, 2: int, 3: int, 5: float}
"""Outputs of Encode Reference that other nodes may take, and their type: width, height, length, fps."""
FRAMES_OF = {"CreateVideo": "images", "VHS_VideoCombine": "images", "SaveAnimatedWEBP": "images", "SaveWEBM": "images"}
"""Nodes that make a video of frames, and the input that gets them."""
GUIDED = ("FastVMTApplyMotion", "FastVMTSampler")
SPACING = 16
"""Pixels between the points whose paths are compared: Motion Fidelity's default. The tiny model's clips take 8."""


@cache
def code_digest() -> str:
    """A digest of the pack's code: a motion that other code has made is not used."""
    files = [path for folder in ("fastvmt_core", "nodes") for path in sorted((REPO / folder).rglob("*.py"))]
    return digest_of([(path.relative_to(REPO).as_posix(), digest_of_file(path)) for path in files])


def keys_of(graph: Graph) -> dict[str, str]:
    """Invert Motion's node id -> the key of its motion: a digest of all that decides it.

    In ``graph`` files are named by their content. Models are known by name alone. A node whose preview is used too
    is left out: it has to run in the job itself.
    """
    others = {link[0] for node in graph.values() for _, link in links(node) if link[1] != 0}
    return {
        identity: digest_of([code_digest(), _described(graph, identity)])[:32]
        for identity in of_type(graph, INVERT)
        if identity not in others
    }


def _described(graph: Graph, identity: str) -> Any:  # noqa: ANN401  (nested lists)
    """A node with what it depends on in the place of its links: the same whatever the ids are."""
    node = graph[identity]
    linked = {name: [_described(graph, link[0]), link[1]] for name, link in links(node)}
    return [node["class_type"], {**node["inputs"], **linked}]


def extraction(graph: Graph, inverter: str, key: str) -> Graph:
    """The graph that makes one motion: what Invert Motion depends on, with savers of the motion and the fitted clip."""
    part = {identity: copy.deepcopy(graph[identity]) for identity in upstream(graph, inverter)}
    part[f"{ADDED}save"] = _node(
        "FastVMTSaveMotion", motion=[inverter, 0], name=key, note="", keep_reference=True, replace=True
    )
    encoder = _encoder(graph, inverter)
    if encoder is not None:
        for output in SIZE_OUTPUTS:
            part[f"{ADDED}size_{output}"] = _node("PreviewAny", source=[encoder, output])
        part[f"{ADDED}frames"] = _node("VAEDecode", samples=[encoder, 0], vae=graph[encoder]["inputs"]["vae"])
        part[f"{ADDED}create"] = _node("CreateVideo", images=[f"{ADDED}frames", 0], fps=[encoder, 5])
        part[f"{ADDED}clip"] = _node(
            "SaveVideo", video=[f"{ADDED}create", 0], filename_prefix="reference", format="mp4", codec="h264"
        )
    return part


def sizes_of(texts: Mapping[str, str]) -> dict[str, int | float]:
    """Encode Reference's outputs, by their number, from what the text nodes of an extraction showed."""
    shown = {output: texts.get(f"{ADDED}size_{output}") for output in SIZE_OUTPUTS}
    return {str(output): SIZE_OUTPUTS[output](text) for output, text in shown.items() if text is not None}


@dataclass(frozen=True)
class Motion:
    """A motion in the cache: its key, the folder that holds it, and ``SIZE_OUTPUTS`` by their number."""

    key: str
    folder: Path
    sizes: Mapping[str, int | float]

    @property
    def clip(self) -> Path | None:
        """The reference as the model sees it; None where the clip did not come through Encode Reference."""
        return self.folder / CLIP if (self.folder / CLIP).exists() else None


def find(cache_folder: Path, key: str) -> Motion | None:
    """A motion of the cache, or None."""
    folder = cache_folder / key
    try:
        return Motion(key, folder, json.loads((folder / SIZES).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def keep(cache_folder: Path, key: str, files: Mapping[str, bytes], sizes: Mapping[str, int | float]) -> Motion:
    """Put a motion into the cache, whole or not at all; another driver's of the same key stays."""
    write_folder(cache_folder / key, {**files, SIZES: json.dumps(sizes).encode()}, replace=False)
    return Motion(key, cache_folder / key, sizes)


def with_motions(graph: Graph, motions: Mapping[str, Motion]) -> Graph:
    """The job's graph with motions from the cache, by Invert Motion's node id, and with sizes as numbers.

    So nothing of the reference has to be read again, unless the job needs its latent too.
    """
    made = copy.deepcopy(graph)
    for inverter, motion in motions.items():
        encoder = _encoder(made, inverter)
        replace_by_file(made, inverter, f"{motion.key}.safetensors")
        for output, size in motion.sizes.items() if encoder is not None else ():
            relink(made, [encoder, int(output)], size)
    return made


def main_video(graph: Graph) -> tuple[str, list[Any]] | None:
    """(id of the node that makes the job's video, the link that brings its frames); the first guided one."""
    makers = []
    for identity, node in graph.items():
        frames = node["inputs"].get(FRAMES_OF.get(node["class_type"], ""))
        if isinstance(frames, list):
            guided = of_type({each: graph[each] for each in upstream(graph, identity)}, *GUIDED)
            makers.append((not guided, len(upstream(graph, identity)), identity, list(frames)))
    # Of the guided ones, the one that depends on least: pictures of a measurement depend on the video itself.
    return min(makers, key=lambda maker: maker[:2])[2:] if makers else None


def main_saver(graph: Graph) -> str | None:
    """The id of the node that saves the job's video."""
    maker = main_video(graph)
    if maker is None:
        return None
    savers = [identity for identity, node in graph.items() for _, link in links(node) if link[0] == maker[0]]
    return savers[0] if savers else maker[0]


def with_fidelity(graph: Graph, clip: str, spacing: int = SPACING) -> Graph:
    """The graph with Motion Fidelity of the job's video beside ``clip``; as it is if it makes no video of frames."""
    maker = main_video(graph)
    if maker is None:
        return graph
    return {
        **graph,
        f"{ADDED}clip": _node("LoadVideo", file=clip),
        f"{ADDED}clip_frames": _node("GetVideoComponents", video=[f"{ADDED}clip", 0]),
        f"{ADDED}fidelity": _node(
            "FastVMTMotionFidelity", generated=maker[1], reference=[f"{ADDED}clip_frames", 0], spacing=spacing
        ),
        f"{ADDED}report": _node("PreviewAny", source=[f"{ADDED}fidelity", 1]),
    }


def fidelity_of(texts: Mapping[str, str]) -> dict[str, Any] | None:
    """Motion Fidelity's report, from what the text nodes of a job showed; None without one."""
    text = texts.get(f"{ADDED}report")
    return None if text is None else json.loads(text)


def files_of(graph: Graph) -> dict[tuple[str, str], str]:
    """(node id, input) -> value, of the inputs that name a file."""
    inputs = {**FILE_INPUTS, "FastVMTLoadMotion": "motion"}
    return {
        (identity, inputs[node["class_type"]]): node["inputs"][inputs[node["class_type"]]]
        for identity, node in graph.items()
        if isinstance(node["inputs"].get(inputs.get(node["class_type"], "")), str)
    }


def _encoder(graph: Graph, inverter: str) -> str | None:
    """The Encode Reference whose latent an Invert Motion reads, if it reads one directly."""
    link = graph[inverter]["inputs"].get("reference")
    linked = isinstance(link, list) and graph.get(link[0], {}).get("class_type") == ENCODE
    return link[0] if linked else None


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:  # noqa: ANN401  (widgets' values and links)
    return {"class_type": class_type, "inputs": inputs}
