"""Fitting the gradient into memory. Trap: the host makes room for a forward pass only and fails when the card is
full; here there is still a smaller plan."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import comfy.model_management
import torch

from ....fastvmt_core.attention.chunked import piece_bytes
from ....fastvmt_core.budget.memory import GuidedPass, MemoryPlan, least_free, plan_memory, step_down
from ....fastvmt_core.budget.time import measured_rates, run_seconds
from ....fastvmt_core.grid import TokenGrid
from ..models.half_size import halved_condition
from ..models.video_model import VideoModel, positive_conditions
from .lent_weights import QUANTISED
from .precision import computing_dtype
from .recompute import give_back_pinned_memory

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import CFGGuider

    from ....fastvmt_core.config import MemoryLevel, Resolution

Result = TypeVar("Result")
GB = 1e9
OUT_OF_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""Texts of other errors that mean it too."""


class GuidedMemory:
    """The plan by which a run's gradients are evaluated, and what happens when it does not fit.

    Args:
        guider: that of the run, with its model loaded and its conditions processed.
        noise: (B, C, F, h, w), of the run.
        grid: the token grid of noise, or of what of it the model is evaluated on at once.
        block: the last one that is read, or one more than the last that is read whole.
        level: of the plan.
        whole_passes: whether each gradient also takes a pass through the whole model, without gradient.
        resolution: of the gradients; the plan is that of the largest.
        windows: how many such parts the model is evaluated on, one after the other.
    """

    def __init__(
        self,
        guider: CFGGuider,
        noise: torch.Tensor,
        grid: TokenGrid,
        block: int,
        level: MemoryLevel,
        whole_passes: bool = False,
        resolution: Resolution = "full",
        windows: int = 1,
    ) -> None:
        self._guider, self._whole_passes, self._windows = guider, whole_passes, windows
        self._device = guider.model_patcher.load_device
        self._clips, self._grid, self._block = len(noise), grid, block
        self._at_most_half = resolution == "half"
        self.sizes = self._measured()
        # What the level would like best; auto takes less only where that cannot be had.
        self._make_room(self.sizes.needed(plan_memory(self.sizes, level, math.inf)))
        self._put_away, self._free_before = 0, self._free()
        # Twice, for weights that wait elsewhere are copied at use, which takes some more.
        for _ in range(2):
            if self._put_away_weights(least_free(self.sizes) - self._free()):
                self.sizes = self._measured()
        self.plan = plan_memory(self.sizes, level, self._free())

    @property
    def estimate(self) -> dict[str, Any]:
        """The plan as the page shows it."""
        return estimate_of(self.sizes, self.plan, self._free())

    def run_estimate(self, gradients: int, steps: int, half_gradients: int = 0) -> dict[str, Any]:
        """The same with the seconds of a run of so many gradients, others at half size, and denoising steps."""
        base = self._guider.inner_model
        dtype = computing_dtype(base)
        passes = steps * (1 if math.isclose(getattr(self._guider, "cfg", 1.0), 1.0) else 2)
        passes += gradients * self._whole_passes
        depth = VideoModel.of_run(self._guider).depth
        whole = sizes_of(self._guider, self._clips, self._grid, self._block)
        half = sizes_of(self._guider, self._clips, self._grid, self._block, half=True) if half_gradients else None
        try:
            rates = measured_rates(whole, self._device, dtype)
        except RuntimeError as error:
            # A run must not end because its time cannot be estimated.
            logging.info("FastVMT: the device could not be timed: %s", error)
            return self.estimate
        seconds = self._windows * run_seconds(whole, self.plan, rates, gradients, passes, depth, half, half_gradients)
        return {**self.estimate, "seconds": round(seconds, 1)}

    def attempt(self, evaluate: Callable[[], Result]) -> Result:
        """evaluate(), a second time by a smaller plan where memory runs out.

        Raises:
            torch.OutOfMemoryError: the second time failed too, or there is no smaller plan; the message names what to
                lower.
        """
        try:
            return evaluate()
        except RuntimeError as error:
            message = _out_of_memory_message(error)
        # Only here, where the error is gone and with it all that its frames held.
        self._step_down(message)
        try:
            return evaluate()
        except RuntimeError as error:
            raise self._hopeless(_out_of_memory_message(error)) from None

    def release(self) -> None:
        """Give back what the gradients took, as soon as no more are evaluated: an ordinary step needs less.

        Weights that were put away return to the card, as many as there is room for now, and pinned memory to the
        system. A second time it does nothing.
        """
        give_back_pinned_memory()
        if not self._put_away:
            return
        comfy.model_management.soft_empty_cache()
        patcher, room = self._guider.model_patcher, self._free() - self._free_before
        # The host leaves one layer's buffer free where some weights wait; where all of them fit, none is needed.
        wanted = self._put_away + patcher.model.model_offload_buffer_memory + 1
        self._put_away, extra = 0, wanted if room >= self._put_away else room
        if extra > 0:
            patcher.partially_load(patcher.load_device, extra)

    def _measured(self) -> GuidedPass:
        """The sizes of the largest gradient."""
        return sizes_of(self._guider, self._clips, self._grid, self._block, self._at_most_half)

    def _step_down(self, message: str) -> None:
        self._make_room(self.sizes.needed(self.plan))
        smaller = step_down(self.sizes, self.plan, self._free())
        if smaller is None:
            raise self._hopeless(message)
        self.plan = smaller
        logging.warning("FastVMT: out of memory; once more with %s.", estimate_text(self.estimate))

    def _hopeless(self, message: str) -> torch.OutOfMemoryError:
        return torch.OutOfMemoryError(
            f"memory: the motion's gradient does not fit even with {estimate_text(self.estimate)}. Lower width, "
            "height, length or batch_size of the latent (and read the motion again), read it from an earlier block "
            f"(Invert Motion), or load the model with weight_dtype fp8_e4m3fn. PyTorch reports: {message}"
        )

    def _make_room(self, needed: int) -> None:
        """Ask the host to put away models that this run does not use, where less than `needed` is free."""
        if self._free() >= needed:
            return
        ours = self._guider.model_patcher.model
        # ControlNets and the like, which the conditions brought along, and what patches run.
        others = {id(patcher) for patcher in getattr(self._guider, "loaded_models", None) or ()}
        others |= {id(patcher) for patcher in self._guider.model_patcher.model_patches_models()}
        used = [
            loaded
            for loaded in comfy.model_management.current_loaded_models
            if loaded.model is not None and (loaded.model.model is ours or id(loaded.model) in others)
        ]
        comfy.model_management.free_memory(needed, self._device, keep_loaded=used)

    def _put_away_weights(self, missing: float) -> bool:
        """Let `missing` bytes of the model's own weights wait off the card; returns whether any was missing.

        The host fills the card with them up to what an ordinary pass needs, which is less than a gradient does.
        """
        patcher = self._guider.model_patcher
        if missing <= 0 or not _can_wait_elsewhere(patcher):
            return False
        freed = patcher.partially_unload(patcher.offload_device, missing)
        self._put_away += freed
        logging.info("FastVMT: %.1f GB of the model's weights wait off the card, to make room.", freed / GB)
        return True

    def _free(self) -> float:
        # A host that streams weights counts those that it would give up.
        ask = getattr(self._guider.model_patcher, "get_free_memory", comfy.model_management.get_free_memory)
        return float(ask(self._device))


def _out_of_memory_message(error: RuntimeError) -> str:
    """The text of an out-of-memory error; hosts of 2026 know more of them than PyTorch's own class.

    Raises:
        RuntimeError: the error itself, where it means something else.
    """
    known = getattr(comfy.model_management, "is_oom", None)
    message = str(error)
    ours = isinstance(error, torch.OutOfMemoryError) or any(text in message for text in OUT_OF_MEMORY)
    if not ours and (known is None or not known(error)):
        raise error
    return message


def _can_wait_elsewhere(patcher: ModelPatcher) -> bool:
    # A host that streams weights puts them away by itself, when something else needs their place.
    if getattr(patcher, "is_dynamic", bool)():
        return False
    # Apple's GPU and CPU share one memory: moved weights would lie in it twice.
    return patcher.load_device != patcher.offload_device and patcher.load_device.type != "mps"


def sizes_of(guider: CFGGuider, batch: int, grid: TokenGrid, block: int, half: bool = False) -> GuidedPass:
    """The sizes of a guided pass up to `block` of the guider's model, in its computing dtype.

    With `half` those of a pass at half the height and width of the latent, whose own grid is `grid`.
    """
    video_model, dtype = VideoModel.of_run(guider), computing_dtype(guider.inner_model)
    device, sizes, family = guider.model_patcher.load_device, video_model.sizes, video_model.family
    conditions = positive_conditions(guider)
    if half:
        grid, conditions = grid.halved, [halved_condition(family, each) for each in conditions]
    tokens = grid.tokens + video_model.tokens_beside(conditions)
    return GuidedPass(
        batch=batch,
        tokens=tokens,
        dim=sizes.dim,
        ffn_dim=sizes.ffn_dim,
        blocks=block,
        bytes_per_value=torch.empty(0, dtype=dtype).element_size(),
        side_blocks=sum(side.beside < block for side in video_model.side_blocks()),
        # The host may have put away some blocks and not others.
        attention_pieces=piece_bytes(batch, sizes.heads, tokens, sizes.dim // sizes.heads, dtype, device),
        **dataclasses.asdict(family.memory(video_model.network, block)),
        head_dim=sizes.dim // sizes.heads,
        weight_copies=max(weight_copies(each.module, dtype, device) for each in video_model.blocks()[: block + 1]),
    )


def weight_copies(block: torch.nn.Module, dtype: torch.dtype, device: torch.device) -> int:
    """Bytes of the copies that this block's layers make of weights: cast, moved, lent, unpacked or patched at use."""
    width = torch.empty(0, dtype=dtype).element_size()
    copied = 0
    for layer in block.modules():
        for name, weight in layer._parameters.items():
            if weight is None or weight.ndim < 2:
                continue
            in_place = weight.dtype == dtype and weight.device == device and not isinstance(weight, QUANTISED)
            if not in_place or getattr(layer, f"{name}_function", None):
                # By its shape: a packed weight (GGUF's) counts bytes as its elements.
                copied += math.prod(weight.shape) * width
    return copied


def estimate_of(sizes: GuidedPass, plan: MemoryPlan, free: float) -> dict[str, Any]:
    """What a pass costs by a plan, as plain JSON: gigabytes beside the model, and how many blocks are recomputed."""
    return {
        "needed_gb": round(sizes.needed(plan) / GB, 2),
        "free_gb": round(free / GB, 2),
        "recomputed_blocks": plan.recomputed,
        "blocks": sizes.blocks,
        "offloaded": plan.offloaded,
    }


def estimate_text(estimate: dict[str, Any]) -> str:
    """An estimate as a person reads it."""
    count, blocks = estimate["recomputed_blocks"], estimate["blocks"]
    text = f"{count} of {blocks} blocks recomputed" if count else "all blocks kept"
    text += ", their inputs in system RAM" if estimate["offloaded"] else ""
    text += f", about {estimate['needed_gb']:.1f} GB beside the model ({estimate['free_gb']:.1f} GB are free)"
    seconds = estimate.get("seconds")
    if seconds is None:
        return text
    return f"{text}, about {seconds:.0f} s" if seconds < 100 else f"{text}, about {seconds / 60:.0f} min"
