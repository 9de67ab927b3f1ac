"""An example to try: clips, a workflow of the tiny model and a job list. python -m tools.batch.example FOLDER"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from tools.demo.transfer import GRAPH, node
from tools.host.client import Graph
from tools.train.clips import FRAMES, make_clip, write_video

FIRST_CLIP = 1000
"""Clip i is made with seed FIRST_CLIP + i; the model was trained on other seeds."""
PROMPTS = ("blue square plain", "green circle plain", "yellow triangle stripes")
STEPS = 25


def write_example(
    folder: Path, clips: int = 4, jobs: int = 24, steps: int = STEPS, length: int = FRAMES
) -> tuple[Path, Path]:
    """(job list, workflow), written into ``folder`` with ``clips`` references, which the jobs take in turn.

    ``steps`` and ``length`` (frames): fewer take less time, and follow the reference less well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(clips):
        write_video(folder / f"clip_{number}.mp4", make_clip(FIRST_CLIP + number).frames)
    workflow, job_list = folder / "workflow.json", folder / "jobs.csv"
    workflow.write_text(json.dumps(_workflow(steps, length), indent=1), encoding="utf-8")
    with job_list.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("reference", "prompt", "seed"))
        for number in range(jobs):
            take = number // clips
            rows.writerow((f"clip_{number % clips}.mp4", PROMPTS[take % len(PROMPTS)], take // len(PROMPTS)))
    return job_list, workflow


def _workflow(steps: int, length: int) -> Graph:
    """The guided half of the demo's graph."""
    graph = json.loads(GRAPH.read_text(encoding="utf-8"))
    kept = {identity: each for identity, each in graph.items() if "nguided" not in each["_meta"]["title"]}
    kept = {identity: each for identity, each in kept.items() if each["class_type"] != "SaveImage"}
    node(kept, "Sample guided")["inputs"]["steps"] = steps
    node(kept, "Encode reference")["inputs"]["length"] = length
    if steps < STEPS:
        node(kept, "Apply motion")["inputs"].update(inner_steps=2, gradient_interval=1)
    return kept


def main() -> None:
    """Write the example and print how to run it."""
    parser = argparse.ArgumentParser(prog="python -m tools.batch.example", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    jobs, workflow = write_example(options.folder, jobs=options.jobs, steps=options.steps)
    print(f"python -m tools.batch {jobs} --workflow {workflow} --out {options.folder / 'out'} --spacing 8")


if __name__ == "__main__":
    main()
