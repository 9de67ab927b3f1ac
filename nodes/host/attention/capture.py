"""What chosen blocks compute, from a forward pass that ends with the last of them. Trap: identity blocks would not do,
as side blocks (VACE's) run on, so the pass is left by an exception."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import comfy.model_patcher
import comfy.samplers
import torch
from einops import rearrange

from ....fastvmt_core.budget.memory import KEEP_ALL, MemoryPlan
from ....fastvmt_core.grid import TokenGrid
from ..models.family import Condition
from ..models.half_size import halved_condition, halved_latent
from ..models.video_model import VideoModel, positive_conditions
from .blocks import GuidedBlock, GuidedWriter, Pass, WatchedPatch, block_patches, with_forwards
from .caches import leave_out_caches, without_cached_forward
from .override import Compared, pytorch_attention
from .own import OVERRIDE
from .shots import TokenShots

if TYPE_CHECKING:
    from comfy.samplers import CFGGuider, KSamplerX0Inpaint

OnAttention = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], None]
"""Is given a block's number and its q, k (after q/k norm and RoPE) and v, each (B, F, H, W, heads, d)."""
OnHidden = Callable[[torch.Tensor], None]
"""Is given a block's tokens, (B, F, H, W, C)."""
OnCapture = Callable[[int, Compared], None]
OnOutput = Callable[[int, torch.Tensor], None]
SPLIT_BETWEEN_CARDS = ("multigpu_clones", "multigpu_thread_pool")
"""Model options by which hosts of 2026 run prompts on several cards, in threads that record nothing for a gradient."""


def visit(
    model: KSamplerX0Inpaint,
    x: torch.Tensor,
    sigma: torch.Tensor,
    extra_args: dict[str, Any],
    blocks: Sequence[int],
    outputs: Sequence[int],
    grid: TokenGrid,
    on_attention: OnAttention,
    on_hidden: OnHidden | None = None,
    plan: MemoryPlan = KEEP_ALL,
    cuts: Sequence[int] = (),
    half: bool = False,
) -> None:
    """Run the positive condition up to the last of `blocks` and `outputs`, and hand over what is read of each.

    Args:
        model: what the host gives a sampler function.
        x: (B, C, F, h, w), the sampler's latent in model space; what is handed over is differentiable in it.
        sigma: (B,), noise level.
        extra_args: the sampler function's, with the host's model options and inpaint mask.
        blocks: counted from 0, in rising order; those whose self-attention is read.
        outputs: likewise; those whose tokens are read.
        grid: the token grid of x; of its last frames, where x begins with frames that are references (VACE's).
        on_attention: called block by block, as the forward pass meets them; what it does not keep is free again before
            the next block runs.
        on_hidden: likewise.
        plan: which of the blocks before the last one are recomputed in backward instead of keeping what they made.
        cuts: frames of the grid that begin a new shot; no shot's tokens look at another's in these blocks.
        half: the pass runs at half the height and width of x, and so does `grid`; what is handed over
            is differentiable in x all the same.

    Raises:
        ValueError: the model never reached a block's attention, or compares other tokens than x's grid.
    """
    guider = model.inner_model
    condition = active_condition(guider, float(sigma.max()))
    video_model = VideoModel.of_run(guider)
    run = _PositiveOnly(guider, condition)
    if half:
        smaller = halved_condition(video_model.family, condition)
        run, condition = _PositiveAtHalfSize(guider, smaller, condition), smaller
    first = video_model.first_token(condition, x, grid)
    reached = set()

    def on_capture(block: int, compared: Compared) -> None:
        # Another node may run a block twice.
        if (block, "q") not in reached:
            reached.add((block, "q"))
            on_attention(block, *(_on_grid(tokens[: len(x)], grid, first) for tokens in compared))

    def on_output(block: int, tokens: torch.Tensor) -> None:
        reached.add((block, "hidden"))
        # Its own copy, as a later block may write into its input.
        on_hidden(_on_grid(tokens[: len(x), :, None], grid, first)[..., 0, :].clone())

    in_pass = Pass()
    guided = guided_blocks(
        video_model,
        in_pass,
        blocks,
        outputs,
        plan,
        TokenShots(grid, cuts, first) if cuts else None,
        on_capture,
        on_output,
    )
    forwards = [(each.block.module, each) for each in guided]
    forwards += [(each, GuidedWriter(each, each.forward, plan)) for each in video_model.writers()]
    positive = copy.copy(model)
    positive.inner_model = run
    options = guided_options(extra_args["model_options"], in_pass)
    try:
        with with_forwards(forwards), without_cached_forward(video_model.network):
            positive(x, sigma, **{**extra_args, "model_options": options})
    except Exception:
        # Whatever another node did with the error that was to end the pass, all is there.
        if not in_pass.ended:
            raise
    missed = {(block, "q") for block in blocks} | {(block, "hidden") for block in outputs}
    missed = sorted(missed - reached)
    if missed:
        raise ValueError(
            f"model: expected the forward pass to reach the self-attention of block {missed[0][0]}, but it did not; "
            "take out nodes that cache the model's steps or replace its blocks."
        )


def positive_only(model: KSamplerX0Inpaint, condition: Condition) -> KSamplerX0Inpaint:
    """A copy of what the host gives a sampler function that runs this condition alone."""
    positive = copy.copy(model)
    positive.inner_model = _PositiveOnly(model.inner_model, condition)
    return positive


class _PositiveOnly:
    """Stands where the guider stands, but runs the positive condition alone: guidance needs no CFG."""

    def __init__(self, guider: CFGGuider, condition: Condition) -> None:
        self._guider = guider
        self._conditions = [[condition]]

    def __getattr__(self, name: str) -> object:
        return getattr(self._guider, name)

    def __call__(
        self, x: torch.Tensor, sigma: torch.Tensor, model_options: dict[str, Any], seed: int | None = None
    ) -> torch.Tensor:
        return comfy.samplers.calc_cond_batch(self._guider.inner_model, self._conditions, x, sigma, model_options)[0]


class _PositiveAtHalfSize(_PositiveOnly):
    """The same at half size; it is given the latent once the host's inpaint mask is applied."""

    def __init__(self, guider: CFGGuider, condition: Condition, whole: Condition) -> None:
        super().__init__(guider, condition)
        self._whole = whole

    def __call__(
        self, x: torch.Tensor, sigma: torch.Tensor, model_options: dict[str, Any], seed: int | None = None
    ) -> torch.Tensor:
        sampling = self._guider.inner_model.model_sampling
        return super().__call__(*halved_latent(self._whole, x, sigma, sampling), model_options, seed)


def active_condition(guider: CFGGuider, sigma: float) -> Condition:
    """The first of the guider's positive conditions that is active at this noise level.

    Guidance runs one prompt; where several are combined, the first is the one.

    Raises:
        ValueError: none is active.
    """
    for condition in positive_conditions(guider):
        if active_at(sigma, condition):
            return condition
    raise ValueError(
        f"positive: expected a condition that is active at sigma {sigma:.3f}, got none; widen the range of its "
        "ConditioningSetTimestepRange, or lower end_percent."
    )


def active_at(sigma: float, condition: Condition) -> bool:
    """Whether a condition of a run counts at this noise level."""
    return condition.get("timestep_end", 0.0) <= sigma <= condition.get("timestep_start", math.inf)


def guided_options(model_options: dict[str, Any], in_pass: Pass) -> dict[str, Any]:
    """A copy of the model options for a pass, without caches; other nodes' patches of blocks stay, and are watched."""
    options = comfy.model_patcher.create_model_options_clone(model_options)
    for name in SPLIT_BETWEEN_CARDS:
        options.pop(name, None)
    patches = block_patches(options)
    patches.update({key: WatchedPatch(patch, in_pass) for key, patch in patches.items()})
    options["transformer_options"][OVERRIDE] = pytorch_attention
    leave_out_caches(options)
    return options


def guided_blocks(
    video_model: VideoModel,
    in_pass: Pass,
    blocks: Sequence[int],
    outputs: Sequence[int],
    plan: MemoryPlan,
    shots: TokenShots | None,
    on_capture: OnCapture,
    on_output: OnOutput,
) -> list[GuidedBlock]:
    """What stands for each block up to the last that is read, and for those beside them; arguments as for `visit`.

    With `shots` no main block's self-attention looks further than its shot.
    """
    end, in_place = max(*blocks, *outputs, -1), video_model.family.writes_to_input
    guided = [
        GuidedBlock(
            block=block,
            in_pass=in_pass,
            writes_to_input=in_place,
            plan=plan if index < plan.recomputed else None,
            on_capture=functools.partial(on_capture, index) if index in blocks else None,
            shots=shots,
            on_output=functools.partial(on_output, index) if index in outputs else None,
            ends=index == end,
        )
        for index, block in enumerate(video_model.blocks()[: end + 1])
    ]
    beside = [
        GuidedBlock(side.block, in_pass, in_place, plan if side.beside < plan.recomputed else None)
        for side in video_model.side_blocks()
        if side.beside <= end
    ]
    return guided + beside


def _on_grid(tokens: torch.Tensor, grid: TokenGrid, first: int) -> torch.Tensor:
    """(B, L, heads, d) -> (B, F, H, W, heads, d)."""
    if tokens.shape[1] < max(first, 0) + grid.tokens:
        raise ValueError(
            f"model: expected the attention to compare all {grid}, got {tokens.shape[1]} tokens; conditioning areas "
            "cut the frame up and cannot be combined with motion guidance, remove those nodes."
        )
    start = first % tokens.shape[1]
    return rearrange(
        tokens[:, start : start + grid.tokens],
        "b (f h w) n d -> b f h w n d",
        f=grid.frames,
        h=grid.height,
        w=grid.width,
    )
