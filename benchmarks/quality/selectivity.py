"""Which block of a model tells motion from look: python tools/selectivity.py --json OUT --picture OUT.png

Runs FastVMT Find Block in a ComfyUI in this process, on the demo's model or on any Wan model that ComfyUI loads.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.runs.host_graph import Executor
from benchmarks.runs.in_process import Host
from fastvmt_core.config import SurveyConfig
from tools.host.client import Graph
from tools.host.layout import REPO

DEFAULTS = SurveyConfig()
MODELS = REPO / "assets" / "models"
OUTPUTS = {"heat_map": 2, "report": 3}
"""Which outputs of Find Block are written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Survey one model; 2 where that can't be done."""
    options = _options(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        outputs = _survey(options)
    except (ValueError, FileNotFoundError) as error:
        print(f"selectivity: {error}", file=sys.stderr)
        return 2
    report = json.loads(outputs[OUTPUTS["report"]])
    print(_in_lines(report))
    if options.json:
        settings = {name: getattr(options, name) for name in ("width", "height", "length", "seed")}
        whole = {"model": options.model.name, **settings, **report}
        options.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    if options.picture:
        pixels = (outputs[OUTPUTS["heat_map"]][0].numpy() * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(options.picture)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODELS / "diffusion_models" / "tinywan_dit_fp16.safetensors")
    parser.add_argument("--vae", type=Path, default=MODELS / "vae" / "tinywan_vae_fp16.safetensors")
    parser.add_argument("--text-encoder", type=Path, help="the model's text encoder; without it the demo's own words")
    parser.add_argument("--json", type=Path, help="where to write the table")
    parser.add_argument("--picture", type=Path, help="where to write the heat map (PNG)")
    sigmas = ", ".join(f"{sigma:g}" for sigma in DEFAULTS.sigmas)
    parser.add_argument("--sigmas", default=sigmas, help=f"noise levels, with commas (default: {sigmas})")
    parser.add_argument("--width", type=int, default=DEFAULTS.width, help="pixels (default: %(default)s)")
    parser.add_argument("--height", type=int, default=DEFAULTS.height, help="pixels (default: %(default)s)")
    parser.add_argument("--length", type=int, default=DEFAULTS.length, help="frames, 4n+1 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    return parser.parse_args(arguments)


def _survey(options: argparse.Namespace) -> tuple[Any, ...]:
    host = Host()
    named = {"diffusion_models": options.model, "vae": options.vae, "text_encoders": options.text_encoder}
    names = {folder: host.offer(folder, _file(path)) for folder, path in named.items() if path}
    return Executor(host.classes, host.receiver.drain).run(_graph(names, options), "find").outputs


def _file(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"expected a model file, got {path}.")
    return path.resolve()


def _graph(names: dict[str, str], options: argparse.Namespace) -> Graph:
    """API form: loaders, the empty prompt, Find Block."""
    widgets = {name: getattr(options, name) for name in ("sigmas", "width", "height", "length", "seed")}
    links = {"model": ["model", 0], "vae": ["vae", 0], "empty_prompt": ["prompt", 0]}
    graph = {
        "model": _node("UNETLoader", unet_name=names["diffusion_models"], weight_dtype="default"),
        "vae": _node("VAELoader", vae_name=names["vae"]),
        "prompt": _node("TinyWanPrompt", prompt=""),
        "find": _node("FastVMTFindBlock", blocks="all", **links, **widgets),
    }
    if "text_encoders" in names:
        graph["clip"] = _node("CLIPLoader", clip_name=names["text_encoders"], type="wan")
        graph["prompt"] = _node("CLIPTextEncode", clip=["clip", 0], text="")
    return graph


def _node(class_type: str, **inputs: object) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def _in_lines(report: dict[str, Any]) -> str:
    head = "sigma" + "".join(f"{f'b{block}':>7}" for block in report["blocks"])
    rows = zip(report["sigmas"], report["ratios"], strict=True)
    lines = [head, *(f"{sigma:5g}" + "".join(f"{ratio:7.2f}" for ratio in row) for sigma, row in rows)]
    return "\n".join([*lines, f"proposal: {report['proposal']}"])


if __name__ == "__main__":
    sys.exit(main())
