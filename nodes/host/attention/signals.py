"""The signals that an objective asks for, of every clip of a latent. Trap: a later block may write into its input, and
the whole model runs without gradient, so that what it predicts is a constant."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import comfy.model_patcher
import torch

from ....fastvmt_core.budget.memory import KEEP_ALL, MemoryPlan
from ....fastvmt_core.grid import TokenGrid
from ....fastvmt_core.objectives.protocol import Needs, Signals
from ..models.noise_levels import is_flow
from ..models.video_model import VideoModel
from .blocks import within_shots
from .caches import leave_out_caches, without_cached_forward
from .capture import active_condition, positive_only, visit
from .shots import TokenShots

if TYPE_CHECKING:
    from comfy.samplers import KSamplerX0Inpaint

OnValues = Callable[[torch.Tensor], None]
"""Is given the last block's v, (B, F, H, W, heads, d), and without gradient."""


def signals_of(
    model: KSamplerX0Inpaint,
    x: torch.Tensor,
    sigma: torch.Tensor,
    extra_args: dict[str, Any],
    needs: Needs,
    grid: TokenGrid,
    plan: MemoryPlan = KEEP_ALL,
    cuts: Sequence[int] = (),
    on_values: OnValues | None = None,
    half: bool = False,
) -> list[Signals]:
    """What an objective needs of a latent, for each of its clips; other arguments as for `capture.visit`.

    The heads of several blocks stand side by side: a mean over the heads, as the attention motion flow takes it, is
    then the mean over all heads of all blocks.

    Args:
        on_values: called once, with v of the last block that is read.

    Raises:
        ValueError: as for `capture.visit`, or the prediction of a model that is sampled as no flow is needed.
    """
    if needs.velocity and not is_flow(model.inner_model.inner_model.model_sampling):
        raise ValueError(
            "objective: expected one that reads the model's attention, got one that follows what the whole model "
            "predicts (FlowMotion), which this model does not predict as a flow; take another objective."
        )
    captured = _captured(model, x, sigma, extra_args, needs, grid, plan, cuts, on_values, half)
    joined = {name: _joined(tokens, -1 if name == "hidden" else -2) for name, tokens in captured.items() if tokens}
    if needs.velocity:
        joined["velocity"] = predicted_velocity(model, x, sigma, extra_args, grid, cuts)[:, :, -grid.frames :]
        joined["latent"] = x[:, :, -grid.frames :]
    level = float(sigma.max()) if needs.velocity else None
    return [Signals(**{name: t[clip] for name, t in joined.items()}, sigma=level) for clip in range(len(x))]


def predicted_velocity(
    model: KSamplerX0Inpaint,
    x: torch.Tensor,
    sigma: torch.Tensor,
    extra_args: dict[str, Any],
    grid: TokenGrid,
    cuts: Sequence[int] = (),
) -> torch.Tensor:
    """(B, C, F, h, w): noise less clip as the whole model predicts it for the positive condition, without gradient."""
    guider = model.inner_model
    condition = active_condition(guider, float(sigma.max()))
    video_model = VideoModel.of_run(guider)
    options = comfy.model_patcher.create_model_options_clone(extra_args["model_options"])
    if cuts:
        shots = TokenShots(grid, cuts, video_model.first_token(condition, x, grid))
        options = within_shots(options, shots, video_model.blocks(), logging.warning)
    leave_out_caches(options)
    positive = positive_only(model, condition)
    with torch.no_grad(), without_cached_forward(video_model.network):
        clip = positive(x.detach(), sigma, **{**extra_args, "model_options": options})
        return (x.detach() - clip) / sigma.reshape(-1, 1, 1, 1, 1)


def _captured(
    model: KSamplerX0Inpaint,
    x: torch.Tensor,
    sigma: torch.Tensor,
    extra_args: dict[str, Any],
    needs: Needs,
    grid: TokenGrid,
    plan: MemoryPlan,
    cuts: Sequence[int],
    on_values: OnValues | None,
    half: bool,
) -> dict[str, list[torch.Tensor]]:
    """q, k, v and hidden as `needs` wants them, (B, F, H, W, ...) each, block by block."""
    captured: dict[str, list[torch.Tensor]] = {"q": [], "k": [], "v": [], "hidden": []}
    last = needs.whole_blocks - 1 if needs.hidden and not needs.attended else max(needs.attended, default=-1)
    shown = on_values is not None and last >= 0

    def on_attention(block: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
        if block in needs.queries_and_keys:
            captured["q"].append(q)
            captured["k"].append(k)
        if block in needs.values:
            captured["v"].append(v)
        if shown and block == last:
            on_values(v.detach())

    attended = tuple(sorted({*needs.attended, *((last,) if shown else ())}))
    if attended or needs.hidden:
        on_hidden = captured["hidden"].append
        visit(model, x, sigma, extra_args, attended, needs.hidden, grid, on_attention, on_hidden, plan, cuts, half)
    return captured


def _joined(tokens: list[torch.Tensor], axis: int) -> torch.Tensor:
    """What several blocks gave, side by side along an axis."""
    return tokens[0] if len(tokens) == 1 else torch.cat(tokens, dim=axis)
