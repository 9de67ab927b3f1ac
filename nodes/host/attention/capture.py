"""q and k of chosen blocks. Trap: the host hands a block's wrapper a function that reads its loop variable late, so
that a checkpoint's recompute would run another block; its closure is frozen here."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

import comfy.ldm.modules.attention
import comfy.model_patcher
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP
from einops import rearrange

from ....fastvmt_core.budget.memory import KEEP_ALL, MemoryPlan
from ....fastvmt_core.grid import TokenGrid
from ..gradient.recompute import recomputed, with_recomputed_side_blocks
from ..page.progress import watch_cancel
from .shots import TokenShots, own_and_others

if TYPE_CHECKING:
    from comfy.samplers import CFGGuider, KSamplerX0Inpaint

NOTHING = 1e-2
"""Latent values up to this are none: a node's zeros, taken to model space and back in the model's own precision."""
UNGUIDED_WRAPPERS = ("easycache", "lazycache", "torch.compile")
"""Other nodes' wrappers that the guided forward leaves out: caches must not count it as a step of theirs, and a
compiled graph cannot be left in the middle."""

BlockArguments = dict[str, Any]
BlockFunction = Callable[[BlockArguments], dict[str, torch.Tensor]]
OnBlock = Callable[[int, torch.Tensor, torch.Tensor], None]
"""Is told a block and its q and k, each (B, F, H, W, heads, d)."""
Captured = tuple[torch.Tensor, torch.Tensor, int]
"""q and k as the attention is given them, (B, L, heads * d), and the number of heads."""
Keep = Callable[[int, Captured], None]


class _LastBlockError(Exception):
    """Ends the forward pass as soon as the last block's q and k are there; never leaves this file."""

    def __init__(self, captured: Captured) -> None:
        super().__init__()
        self.captured = captured


def capture_qk(
    model: KSamplerX0Inpaint,
    x: torch.Tensor,
    sigma: torch.Tensor,
    extra_args: dict[str, Any],
    blocks: Sequence[int],
    grid: TokenGrid,
    plan: MemoryPlan = KEEP_ALL,
    cuts: Sequence[int] = (),
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the self-attentions of `blocks` compare, their heads one after the other; arguments as for `visit_qk`.

    A mean over the heads, as the attention motion flow takes it, is then the mean over all heads of all blocks.

    Returns:
        q and k, (B, F, H, W, blocks * heads, d), after q/k norm and RoPE.

    Raises:
        ValueError: as for `visit_qk`.
    """
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    visit_qk(model, x, sigma, extra_args, blocks, grid, lambda _, q, k: found.append((q, k)), plan, cuts)
    return found[0] if len(found) == 1 else tuple(torch.cat(tokens, dim=-2) for tokens in zip(*found, strict=True))


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
) -> None:
    """Run the positive condition up to the last of `blocks` and show what each one's self-attention compares.

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

    Raises:
        ValueError: the model never reached a block's attention, or compares other tokens than x's grid.
    """
    guider = model.inner_model
    condition = _active_condition(guider, float(sigma.max()))
    network = guider.inner_model.diffusion_model
    first = first_token(network, condition, x, grid)
    seen = []

    def keep(block: int, captured: Captured) -> None:
        q, k, heads = captured
        seen.append(block)
        on_block(block, *(_on_grid(tokens[: len(x)], heads, grid, first) for tokens in (q, k)))

    shots = TokenShots(grid, cuts, first) if cuts else None
    options = _guided_options(extra_args["model_options"], blocks, plan, keep, shots)
    positive = copy.copy(model)
    positive.inner_model = _PositiveOnly(guider, condition)
    try:
        with with_recomputed_side_blocks(network, plan), _without_cached_forward(network):
            positive(x, sigma, **{**extra_args, "model_options": options})
    except _LastBlockError as last:
        keep(blocks[-1], last.captured)
    missed = sorted(set(blocks) - set(seen))
    if missed:
        raise ValueError(
            f"model: expected the forward pass to reach the self-attention of block {missed[0]}, but it did not; take "
            "out nodes that cache the model's steps or replace its blocks."
        )


class _PositiveOnly:
    """Stands where the guider stands, but runs the positive condition alone: guidance needs no CFG."""

    def __init__(self, guider: CFGGuider, condition: dict[str, Any]) -> None:
        self._guider = guider
        self._conditions = [[condition]]

    def __getattr__(self, name: str) -> object:
        return getattr(self._guider, name)

    def __call__(
        self, x: torch.Tensor, sigma: torch.Tensor, model_options: dict[str, Any], seed: int | None = None
    ) -> torch.Tensor:
        return comfy.samplers.calc_cond_batch(self._guider.inner_model, self._conditions, x, sigma, model_options)[0]


def _active_condition(guider: CFGGuider, sigma: float) -> dict[str, Any]:
    """The first of the guider's positive conditions that is active at this noise level.

    Guidance asks one prompt what moves; where several are combined, the first is the one.

    Raises:
        ValueError: none is active.
    """
    positive = guider.conds.get("positive") or next(iter(guider.conds.values()))
    for condition in positive:
        if condition.get("timestep_end", 0.0) <= sigma <= condition.get("timestep_start", math.inf):
            return condition
    raise ValueError(
        f"positive: expected a condition that is active at sigma {sigma:.3f}, got none; widen the range of its "
        "ConditioningSetTimestepRange, or lower end_percent."
    )


def _guided_options(
    model_options: dict[str, Any], blocks: Sequence[int], plan: MemoryPlan, keep: Keep, shots: TokenShots | None
) -> dict[str, Any]:
    """A copy of the model options that captures `blocks` and keeps other nodes' patches on them and before them.

    With `shots` no block's self-attention looks further than its shot.
    """
    options = comfy.model_patcher.create_model_options_clone(model_options)
    transformer = options.setdefault("transformer_options", {})
    transformer["optimized_attention_override"] = _pytorch_attention
    if _is_cache(options.get("model_function_wrapper")):
        del options["model_function_wrapper"]
    replaced = transformer.setdefault("patches_replace", {}).setdefault("dit", {})
    for index in range(blocks[-1]):
        kept = functools.partial(keep, index) if index in blocks else None
        recomputed_by = plan if index < plan.recomputed else None
        prior = replaced.get(("double_block", index))
        replaced["double_block", index] = _passing_block(prior, recomputed_by, kept, shots)
    replaced["double_block", blocks[-1]] = _last_block(replaced.get(("double_block", blocks[-1])))
    for kind in (WrappersMP.DIFFUSION_MODEL, WrappersMP.CALC_COND_BATCH, WrappersMP.APPLY_MODEL):
        for key in UNGUIDED_WRAPPERS:
            transformer.get("wrappers", {}).get(kind, {}).pop(key, None)
    return options


def _is_cache(wrapper: object) -> bool:
    """Whether a function around the whole model is another pack's cache (TeaCache and its kin), by where it is from.

    It has no key to tell it by, and would skip the guided forward or take it for one of its own steps.
    """
    if wrapper is None:
        return False
    named = wrapper if hasattr(wrapper, "__qualname__") else type(wrapper)
    # The host names a pack's modules by their whole path, whose folders above the pack's may be called anything.
    module = named.__module__.rpartition("custom_nodes")[2]
    return "cache" in f"{module}.{named.__qualname__}".lower()


@contextmanager
def _without_cached_forward(network: torch.nn.Module) -> Iterator[None]:
    """Take away a forward that a cache has hung onto the network itself, and put it back."""
    hung = vars(network).get("forward")
    if not _is_cache(hung):
        yield
        return
    del network.forward
    try:
        yield
    finally:
        network.forward = hung


def _passing_block(
    prior: Callable | None,
    plan: MemoryPlan | None,
    keep: Callable[[Captured], None] | None,
    shots: TokenShots | None,
) -> Callable:
    """A block before the last one: chained to another node's patch, recomputed by `plan`, cancellable both ways.

    With `keep`, its own q and k are outputs beside its tokens, so that a checkpoint gives all three their gradient.
    With `shots`, its self-attention looks within them.
    """

    def run_block(args: BlockArguments, extra: dict[str, BlockFunction]) -> dict[str, torch.Tensor]:
        _require_options(args)
        # Hosts write the block's index into the shared options; a recompute must see this block's.
        args = {**args, "transformer_options": dict(args["transformer_options"])}
        tokens = watch_cancel(args.pop("img"))
        block = _chained(prior, _with_frozen_closure(extra["original_block"]))

        def forward(tokens: torch.Tensor) -> tuple[torch.Tensor, Captured | None]:
            if keep is None and shots is None:
                return block({**args, "img": tokens})["img"], None
            seen: list[Captured] = []
            attention = _keeping_attention(None if keep is None else seen, shots)
            options = {**args["transformer_options"], "optimized_attention_override": attention}
            out = block({**args, "img": tokens, "transformer_options": options})["img"]
            return out, seen[0] if seen else None

        tokens, captured = forward(tokens) if plan is None else recomputed(forward, plan, tokens)
        if captured is not None:
            keep(captured)
        return {"img": tokens}

    return run_block


def _last_block(prior: Callable | None) -> Callable:
    """The block whose first attention, its self-attention, ends the forward pass."""

    def run_block(args: BlockArguments, extra: dict[str, BlockFunction]) -> dict[str, torch.Tensor]:
        watch_cancel(args["img"])
        _require_options(args)
        seen: list[Captured] = []
        options = {**args["transformer_options"], "optimized_attention_override": _ending_attention(seen)}
        try:
            out = _chained(prior, extra["original_block"])({**args, "transformer_options": options})
        except Exception:
            if not seen:
                raise
        # Whatever another node's attention did with the error that was to end it, q and k are there.
        if seen:
            raise _LastBlockError(seen[0])
        return out

    return run_block


def _require_options(args: BlockArguments) -> None:
    """Refuse a block that is not told of options: nobody could ask its attention for q and k (0.3.75's S2V)."""
    if "transformer_options" not in args:
        raise ValueError(
            "model: expected one whose blocks are given transformer_options, got one that this ComfyUI leaves without; "
            "update ComfyUI, or take another model."
        )


def _chained(prior: Callable | None, original: BlockFunction) -> BlockFunction:
    if prior is None:
        return original
    return lambda args: prior(args, {"original_block": original})


def _with_frozen_closure(function: BlockFunction) -> BlockFunction:
    """The same function over cells of its own, which keep today's values when the host's loop goes on."""
    if not isinstance(function, FunctionType) or function.__closure__ is None:
        return function
    cells = tuple(CellType(cell.cell_contents) for cell in function.__closure__)
    frozen = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    frozen.__kwdefaults__ = function.__kwdefaults__
    return frozen


def _pytorch_attention(_: Callable, *args: object, **kwargs: object) -> torch.Tensor:
    """Attention with a right backward, whatever fused kernel the host or another node chose."""
    return comfy.ldm.modules.attention.attention_pytorch(*args, **{**kwargs, "_inside_attn_wrapper": True})


def _keeping_attention(seen: list[Captured] | None, shots: TokenShots | None) -> Callable:
    """Attention as above for one run of a block, whose self-attention is noted in `seen` and looks within `shots`."""

    def own(
        function: Callable,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        heads: int,
        *args: object,
        **kwargs: object,
    ) -> torch.Tensor:
        if seen is not None:
            seen.append((q, k, heads))
        attention = functools.partial(_pytorch_attention, function)
        attend = attention if shots is None else functools.partial(shots.attend, attention)
        return attend(q, k, v, heads, *args, **kwargs)

    return own_and_others(own, _pytorch_attention)


def _ending_attention(seen: list[Captured]) -> Callable:
    """Attention that notes q and k of a block's self-attention and ends the forward."""

    def attend(
        _: Callable, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, *args: object, **kwargs: object
    ) -> NoReturn:
        if not seen:
            seen.append((q, k, heads))
        raise _LastBlockError(seen[0])

    return attend


def first_token(network: torch.nn.Module, condition: dict[str, Any], x: torch.Tensor, grid: TokenGrid) -> int:
    """Which of the tokens that a self-attention compares is the grid's first; the grid is that of x's last frames.

    Before it stand x's first frames, where those are references, and the tokens of references that some models put
    there (others put them at the end).
    """
    frames = TokenGrid.of_latent(x.shape, tuple(network.patch_size)).frames - grid.frames
    return frames * grid.height * grid.width + _tokens_put_before(network, condition, grid)


def _tokens_put_before(network: torch.nn.Module, condition: dict[str, Any], grid: TokenGrid) -> int:
    """Fun-Control puts one frame before the latent's tokens, SCAIL as many as its reference latent has."""
    reference = condition.get("model_conds", {}).get("reference_latent")
    if reference is None:
        return 0
    if getattr(network, "ref_conv", None) is not None:
        return grid.height * grid.width
    if hasattr(network, "patch_embedding_pose"):
        return TokenGrid.of_latent(reference.cond.shape, tuple(network.patch_size)).tokens
    return 0


def leading_references(guider: CFGGuider) -> int:
    """How many of a latent's first frames are not the video's: VACE's and Animate's nodes put reference images there.

    Animate's is one. VACE's are frames that VACE's mask leaves alone and that hold nothing to be changed: a frame of
    the video that is kept holds grey there, which is not nothing once it is encoded.

    Args:
        guider: with its conditions processed.
    """
    conditions = guider.conds.get("positive") or next(iter(guider.conds.values()))
    if hasattr(guider.inner_model.diffusion_model, "pose_patch_embedding"):
        return int("concat_latent_image" in conditions[0])
    context = conditions[0].get("model_conds", {}).get("vace_context")
    if context is None:
        return 0
    # (B, videos, 16 channels of what is kept, 16 of what is changed and 64 of the mask, F, h, w)
    changed = context.cond[:, :, 16:].abs().amax((0, 1, 2, 4, 5)) > NOTHING
    return int(changed.int().argmax()) if bool(changed.any()) else 0


def _on_grid(tokens: torch.Tensor, heads: int, grid: TokenGrid, first: int) -> torch.Tensor:
    """(B, L, heads * d) -> (B, F, H, W, heads, d)."""
    if tokens.shape[1] < first + grid.tokens:
        raise ValueError(
            f"model: expected the attention to compare all {grid}, got {tokens.shape[1]} tokens; context windows and "
            "conditioning areas cut the clip up and cannot be combined with motion guidance, remove those nodes."
        )
    return rearrange(
        tokens[:, first : first + grid.tokens],
        "b (f h w) (n d) -> b f h w n d",
        f=grid.frames,
        h=grid.height,
        w=grid.width,
        n=heads,
    )
