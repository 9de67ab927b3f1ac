"""Graphs out of our nodes and some of the host's, chosen by chance: every link has the type that its input asks for."""

from __future__ import annotations

import copy
import random

SOURCES = ("TinyWanLoader", "TinyWanPrompt", "EmptyHunyuanLatentVideo", "SolidMask", "EmptyImage")
"""In every graph: whatever else is chosen finds its inputs."""
LEFT_OUT = ("FastVMTFindBlock", "FastVMTLoadMotion", "FastVMTCheckVideo", "FastVMTMotionFidelity")
"""Of ours: what surveys a model for minutes, needs a file of the user's, or a package that is optional."""
HOSTS = (
    "ModelSamplingSD3 KSampler VAEDecode VAEEncode GetVideoComponents CreateVideo ImageScale ImageBatch ImageFromBatch "
    "RepeatImageBatch ImageInvert InvertMask GrowMask MaskToImage ImageToMask LatentFromBatch LatentBlend "
    "RepeatLatentBatch LatentUpscaleBy ConditioningZeroOut ConditioningCombine ConditioningSetTimestepRange "
    "BasicScheduler LatentMultiply"
).split()
ENDS = {"IMAGE": ("PreviewImage", "images"), "LATENT": ("SaveLatent", "samples"), "MASK": ("MaskPreview", "mask")}
ENDS |= {"FASTVMT_MOTION": ("FastVMTSaveMotion", "motion"), "STRING": ("PreviewAny", "source")}
"""What ends a graph, by the type that it shows."""
EXACTLY_ONE = {"FastVMTEncodeReference": ("video", "frames"), "FastVMTMotionFromTracks": ("tracks", "coordinates")}
"""Inputs of which a node takes one; both or none are connected in one graph of eight."""
SMALL = {
    **dict.fromkeys(("width", "height"), (48, 64, 64)),
    "length": (5, 9, 9, 5, 9, 5, 9, 1),
    "mask_of": (0, 0, 0, 1, 2),
    "steps": (1, 2, 3),
    "inner_steps": (1, 2),
    "batch_size": (1, 1, 1, 2),
    "amount": (1, 2, 0.5),
    "block": (-1, 0, 3, 5),
    "scale_by": (0.5, 1.0, 1.5),
    "multiplier": (0.5, 1.0),
    "temporal_span": (1, 2, 4),
    "window": (1, 3, 5),
    "tile_height": (1, 2, 3),
    "tile_width": (1, 2, 3),
    "feather": (0.0, 1.0, 32.0),
    "spacing": (1, 2, 4),
    "chunk_length": (0, 9, 81),
    "shift": (1.0, 5.0, 8.0),
    "preset": ("custom", "custom", "fast"),
    "end_percent": (0.2, 0.5, 1.0),
    "more_blocks": ("", "2"),
    "drawing": ('{"objects": [{"ellipse": [0.3, 0.5, 0.1, 0.1], "path": [[0.3, 0.5], [0.7, 0.5]]}]}',),
    "filename_prefix": ("any/random",),
    "name": ("any", "walk", "Ünïcode 動き"),
    "prompt": ("", "blue square plain", "red circle plain"),
    "certificate": ("test certificate",),
    "expand": (-2, 0, 3),
}
"""Choices for widgets whose range only takes time, or that need a text that is understood."""


class Chance:
    """One random graph from what the server has."""

    def __init__(self, seed: int, info: dict):
        self._choice, self._info = random.Random(seed), info
        self.graph: dict[str, dict] = {}
        self._outputs: dict[str, list] = {}

    def build(self) -> dict[str, dict]:
        """The graph."""
        for kind in SOURCES:
            self._add(kind)
        ours = [name for name, each in self._info.items() if "fastvmt" in each["python_module"]]
        ours = [name for name in ours if name not in LEFT_OUT and not name.startswith("Tiny")]
        # In the order of a usual graph first, or most would hold no motion.
        for kind in ("FastVMTDrawMotion", "FastVMTEncodeReference", "FastVMTInvertMotion"):
            self._add(kind)
        for _ in range(self._choice.randrange(3, 9)):
            fitting = [name for name in self._choice.choice((ours, HOSTS)) if self._fits(name)]
            self._add(self._choice.choice(fitting))
        for of, (kind, name) in ENDS.items():
            if of in self._outputs and kind in self._info:
                self._add(kind, **{name: self._outputs[of][-1]})
        return self.graph

    def _fits(self, kind: str) -> bool:
        required = self._info[kind]["input"].get("required", {}).values() if kind in self._info else [["no such"]]
        return all(is_widget(spec) or spec[0] in self._outputs for spec in required)

    def _add(self, kind: str, **given: object) -> None:
        inputs = dict(given)
        for group in ("required", "optional"):
            for name, spec in self._info[kind]["input"].get(group, {}).items():
                if name in inputs or (group == "optional" and self._choice.random() < 0.3):
                    continue
                if is_widget(spec):
                    inputs[name] = self._widget(name, spec)
                elif spec[0] in self._outputs:
                    inputs[name] = self._choice.choice(self._outputs[spec[0]][-3:])
        if kind in EXACTLY_ONE and self._choice.randrange(8):
            given = [name for name in EXACTLY_ONE[kind] if inputs.get(name)]
            for name in given[1:]:
                del inputs[name]
        identity = str(len(self.graph) + 1)
        self.graph[identity] = {"class_type": kind, "inputs": inputs, "_meta": {"title": f"{kind} {identity}"}}
        for place, of in enumerate(self._info[kind]["output"]):
            self._outputs.setdefault(of, []).append([identity, place])

    def _widget(self, name: str, spec: list) -> object:
        kind, more = spec[0], spec[1] if len(spec) > 1 else {}
        options = kind if isinstance(kind, list) else more.get("options")
        if name in SMALL and (not options or set(SMALL[name]) <= set(options)):
            return self._choice.choice(SMALL[name])
        if options:
            return self._choice.choice(options)
        if kind == "BOOLEAN":
            return self._choice.random() < 0.5
        if kind == "STRING":
            return more.get("default", "")
        least, most, usual = more.get("min", 0), more.get("max", 1), more.get("default", 0)
        drawn = self._choice.choice((*[usual] * 20, least, most, self._choice.uniform(least, min(most, least + 100))))
        return int(drawn) if kind == "INT" else float(drawn)


def is_widget(spec: list) -> bool:
    """Whether an input is filled in on the node."""
    return isinstance(spec[0], list) or spec[0] in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def unguided(graph: dict[str, dict]) -> dict[str, dict]:
    """The same graph with every Apply Motion bypassed."""
    without = copy.deepcopy(graph)
    for identity in [each for each, node in without.items() if node["class_type"] == "FastVMTApplyMotion"]:
        model = without.pop(identity)["inputs"]["model"]
        for node in without.values():
            for name, value in node["inputs"].items():
                if value == [identity, 0]:
                    node["inputs"][name] = model
    return without
