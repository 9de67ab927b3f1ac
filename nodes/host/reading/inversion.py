"""Reading a reference's motion (DiT inversion). Trap: a motion outlives the run, and what is made under inference
mode could never meet a gradient again."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from comfy.utils import ProgressBar

from ....fastvmt_core.attention.flow import AttentionMotionFlow
from ....fastvmt_core.attention.windows import Tiling
from ....fastvmt_core.config import AMFConfig, CutConfig, CutHandling, InversionConfig
from ....fastvmt_core.grid import first_video_frame, latent_frames, video_length
from ....fastvmt_core.motion.bounds import bounded
from ....fastvmt_core.motion.chunks import chunk_starts, joined
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
from .reader import NoisedReference, Read, noise_of, read_reference

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
    chunk_length: int = InversionConfig().chunk_length,
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
        chunk_length: frames of the clip that are read at once, or as many as the model's context windows have; a
            longer one is read in chunks that share `temporal_span` latent frames. 0: all of it.

    Raises:
        ValueError: the latent does not fit the model, is not finite, or holds several clips or a single frame.
    """
    video_model = VideoModel.of(model)
    stride = video_model.fingerprint(blocks).temporal_stride
    require_video_latent("reference", reference, video_model.latent_channels)
    if len(reference) != 1:
        raise ValueError(f"reference: expected one clip, got {len(reference)}; take one by Latent From Batch.")
    if reference.shape[2] < 2:
        raise ValueError(
            "reference: expected at least 2 frames of the latent, got 1, which shows no motion; use a clip of at least "
            f"{stride + 1} frames."
        )
    frames, grid = reference.shape[2], video_model.grid(reference)
    config = objective.flow_config(config, frames)
    windows = getattr(model.model_options.get("context_handler"), "context_length", frames)
    length = _frames_at_once(objective, config, frames, chunk_length, windows, stride)
    model = _evaluated_at_once(model, length)
    starts = chunk_starts(frames, length, config.temporal_span)
    noise = noise_of(reference, seed)
    parts = [slice(start, min(frames, start + length)) for start in starts]
    clips = [
        _Clip(model, reference[:, :, part], noise[:, :, part], empty_prompt, tuple(blocks), seed) for part in parts
    ]
    bar = ProgressBar(len(clips) * (len(sigmas) + (cuts == "detect")))
    if cuts == "detect":
        found = [_detected_cuts(clip, min(sigmas), bar) for clip in clips]
        cuts = tuple(sorted({start + cut for start, of_clip in zip(starts, found, strict=True) for cut in of_clip}))
        _report_cuts(cuts, stride)
    elif cuts == "ignore":
        cuts = ()
    motions = []
    for clip, part in zip(clips, parts, strict=True):
        within = tuple(cut - part.start for cut in cuts if part.start < cut < part.stop)
        motions.append(_read(clip, config, sigmas, within, objective, bar))
    with torch.inference_mode(False):
        motion = joined(motions, starts)
        if frame_flow is not None:
            frame_flow = bounded(shot_by_shot(steps_on_tokens(frame_flow, grid), cuts), grid)
        return dataclasses.replace(motion, frame_flow=frame_flow)


@dataclass(frozen=True, eq=False)
class _Clip:
    """What is read at once: a reference, or a chunk of it."""

    model: ModelPatcher
    latent: torch.Tensor
    """(1, C, F, h, w), the VAE's."""
    noise: torch.Tensor
    """The same shape."""
    empty_prompt: list
    blocks: tuple[int, ...]
    seed: int

    def read(self, sigmas: Sequence[float], bar: ProgressBar, read: Read) -> torch.Tensor:
        """See `reader.read_reference`."""
        return read_reference(self.model, self.latent, self.empty_prompt, sigmas, self.seed, bar, read, self.noise)


def _frames_at_once(
    objective: Method, config: AMFConfig, frames: int, chunk_length: int, window: int, stride: int
) -> int:
    """Latent frames that are read at once, of a clip's; `window` are those of the model's context windows, `stride` the
    VAE's frames to a latent frame."""
    most = latent_frames(video_length(chunk_length, stride), stride) if chunk_length else frames
    if most < frames and most <= config.temporal_span and not objective.whole_clip:
        raise ValueError(
            f"chunk_length: expected 0 or at least {first_video_frame(config.temporal_span + 1, stride)} frames with a "
            f"temporal_span of {config.temporal_span}, got {chunk_length}; raise it, or lower temporal_span."
        )
    # Every pair of frames lies in a chunk, be the windows as short as they may.
    length = min(frames, most, max(window, config.temporal_span + 1))
    if length < frames and objective.whole_clip:
        logging.info(
            "FastVMT: all %d latent frames are read at once, as %s compares all of them.", frames, objective.name
        )
        return frames
    return length


def _evaluated_at_once(model: ModelPatcher, frames: int) -> ModelPatcher:
    """The model, or a clone whose context windows are no shorter than so many latent frames."""
    handler = model.model_options.get("context_handler")
    if getattr(handler, "context_length", frames) >= frames:
        return model
    model, handler = model.clone(), copy.copy(handler)
    handler.context_length = frames
    model.model_options["context_handler"] = handler
    return model


def _read(
    clip: _Clip,
    config: AMFConfig,
    sigmas: Sequence[float],
    cuts: tuple[int, ...],
    objective: Method,
    bar: ProgressBar,
) -> MotionEmbedding:
    """The motion of what is read at once."""
    video_model = VideoModel.of(clip.model)
    flows = _FlowReader(objective, config, clip.blocks, cuts)
    latent = clip.read(sigmas, bar, flows)
    halves = flows.at_half_size if len(flows.at_half_size) == len(sigmas) else []
    return MotionEmbedding(
        flows=tuple(flows.forward),
        sigmas=tuple(sigmas),
        grid=video_model.grid(clip.latent),
        config=config,
        seed=clip.seed,
        fingerprint=video_model.fingerprint(clip.blocks),
        reference=latent,
        reference_hash=hash_of_reference(latent),
        cuts=cuts,
        static_bias=tuple(flows.static_bias),
        backward=tuple(flows.backward),
        half_displacement=tuple(flow.displacement for flow in halves),
        half_centres=tuple(flow.centres for flow in halves),
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
        chunk_length=max(
            InversionConfig().chunk_length,
            first_video_frame(motion.config.temporal_span + 1, motion.fingerprint.temporal_stride),
        ),
    )
    return dataclasses.replace(
        read,
        frame_flow=motion.frame_flow,
        mask=motion.mask,
        about=motion.about,
        thumbnail=motion.thumbnail,
        reference_hash=motion.reference_hash,
    )


def _detected_cuts(clip: _Clip, sigma: float, bar: ProgressBar) -> list[int]:
    """The latent frames that begin a shot, by the keys of the read blocks at one noise level."""
    cuts: list[int] = []

    def read(reference: NoisedReference) -> None:
        _, k = reference.queries_and_keys(reference.latent, clip.blocks)
        cuts.extend(find_cuts(k, CutConfig()))

    clip.read((sigma,), bar, read)
    return cuts


def _report_cuts(cuts: Sequence[int], stride: int) -> None:
    if cuts:
        places = ", ".join(f"near frame {first_video_frame(cut, stride)}" for cut in cuts)
        logging.info("FastVMT: the reference seems to be cut %s of the clip (from 0); each shot is read alone.", places)
    else:
        logging.info("FastVMT: no cut found in the reference.")


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
        except (ValueError, RuntimeError, AssertionError) as error:
            # Only a resolution of half needs it, which then refuses the motion; Mochi asserts that patches fit.
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
