"""Time and workspace of attention motion flow, forward and backward: python -m benchmarks.speed.amf --json OUT

One process, every contender once a round, medians over the rounds. Contenders: ours at several tiles; the global map on
the same pairs; DiTFlow's definition (all F * F ordered pairs, each pair checkpointed). FASTVMT_RELEASED=/path names a
checkout of the released code; its compute_tile_AMF then runs beside ours. benchmarks/speed/AMF.md shows the numbers.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import math
import os
import platform
import statistics
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MethodType, SimpleNamespace

import torch
from einops import rearrange
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.attention.windows import frame_pairs
from fastvmt_core.config import AMFConfig

HEADS, D_HEAD = 12, 128
HEIGHT, WIDTH, FRAMES, WINDOW, SPAN = 30, 52, 21, 21, 4
TILES = ((3, 4), (1, 1), (5, 4), (6, 6), (10, 10))
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
RELEASED = "diffsynth/pipelines/wan_video.py"


def clip(frames: int, height: int, width: int, heads: int = HEADS, d_head: int = D_HEAD) -> list[Tensor]:
    """Random q and k that require their gradient."""
    generator = torch.Generator().manual_seed(0)
    shape = (frames, height, width, heads, d_head)
    return [torch.randn(shape, generator=generator).requires_grad_() for _ in range(2)]


def ours(
    tile: tuple[int, int], window: int | None = WINDOW, window_keys: bool = False
) -> Callable[[Tensor, Tensor], Tensor]:
    """Our windowed (or, with window None, global) flow as one number to differentiate."""
    config = AMFConfig(temporal_span=SPAN, window=window, tile=tile)

    def flow(q: Tensor, k: Tensor) -> Tensor:
        motion = attention_motion_flow(q, k, config, window_keys=window_keys)
        keys = motion.window_keys.square().mean() if motion.window_keys is not None else 0
        return motion.displacement.square().mean() + keys

    return flow


def global_pair(q_i: Tensor, k_j: Tensor, places: Tensor) -> Tensor:
    """Displacement of one pair over the whole frame, in plain autograd; q_i and k_j are (H*W, heads * d)."""
    attention = (q_i @ k_j.T * (1 / HEADS / math.sqrt(D_HEAD))).softmax(-1)
    return attention @ places - places


def all_pairs(q: Tensor, k: Tensor) -> Tensor:
    """DiTFlow's attention motion flow: every ordered pair of frames, each checkpointed."""
    frames, height, width = q.shape[:3]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = rearrange(torch.stack((x, y), dim=-1).to(q), "h w xy -> (h w) xy")
    q_frames, k_frames = (rearrange(tensor, "f h w n d -> f (h w) (n d)").unbind() for tensor in (q, k))
    total = q.new_zeros(())
    for q_i in q_frames:
        for k_j in k_frames:
            total = total + checkpoint(global_pair, q_i, k_j, places, use_reentrant=False).square().mean()
    return total / frames**2


def seconds(flow: Callable[[Tensor, Tensor], Tensor], inputs: Sequence[Tensor], clock: str) -> float:
    """Time of one forward and backward on `clock`."""
    now = CLOCKS[clock]
    for tensor in inputs:
        tensor.grad = None
    start = now()
    flow(*inputs).backward()
    return now() - start


def medians(contenders: dict[str, tuple[Callable, Sequence[Tensor]]], options: argparse.Namespace) -> dict[str, float]:
    """Median seconds of each contender; every round runs each once, so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(options.rounds):
        for name, (flow, inputs) in contenders.items():
            times[name].append(seconds(flow, inputs, options.clock))
            print(f"round {turn + 1}: {name}: {times[name][-1]:.2f} s", flush=True)
    return {name: statistics.median(values) for name, values in times.items()}


class PeakMemory(TorchDispatchMode):
    """The bytes of each storage made inside, from when it is made until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()
        self.events: list[tuple[int, int]] = []

    def __torch_dispatch__(
        self, func: Callable, types: Sequence, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        """The operation's result, whose new storages are counted."""
        before = {id_of(tensor) for tensor in tensors_in((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in(result):
            key = id_of(tensor)
            if key not in before and key not in self.known:
                size = tensor.untyped_storage().nbytes()
                self.known.add(key)
                self.events.append((key, size))
                weakref.finalize(tensor.untyped_storage(), self._gone, key, size)
        return result

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.events.append((key, -size))

    def peak(self, left_out: Sequence[Tensor]) -> int:
        """Most bytes alive at once, without some tensors that are still alive."""
        keys = {id_of(tensor) for tensor in left_out}
        last = {key: position for position, (key, _) in enumerate(self.events) if key in keys}
        now = peak = 0
        for position, (key, size) in enumerate(self.events):
            now += 0 if last.get(key) == position else size
            peak = max(peak, now)
        return peak


def id_of(tensor: Tensor) -> int:
    """Identity of a tensor's storage."""
    return tensor.untyped_storage()._cdata


def tensors_in(value: object) -> list[Tensor]:
    """All tensors in a nest of arguments or results."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def workspace(flow: Callable[[Tensor, Tensor], Tensor], inputs: Sequence[Tensor]) -> int:
    """Most bytes alive at once, in forward and backward, beside the inputs and their gradients."""
    for tensor in inputs:
        tensor.grad = None
    with PeakMemory() as memory:
        gradients = torch.autograd.grad(flow(*inputs), inputs)
    return memory.peak(gradients)


def released_methods(root: Path, names: Sequence[str], device: str, **modules: object) -> dict[str, Callable]:
    """Methods of the released pipeline, read from a checkout, as functions bound to a device."""
    pipeline = next(node for node in ast.parse((root / RELEASED).read_text()).body if isinstance(node, ast.ClassDef))
    wanted = [node for node in pipeline.body if getattr(node, "name", "") in names]
    text = "\n".join(ast.unparse(node) for node in wanted).replace("'cuda'", repr(device))
    scope = {"torch": torch, "F": torch.nn.functional, **modules}
    exec(text, scope)  # noqa: S102
    return {name: scope[name] for name in names}


def released_code(root: Path) -> SimpleNamespace:
    """The released compute_tile_AMF with its helper, on the CPU and without its autocast, as ours is."""
    state = SimpleNamespace(indices_computed=False)
    for name, function in released_methods(root, ("compute_tile_AMF", "compute_indices"), "cpu").items():
        setattr(state, name, MethodType(inspect.unwrap(function), state))
    return state


def shift_table(released: SimpleNamespace | None) -> dict[str, dict[str, list[float]]]:
    """Mean (dx, dy) between frames of a sharp pattern that moves 2 tokens a frame; truth: 2, 4, 6 and 0."""
    generator = torch.Generator().manual_seed(0)
    pattern = torch.randn(HEIGHT, WIDTH, 1, D_HEAD, generator=generator)
    pattern = pattern / pattern.norm(dim=-1, keepdim=True) * math.sqrt(50 * math.sqrt(D_HEAD))
    frames = torch.stack([pattern.roll(2 * frame, dims=1) for frame in range(SPAN)])
    inner = (slice(5, HEIGHT - 5), slice(8, WIDTH - 12))
    flow = attention_motion_flow(frames, frames, AMFConfig(temporal_span=SPAN, window=WINDOW), window_keys=False)
    table = {"ours": {str(gap): flow.displacement[gap][inner].mean((0, 1)).tolist() for gap in range(1, SPAN)}}
    if released is not None:
        displacement, _ = released.compute_tile_AMF(
            frames[:, :, :, 0], frames[:, :, :, 0], sf=SPAN, l=WINDOW, tau=1.0, tile=(3, 4)
        )
        # Its windowed rows are in tile order, and (row, column) is its order of coordinates.
        order = "(r c h w) yx -> (r h) (c w) yx"
        rows = [
            rearrange(displacement[gap], order, r=HEIGHT // 3, c=WIDTH // 4, h=3).flip(-1) for gap in range(1, SPAN)
        ]
        table["released"] = {str(gap + 1): row[inner].mean((0, 1)).tolist() for gap, row in enumerate(rows)}
    return table


def released_times(released: SimpleNamespace, options: argparse.Namespace) -> dict[str, float]:
    """Ours and the released flow with its one head of 128 (and ours with all heads) at F = 5."""
    small, whole = clip(5, HEIGHT, WIDTH, 1), clip(5, HEIGHT, WIDTH)

    def theirs(q: Tensor, k: Tensor) -> Tensor:
        displacement, tracking = released.compute_tile_AMF(
            q.squeeze(3), k.squeeze(3), sf=SPAN, l=WINDOW, tau=1.0, tile=(3, 4)
        )
        return displacement.square().mean() + tracking

    contenders = {
        "released, 128 channels": (theirs, small),
        "ours, 128 channels": (ours((3, 4), window_keys=True), small),
        "ours, 12 heads of 128": (ours((3, 4), window_keys=True), whole),
    }
    result = medians(contenders, options)
    spaces = {f"{name}, workspace MB": workspace(*contender) / 2**20 for name, contender in contenders.items()}
    return {**result, **spaces}


def main() -> None:
    """All comparisons are printed and written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--rounds", type=int, default=3, help="times each contender runs")
    parser.add_argument("--frames", type=int, default=FRAMES, help="latent frames of the main case")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu is less disturbed on a shared machine")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    main_clip = clip(options.frames, HEIGHT, WIDTH)
    windowed = {"{}x{}".format(*tile): (ours(tile), main_clip) for tile in TILES}
    rivals = {"all pairs": (all_pairs, main_clip), "global, same pairs": (ours((3, 4), None), main_clip)}
    times = medians(
        {**windowed, "3x4 with window keys": (ours((3, 4), window_keys=True), main_clip), **rivals}, options
    )
    best = min(windowed, key=times.get)

    pair = [tensor[:1].detach().requires_grad_() for tensor in main_clip]
    global_space = workspace(all_pairs, pair)
    spaces = {name: workspace(*contender) for name, contender in windowed.items()}
    spaces["global, same pairs"] = workspace(*rivals["global, same pairs"])
    spaces["3x4 with window keys"] = workspace(ours((3, 4), window_keys=True), main_clip)

    growth = medians({str(n): (ours((3, 4)), clip(n, HEIGHT, WIDTH)) for n in (21, 41)}, options)
    large = clip(5, 42, 74)
    large_times = medians({"3x4": (ours((3, 4)), large), "all pairs": (all_pairs, large)}, options)

    root = os.environ.get("FASTVMT_RELEASED")
    released = released_code(Path(root)) if root else None
    report = {
        "machine": f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}",
        "clock": options.clock,
        "case": f"{options.frames} x {HEIGHT} x {WIDTH}, {HEADS} heads of {D_HEAD}, window {WINDOW}, span {SPAN}",
        "pairs": len(frame_pairs(options.frames, SPAN)),
        "rounds": options.rounds,
        "best_tile": best,
        "speedup_vs_all_pairs": times["all pairs"] / times[best],
        "speedup_vs_global_same_pairs": times["global, same pairs"] / times[best],
        "workspace_ratio": max(spaces[name] for name in windowed) / global_space,
        "growth_in_frames": growth["41"] / growth["21"],
        "speedup_vs_all_pairs_by_tile": {name: times["all pairs"] / times[name] for name in windowed},
        "seconds": times,
        "workspace_mb": {name: size / 2**20 for name, size in {**spaces, "one global pair": global_space}.items()},
        "seconds_by_frames": growth,
        "seconds_at_5x42x74": large_times,
        "shift_2_4_6": shift_table(released),
    }
    if released is not None:
        report["released_at_5x30x52"] = released_times(released_code(Path(root)), options)
    text = json.dumps(report, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
