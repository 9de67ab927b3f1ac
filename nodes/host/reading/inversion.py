"""Reading a reference's motion (DiT inversion). Trap: a motion outlives the run, and what is made under inference
mode could never meet a gradient again."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from comfy.utils import ProgressBar

from ....fastvmt_core.attention.flow import AttentionMotionFlow
from ....fastvmt_core.attention.windows import Tiling
from ....fastvmt_core.config import AMFConfig, CutConfig, CutHandling
from ....fastvmt_core.grid import SHORTEST_MOTION, first_video_frame
from ....fastvmt_core.motion.bounds import bounded
from ....fastvmt_core.motion.clip_flow import steps_on_tokens
from ....fastvmt_core.motion.embedding import MotionEmbedding
from ....fastvmt_core.motion.fields import reversed_centres, shot_by_shot
from ....fastvmt_core.motion.fingerprint import hash_of_reference
from ....fastvmt_core.motion.half_size import half_config, shows_motion
from ....fastvmt_core.objectives.method import Method
from ....fastvmt_core.objectives.protocol import Signals
from ....fastvmt_core.objectives.registry import DEFAULT, method_for
from ....fastvmt_core.video.cuts import find_cuts
from ..models.video_model import VideoModel, require_video_latent
from .reader import NoisedReference, read_reference

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


def invert_motion(
    model: ModelPatcher,
    reference: torch.Tensor,
    empty_prompt: list,
    config: AMFConfig,
    blocks: Sequence[int],
    sigmas: Sequence[float],
    seed: int,
    cuts: CutHandling | tuple[int, ...],
    frame_flow: torch.Tensor | None = None,
    objective: Method = DEFAULT,
) -> MotionEmbedding:
    """The motion of a reference: its attention motion flow at each noise level.

    Args:
        model: a native Wan-type model.
        reference: (1, C, F, h, w), the VAE's latent.
        empty_prompt: CONDITIONING of the empty text.
        config: how the flow is read.
        blocks: counted from 0, in rising order; several are averaged.
        sigmas: noise levels in (0, 1].
        seed: of the noise, made as the host's samplers make it.
        cuts: frames of the latent that begin a new shot; "detect" looks for them at the lowest noise level, "ignore"
            takes the reference for one shot. Each shot is read by itself.
        frame_flow: (2, F - 1, h, w, 2) of the clip on the latent's pixels (`clip_flow.clip_steps`); without it, the
            latent is matched where a frame flow is needed.
        objective: what the motion is read for.

    Raises:
        ValueError: the latent does not fit the model, is not finite, or holds several clips or a single frame.
    """
    video_model = VideoModel.of(model)
    require_video_latent("reference", reference, video_model.latent_channels)
    if len(reference) != 1:
        raise ValueError(f"reference: expected one clip, got {len(reference)}; take one by Latent From Batch.")
    if reference.shape[2] < 2:
        raise ValueError(
            "reference: expected at least 2 frames of the latent, got 1, which shows no motion; use a clip of at least "
            f"{SHORTEST_MOTION} frames."
        )
    bar = ProgressBar(len(sigmas) + (cuts == "detect"))
    if cuts == "detect":
        cuts = _detected_cuts(model, reference, empty_prompt, blocks, min(sigmas), seed, bar)
    elif cuts == "ignore":
        cuts = ()
    config = objective.flow_config(config, reference.shape[2])
    flows = _FlowReader(objective, config, tuple(blocks), tuple(cuts))
    latent = read_reference(model, reference, empty_prompt, sigmas, seed, bar, flows)
    grid = video_model.grid(reference)
    halves = flows.at_half_size if len(flows.at_half_size) == len(sigmas) else []
    if frame_flow is not None:
        with torch.inference_mode(False):
            frame_flow = bounded(shot_by_shot(steps_on_tokens(frame_flow, grid), cuts), grid)
    return MotionEmbedding(
        flows=tuple(flows.forward),
        sigmas=tuple(sigmas),
        grid=grid,
        config=config,
        seed=seed,
        fingerprint=video_model.fingerprint(blocks),
        reference=latent,
        reference_hash=hash_of_reference(latent),
        cuts=cuts,
        static_bias=tuple(flows.static_bias),
        backward=tuple(flows.backward),
        half_displacement=tuple(flow.displacement for flow in halves),
        half_centres=tuple(flow.centres for flow in halves),
        frame_flow=frame_flow,
        objective=objective.name,
        targets=tuple(flows.targets) if all(flows.targets) else (),
    )


def read_again(model: ModelPatcher, motion: MotionEmbedding, empty_prompt: list) -> MotionEmbedding:
    """The motion of its own reference latent, edited or not, as this model sees it; all else is kept.

    Raises:
        ValueError: the model is of another kind, or the motion holds no latent.
    """
    VideoModel.of(model).require_motion(motion)
    if motion.reference is None:
        raise ValueError(
            "motion: expected one that holds its reference's latent, got one without; save it with keep_reference, or "
            "guide by it as it is."
        )
    with torch.inference_mode(False):
        latent = model.get_model_object("latent_format").process_out(motion.reference.float().clone())
    read = invert_motion(
        model=model,
        reference=latent,
        empty_prompt=empty_prompt,
        config=motion.config,
        blocks=motion.fingerprint.blocks,
        sigmas=motion.sigmas,
        seed=motion.seed,
        cuts=motion.cuts,
        objective=method_for(motion),
    )
    return dataclasses.replace(
        read,
        frame_flow=motion.frame_flow,
        mask=motion.mask,
        about=motion.about,
        thumbnail=motion.thumbnail,
        reference_hash=motion.reference_hash,
    )


def _detected_cuts(
    model: ModelPatcher,
    reference: torch.Tensor,
    empty_prompt: list,
    blocks: Sequence[int],
    sigma: float,
    seed: int,
    bar: ProgressBar,
) -> tuple[int, ...]:
    """The latent frames that begin a shot, by the keys of the read blocks at one noise level."""
    cuts: list[int] = []

    def read(reference: NoisedReference) -> None:
        _, k = reference.queries_and_keys(reference.latent, blocks)
        cuts.extend(find_cuts(k, CutConfig()))

    read_reference(model, reference, empty_prompt, (sigma,), seed, bar, read)
    if cuts:
        stride = VideoModel.of(model).fingerprint(blocks).temporal_stride
        places = ", ".join(f"near frame {first_video_frame(cut, stride)}" for cut in cuts)
        logging.info("FastVMT: the reference seems to be cut %s of the clip (from 0); each shot is read alone.", places)
    else:
        logging.info("FastVMT: no cut found in the reference.")
    return tuple(cuts)


@dataclass(frozen=True)
class _FlowReader:
    """Reads the flows of one motion, level by level; see `reader.Read`.

    With AMF(clip) the flow of a clip, and (.)_rev that of the clip played backwards:

        static_bias = AMF(still), the latent's mean in every place, under the same noise
        backward = static_bias + (AMF(clip)_rev - AMF(still)_rev)

    A model's bias is not the same towards the past: the forward one stands in its place.
    """

    objective: Method
    config: AMFConfig
    blocks: tuple[int, ...]
    cuts: tuple[int, ...]
    forward: list[AttentionMotionFlow] = field(default_factory=list)
    static_bias: list[torch.Tensor] = field(default_factory=list)
    """(P, H, W, 2) a level."""
    backward: list[torch.Tensor] = field(default_factory=list)
    """(P, H, W, 2) a level."""
    at_half_size: list[AttentionMotionFlow] = field(default_factory=list)
    """The clip's flow at half the latent's height and width; none where that is too small, the model refuses it, or
    the objective compares more than the flow."""
    targets: list[dict[str, torch.Tensor]] = field(default_factory=list)
    """What the objective reads besides the flow, on the CPU, a level."""

    def __call__(self, reference: NoisedReference) -> None:
        signals = reference.signals(reference.latent, self.objective.reads(self.blocks), self.cuts)
        clip = self._flow(signals)
        clip_reversed = self._reversed(signals, clip)
        with torch.inference_mode(False):
            target = self.objective.read(signals)
            self.targets.append({name: tensor.to("cpu", torch.float32) for name, tensor in target.items()})
        del signals
        if shows_motion(clip.grid) and not target:
            self._read_at_half_size(reference)
        still = reference.latent.mean((2, 3, 4), keepdim=True).expand_as(reference.latent)
        signals = reference.signals(still, self.objective.flow_signals(self.blocks), self.cuts)
        bias, bias_reversed = self._flow(signals, clip.centres), self._reversed(signals, clip)
        with torch.inference_mode(False):
            self.forward.append(clip)
            self.static_bias.append(bias.displacement.clone())
            backward = bias.displacement + clip_reversed.displacement - bias_reversed.displacement
            self.backward.append(bounded(backward, clip.grid))

    def _read_at_half_size(self, reference: NoisedReference) -> None:
        try:
            needs = self.objective.flow_signals(self.blocks)
            signals = reference.signals(reference.latent, needs, self.cuts, half=True)
        except (ValueError, RuntimeError) as error:
            # Only a resolution of half needs it, which then refuses the motion.
            logging.info("FastVMT: the motion is read at its own size alone: %s", error)
        else:
            self.at_half_size.append(self._flow(signals, config=half_config(self.config)))

    def _flow(
        self, signals: Signals, centres: torch.Tensor | None = None, config: AMFConfig | None = None
    ) -> AttentionMotionFlow:
        with torch.inference_mode(False):
            return self.objective.flow(signals, config or self.config, centres).to("cpu")

    def _reversed(self, signals: Signals, flow: AttentionMotionFlow) -> AttentionMotionFlow:
        tiling = Tiling(flow.grid.height, flow.grid.width, self.config.tile)
        return self._flow(signals.reversed(), reversed_centres(flow, tiling))
