"""The jobs of the soak: guided runs of changing sizes, models, edits, samplers and objectives, each by its number."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tools.demo.transfer import load_graph, node
from tools.host.client import Graph

SIZES = ((128, 128, 17), (96, 128, 13), (64, 64, 9), (160, 96, 17), (112, 80, 21), (128, 128, 5))
"""Width, height, frames."""
MODELS = ("tinywan_dit_fp16", "tinywan_dit_fp16", "made_t2v", "made_vace", "made_t2v_fp8_scaled")
EDITS = ("amplify", "mirror left and right", "mirror up and down", "reverse", "speed", "remove camera", "only camera")
SAMPLERS = ("euler", "dpmpp_2m", "uni_pc", "heun", "euler_ancestral")
OBJECTIVES = ("FastVMT", "FastVMT", "FastVMT", "DiTFlow", "MotionClone", "FlowMotion")
MEMORY = ("auto", "fastest", "smallest")
ENDS = ("runs", "runs", "runs", "runs", "cancelled in reading", "cancelled in guidance", "fails")


@dataclass(frozen=True)
class Job:
    """One job: its graph, and how it is to end."""

    graph: Graph
    ends: str
    says: dict[str, object]
    """What was chosen."""


def job(number: int, reference: str) -> Job:
    """The job of that number; the same number, the same job. `reference` is a clip in the server's input folder."""
    choice = random.Random(number)
    graph = load_graph(reference, "blue square plain", number)
    width, height, length = size = choice.choice(SIZES)
    model, sampler, objective = choice.choice(MODELS), choice.choice(SAMPLERS), choice.choice(OBJECTIVES)
    edits, memory, ends = choice.choices(EDITS, k=choice.randrange(4)), choice.choice(MEMORY), choice.choice(ENDS)
    node(graph, "Model")["inputs"]["unet_name"] = f"{model}.safetensors"
    node(graph, "Encode reference")["inputs"].update(width=width, height=height, length=length)
    node(graph, "Invert motion")["inputs"].update(block=2, more_blocks="", seed=number)
    node(graph, "Apply motion")["inputs"].update(inner_steps=3, gradient_interval=1, end_percent=0.5, memory=memory)
    sampled = node(graph, "Sample guided")["inputs"]
    sampled.update(steps=4, sampler_name=sampler)
    if objective != "FastVMT":
        # Others follow no edited or resampled motion.
        edits = []
        graph["objective"] = _node("FastVMTObjective", objective=objective)
        node(graph, "Invert motion")["inputs"]["objective"] = ["objective", 0]
    motion = ["9", 0]
    for place, edit in enumerate(edits):
        widgets = {"edit": edit, "amount": 1.5, "freeze_from": 0, "freeze_to": 0}
        graph[f"edit{place}"] = _node("FastVMTEditMotion", motion=motion, **widgets)
        motion = [f"edit{place}", 0]
    node(graph, "Apply motion")["inputs"]["motion"] = motion
    if ends == "fails":
        # Active in the first step alone, so that the run ends in its second guided step.
        ending = {"conditioning": sampled["positive"], "start": 0.0, "end": 0.02}
        graph["ending"] = _node("ConditioningSetTimestepRange", **ending)
        sampled["positive"] = ["ending", 0]
    for unused in ("13", "14", "15", "16", "17", "20", "21"):
        del graph[unused]
    says = {"size": size, "model": model, "sampler": sampler, "objective": objective, "edits": edits, "memory": memory}
    return Job(graph, ends, says)


def probe(after: Job, number: int) -> Graph:
    """The job that reports what the server's process holds, beside the model that the job before loaded."""
    return {"1": after.graph["1"], "probe": _node("SoakProbe", model=["1", 0], run=number)}


def _node(kind: str, **inputs: object) -> dict[str, object]:
    return {"class_type": kind, "_meta": {"title": kind}, "inputs": inputs}
