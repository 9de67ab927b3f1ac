"""Other methods to guide a step, measured beside ours by benchmarks/speed/guidance.py.

* released schedule: restated here in the host's model from the released code (mayuelala/FastVMT,
  diffsynth/pipelines/wan_video.py and models/wan_video_dit.py). Two thirds of the blocks (its 20 of 30) and the head
  run; every block is a checkpoint, and its self-attention another one inside, so that backward computes it twice; the
  loss is that of one block's q and k, so that backward does not reach the blocks after it; gradients at every third
  inner step; a pass for the reference in every guided step. The flow is ours. Left out, in its favour: gc.collect and
  empty_cache twice an inner step, and rotations in float64.
* released code: its own guidance_step, network and flow, read from the checkout that FASTVMT_RELEASED names, in
  bfloat16. It needs more than 20 blocks and a grid that its tiles divide and that is no smaller than its window.
* DiTFlow's manner: every block runs, checkpointed; all ordered pairs of frames are matched; 10 gradients a step.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import math
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.speed.amf import all_pairs, released_methods
from benchmarks.speed.measuring import Measured, Meter
from benchmarks.speed.real_sizes import SIGMA, Bench, Preset
from fastvmt_core.attention.flow import attention_motion_flow
from fastvmt_core.attention.windows import frame_pairs
from fastvmt_core.config import AMFConfig, GuidanceConfig
from fastvmt_core.guidance.optimizer import optimize_latent
from fastvmt_core.objectives.fastvmt import motion_loss
from fastvmt_core.objectives.protocol import MotionLoss
from fastvmt_core.presets import PAPER_LOSS_WEIGHTS, PRESETS

GUIDED = PRESETS["paper"]
"""10 inner steps, Delta 3."""
RELEASED_BLOCKS, RELEASED_BLOCK, RELEASED_TILE = 20, 14, (3, 4)
"""What the released code itself is fixed to."""


class _NestedAttention(torch.nn.Module):
    """A self-attention of which all but the last layer is a checkpoint, as in the released network."""

    def __init__(self, attention: torch.nn.Module, last: torch.nn.Module) -> None:
        super().__init__()
        self._layers = [attention, last]

    def forward(self, x: Tensor, *args: object, **kwargs: object) -> Tensor:
        """The output of the host's self-attention."""
        attention, last = self._layers
        if not torch.is_grad_enabled():
            return last(attention(x, *args, **kwargs))
        return last(checkpoint(attention, x, *args, use_reentrant=False, preserve_rng_state=False, **kwargs))


@contextmanager
def nested_attention(blocks: list[torch.nn.Module]) -> Iterator[None]:
    """Make the self-attentions of blocks checkpoints of their own while the block runs."""
    replaced = [(block, block.self_attn, block.self_attn.o) for block in blocks]
    try:
        for block, attention, last in replaced:
            attention._modules["o"] = torch.nn.Identity()
            block._modules["self_attn"] = _NestedAttention(attention, last)
        yield
    finally:
        for block, attention, last in replaced:
            attention._modules["o"] = last
            block._modules["self_attn"] = attention


class Checkpointed:
    """Passes through the first `run` blocks, each a checkpoint, and the head, and keeps one block's q and k."""

    def __init__(self, bench: Bench, base: torch.nn.Module, sigma: Tensor, run: int) -> None:
        self._base, self._sigma, self._run, self._block, self._grid = base, sigma, run, bench.block, bench.grid
        self._attention = bench.host.pack("nodes.host.attention.override").pytorch_attention
        self._contexts = [conditioning[0][0].to(bench.device, bench.dtype) for conditioning in bench.prompts()]
        self._q_and_k: tuple[Tensor, Tensor] | None = None

    def __call__(self, point: Tensor, prompt: int = 0) -> tuple[Tensor, Tensor]:
        """q and k, (F, H, W, heads, d), with the positive prompt or the other one."""
        depth = len(self._base.diffusion_model.blocks)
        replaced = {("double_block", index): partial(self._block_of, index) for index in range(depth)}
        options = {"patches_replace": {"dit": replaced}, "optimized_attention_override": self._attention}
        self._q_and_k = None
        # Its graph lives until backward is done, as in the released code.
        self._out = self._base.apply_model(
            point, self._sigma, c_crossattn=self._contexts[prompt], transformer_options=options
        )
        return self._q_and_k

    def _block_of(self, index: int, args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Tensor]:
        if index >= self._run:
            return {"img": args["img"]}
        block = self._base.diffusion_model.blocks[index]
        options = dict(args["transformer_options"])
        if index == self._block:
            options["optimized_attention_override"] = self._keeping

        def forward(tokens: Tensor) -> Tensor:
            return block(tokens, e=args["vec"], freqs=args["pe"], context=args["txt"], transformer_options=options)

        if not torch.is_grad_enabled():
            return {"img": forward(args["img"])}
        return {"img": checkpoint(forward, args["img"], use_reentrant=False, preserve_rng_state=False)}

    def _keeping(self, function: Callable, q: Tensor, k: Tensor, v: Tensor, heads: int, **kwargs: object) -> Tensor:
        if self._q_and_k is None:
            frames, rows, columns = self._grid
            pattern = "1 (f h w) (n d) -> f h w n d"
            size = {"f": frames, "h": rows, "w": columns, "n": heads}
            self._q_and_k = tuple(rearrange(tokens, pattern, **size) for tokens in (q, k))
        return self._attention(function, q, k, v, heads, **kwargs)


def released(bench: Bench, inner_steps: int) -> Measured:
    """One guided step of the released schedule, restated."""

    def guide(passes: Checkpointed, x: Tensor) -> int:
        with torch.no_grad():
            reference = attention_motion_flow(*passes(bench.noise(1).to(x), 1), AMFConfig(), window_keys=False)

        def loss(point: Tensor) -> MotionLoss:
            flow = attention_motion_flow(*passes(point), AMFConfig(), reference.centres)
            return motion_loss(reference, flow, PAPER_LOSS_WEIGHTS)

        return _optimised(x, loss, dataclasses.replace(GUIDED, inner_steps=inner_steps))

    return _other(bench, bench.released_blocks, guide, nested=True)


def ditflow(bench: Bench, inner_steps: int) -> Measured:
    """One guided step in DiTFlow's manner."""

    def guide(passes: Checkpointed, x: Tensor) -> int:
        def loss(point: Tensor) -> MotionLoss:
            total = all_pairs(*(tokens.float() for tokens in passes(point)))
            return MotionLoss(total, {"amf": total})

        return _optimised(x, loss, dataclasses.replace(GUIDED, inner_steps=inner_steps, gradient_interval=1))

    return _other(bench, bench.preset.depth, guide, nested=False)


def _optimised(x: Tensor, loss: Callable[[Tensor], MotionLoss], config: GuidanceConfig) -> int:
    return optimize_latent(x, loss, config)[1].gradient_evaluations


def _other(bench: Bench, run: int, guide: Callable[[Checkpointed, Tensor], int], nested: bool) -> Measured:
    """The measured step of a method that is not the pack's, within the host's sampler and the pack's gradient scope."""
    measured: Measured = {"recomputed": bench.block + 1, "offloaded": False}
    scope = bench.host.pack("nodes.host.gradient.scope").gradient_scope

    def step(model: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any], **_: object) -> Tensor:  # noqa: ANN401
        base = model.inner_model.inner_model
        blocks = list(base.diffusion_model.blocks)[:run] if nested else []
        with scope(base.diffusion_model), nested_attention(blocks):
            passes = Checkpointed(bench, base, sigmas[:1].clone(), run)
            bench.meter.begin()
            gradients = guide(passes, x.clone())
            measured.update(bench.meter.end(), gradients=gradients)
        return x

    bench.run(step)
    return measured


class ReleasedCode:
    """The released guidance itself: its network and its guidance_step, read from a checkout, and nothing else of it."""

    METHODS = ("guidance_step", "compute_tile_AMF", "compute_tile_amf_loss", "compute_indices", "clean_memory")

    def __init__(self, root: Path, bench: Bench) -> None:
        device, preset = bench.device, bench.preset
        frames, rows, columns = bench.grid
        self._device, self._size = device, {"tiled": True, "tile_size": (rows, columns), "frames": frames}
        self._dit = self._network(root, preset, device)
        self._meter = Meter(self._dit)
        gaps = [j - i for i, j in frame_pairs(frames, AMFConfig().temporal_span)]
        weights = torch.linspace(1, 0.8, AMFConfig().temporal_span, device=device)
        self._state = types.SimpleNamespace(
            dit=self._dit,
            device=device,
            torch_dtype=torch.bfloat16,
            indices_computed=False,
            weights=weights[gaps],
            clean_latents=bench.noise(1).to(device, torch.bfloat16),
            scheduler=types.SimpleNamespace(add_noise=self._noised),
            generate_noise=lambda shape, device, dtype, seed: torch.randn(shape, device=device, dtype=dtype),
        )
        self._bind(root)
        self._x = bench.noise(2).to(device, torch.bfloat16)
        self._contexts = [conditioning[0][0].to(device, torch.bfloat16) for conditioning in bench.prompts()]

    @staticmethod
    def refusal(bench: Bench) -> str | None:
        """The reason why this case cannot be run by it; None if it can."""
        _, rows, columns = bench.grid
        window = AMFConfig().window
        if bench.preset.depth <= RELEASED_BLOCKS:
            return f"it is fixed to {RELEASED_BLOCKS} blocks of more"
        if rows % RELEASED_TILE[0] or columns % RELEASED_TILE[1] or min(rows, columns) < window:
            return f"it needs a grid that its tiles {RELEASED_TILE} divide, of {window} tokens a side at least"
        return "its network is for text to video alone" if bench.preset.kind != "t2v" else None

    @staticmethod
    def _network(root: Path, preset: Preset, device: torch.device) -> torch.nn.Module:
        package = types.ModuleType("fastvmt_released")
        # Its own package imports everything that its pipelines need; the network's file needs torch alone.
        package.__path__ = [str(root / "diffsynth" / "models")]
        sys.modules["fastvmt_released"] = package
        made = importlib.import_module("fastvmt_released.wan_video_dit").WanModel
        sizes = {"dim": preset.dim, "ffn_dim": preset.ffn_dim, "num_heads": preset.heads, "num_layers": preset.depth}
        before = torch.get_default_dtype()
        try:
            torch.set_default_dtype(torch.bfloat16)
            with torch.device(device):
                return made(
                    **sizes,
                    in_dim=preset.channels,
                    out_dim=preset.channels,
                    text_dim=4096,
                    freq_dim=256,
                    eps=1e-6,
                    patch_size=(1, 2, 2),
                    has_image_input=False,
                )
        finally:
            torch.set_default_dtype(before)

    def _bind(self, root: Path) -> None:
        modules = {"np": np, "gc": gc, "tqdm": lambda steps: steps, "print": lambda *_: None}
        for name, function in released_methods(root, self.METHODS, self._device.type, **modules).items():
            setattr(self._state, name, types.MethodType(function, self._state))

    @staticmethod
    def _noised(clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        return SIGMA * noise + (1 - SIGMA) * clean

    def __call__(self, bench: Bench, inner_steps: int) -> Measured:
        """One guided step; its number of inner steps is fixed."""
        positive, empty = ({"context": context} for context in self._contexts)
        timestep = torch.tensor([1000 * SIGMA], device=self._device, dtype=torch.bfloat16)
        with torch.no_grad(), torch.amp.autocast(self._device.type, torch.bfloat16):
            self._meter.begin()
            self._state.guidance_step(
                self._x,
                timestep,
                positive,
                empty,
                {},
                {},
                None,
                self._size,
                sf=AMFConfig().temporal_span,
                mode="effi_AMF",
                seed=0,
                step_id=0,
                interval=GUIDED.gradient_interval,
            )
            measured = self._meter.end()
        return {**measured, "gradients": math.ceil(10 / GUIDED.gradient_interval), "recomputed": RELEASED_BLOCK + 1}
