"""What chosen blocks compute, from a forward pass that ends with the last of them. Trap: identity blocks would not do,
as side blocks (VACE's) run on, so the pass is left by an exception."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import comfy.model_patcher
import comfy.samplers
import torch
from einops import rearrange

from ....fastvmt_core.budget.memory import KEEP_ALL, MemoryPlan
from ....fastvmt_core.grid import TokenGrid
from ..gradient.recompute import with_recomputed_side_blocks
from ..models.family import Condition
from ..models.half_size import halved_condition, halved_latent
from ..models.video_model import VideoModel, positive_conditions
from .blocks import LastBlock, PassingBlock, block_patches
from .caches import leave_out_caches, without_cached_forward
from .override import CaptureDoneError, Compared, pytorch_attention
from .own import OVERRIDE, own_attention_beside
from .shots import TokenShots

if TYPE_CHECKING:
    from comfy.samplers import CFGGuider, KSamplerX0Inpaint

OnBlock = Callable[[int, torch.Tensor, torch.Tensor], None]
"""Is given a block's number and its q and k, each (B, F, H, W, heads, d)."""
OnValues = Callable[[torch.Tensor], None]
"""Is given the last block's v, (B, F, H, W, heads, d), and without gradient."""
OnCapture = Callable[[int, Compared], None]
OnOutput = Callable[[int, torch.Tensor], None]
SPLIT_BETWEEN_CARDS = ("multigpu_clones", "multigpu_thread_pool")
"""Model options by which hosts of 2026 run prompts on several cards, in threads that record nothing for a gradient."""


def capture_qk(
    model: KSamplerX0Inpaint,
    x: torch.Tensor,
    sigma: torch.Tensor,
    extra_args: dict[str, Any],
    blocks: Sequence[int],
    grid: TokenGrid,
    plan: MemoryPlan = KEEP_ALL,
    cuts: Sequence[int] = (),
    on_values: OnValues | None = None,
    half: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """q and k of the self-attentions of `blocks`, their heads side by side; arguments as for `visit_qk`.

    A mean over the heads, as the attention motion flow takes it, is then the mean over all heads of all blocks.

    Returns:
        q and k, (B, F, H, W, blocks * heads, d), after q/k norm and RoPE.

    Raises:
        ValueError: as for `visit_qk`.
    """
    captured: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(_: int, q: torch.Tensor, k: torch.Tensor) -> None:
        captured.append((q, k))

    visit_qk(model, x, sigma, extra_args, blocks, grid, keep, plan, cuts, on_values, half)
    if len(captured) == 1:
        return captured[0]
    return tuple(torch.cat(tokens, dim=-2) for tokens in zip(*captured, strict=True))


def visit_qk(
    model: KSamplerX0Inpaint,
    x: torch.Tensor,
    sigma: torch.Tensor,
    extra_args: dict[str, Any],
    blocks: Sequence[int],
    grid: TokenGrid,
    on_block: OnBlock,
    plan: MemoryPlan = KEEP_ALL,
    cuts: Sequence[int] = (),
    on_values: OnValues | None = None,
    half: bool = False,
) -> None:
    """Run the positive condition up to the last of `blocks` and hand over what each one's self-attention compares.

    Args:
        model: what the host gives a sampler function.
        x: (B, C, F, h, w), the sampler's latent in model space; q and k are differentiable in it.
        sigma: (B,), noise level.
        extra_args: the sampler function's, with the host's model options and inpaint mask.
        blocks: counted from 0, in rising order.
        grid: the token grid of x; of its last frames, where x begins with frames that are references (VACE's).
        on_block: called block by block, as the forward pass meets them, with q and k after q/k norm and RoPE; what it
            does not keep is free again before the next block runs.
        plan: which of the blocks before the last one are recomputed in backward instead of keeping what they made.
        cuts: frames of the grid that begin a new shot; no shot's tokens look at another's in these blocks.
        on_values: called once, with v of the last block.
        half: the pass runs at half the height and width of x (a flow model's), and so does `grid`; q and k are
            differentiable in x all the same.

    Raises:
        ValueError: the model never reached a block's attention, or compares other tokens than x's grid.
    """

    def on_attention(block: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
        on_block(block, q, k)
        if on_values is not None and block == blocks[-1]:
            on_values(v.detach())

    visit(model, x, sigma, extra_args, blocks, (), grid, on_attention, lambda _: None, plan, cuts, half)


def visit(
    model: KSamplerX0Inpaint,
    x: torch.Tensor,
    sigma: torch.Tensor,
    extra_args: dict[str, Any],
    blocks: Sequence[int],
    outputs: Sequence[int],
    grid: TokenGrid,
    on_attention: Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], None],
    on_hidden: Callable[[torch.Tensor], None],
    plan: MemoryPlan,
    cuts: Sequence[int],
    half: bool = False,
) -> None:
    """Run the positive condition up to the last of `blocks` and `outputs`, and hand over what is read of each.

    Args: as for `visit_qk`, and
        outputs: blocks whose tokens are handed to `on_hidden`, (B, F, H, W, C).
        on_attention: is given the number of each of `blocks`, and its q, k and v, (B, F, H, W, heads, d).
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

    def on_capture(block: int, captured: Compared) -> None:
        *attended, heads = captured
        reached.add(block)
        on_attention(block, *(_on_grid(tokens[: len(x)], heads, grid, first) for tokens in attended))

    def on_output(block: int, tokens: torch.Tensor) -> None:
        reached.add(block)
        # Its own copy, as a later block may write into its input.
        on_hidden(_on_grid(tokens[: len(x)], 1, grid, first)[..., 0, :].clone())

    shots = TokenShots(grid, cuts, first) if cuts else None
    network, last = video_model.network, max(*blocks, *outputs, -1)
    options = guided_options(extra_args["model_options"], network, blocks, plan, on_capture, shots, outputs, on_output)
    positive = copy.copy(model)
    positive.inner_model = run
    try:
        with ExitStack() as scopes:
            scopes.enter_context(own_attention_beside(video_model, last))
            scopes.enter_context(with_recomputed_side_blocks(video_model, plan))
            scopes.enter_context(without_cached_forward(network))
            positive(x, sigma, **{**extra_args, "model_options": options})
    except CaptureDoneError as done:
        if done.captured is not None:
            on_capture(last, done.captured)
    missed = sorted({*blocks, *outputs} - reached)
    if missed:
        raise ValueError(
            f"model: expected the forward pass to reach the self-attention of block {missed[0]}, but it did not; take "
            "out nodes that cache the model's steps or replace its blocks."
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
        return super().__call__(*halved_latent(self._whole, x, sigma), model_options, seed)


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


def guided_options(
    model_options: dict[str, Any],
    network: torch.nn.Module,
    blocks: Sequence[int],
    plan: MemoryPlan,
    on_capture: OnCapture,
    shots: TokenShots | None,
    outputs: Sequence[int] = (),
    on_output: OnOutput | None = None,
) -> dict[str, Any]:
    """A copy of the model options that captures `blocks` and keeps other nodes' patches on them and before them.

    Of the blocks in `outputs` the tokens are captured.

    With `shots` no block's self-attention looks further than its shot.
    """
    options = comfy.model_patcher.create_model_options_clone(model_options)
    for name in SPLIT_BETWEEN_CARDS:
        options.pop(name, None)
    patches = block_patches(options)
    options["transformer_options"][OVERRIDE] = pytorch_attention
    end = max(*blocks, *outputs, -1)
    for index in range(end + 1 if end in outputs else end):
        patches["double_block", index] = PassingBlock(
            module=network.blocks[index],
            prior=patches.get(("double_block", index)),
            plan=plan if index < plan.recomputed else None,
            on_capture=functools.partial(on_capture, index) if index in blocks else None,
            shots=shots,
            on_output=functools.partial(on_output, index) if index in outputs else None,
            ends=index == end,
        )
    if end not in outputs:
        patches["double_block", end] = LastBlock(network.blocks[end], patches.get(("double_block", end)))
    leave_out_caches(options)
    return options


def _on_grid(tokens: torch.Tensor, heads: int, grid: TokenGrid, first: int) -> torch.Tensor:
    """(B, L, heads * d) -> (B, F, H, W, heads, d)."""
    if tokens.shape[1] < first + grid.tokens:
        raise ValueError(
            f"model: expected the attention to compare all {grid}, got {tokens.shape[1]} tokens; conditioning areas "
            "cut the frame up and cannot be combined with motion guidance, remove those nodes."
        )
    return rearrange(
        tokens[:, first : first + grid.tokens],
        "b (f h w) (n d) -> b f h w n d",
        f=grid.frames,
        h=grid.height,
        w=grid.width,
        n=heads,
    )
