"""A reference's motion as one value: its flows, what they were read from, and what stands beside them.

Axes: P pairs of latent frames, F latent frames, H and W rows and columns of tokens, C channels of the latent, h and w
its rows and columns.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..attention.flow import AttentionMotionFlow
from ..attention.windows import frame_pairs
from ..config import AMFConfig
from ..grid import TokenGrid
from .about import About
from .file import MotionFile, naming
from .fingerprint import ModelFingerprint
from .header import FASTVMT, Header
from .parts import PARTS, Part
from .targets import of_file, shapes_of, to_file


@dataclass(frozen=True, eq=False)
class MotionEmbedding:
    """The motion of one reference clip, ready to guide any prompt.

    Raises:
        ValueError: a field contradicts the others or holds a value that no flow can have; the message names it.
    """

    flows: tuple[AttentionMotionFlow, ...]
    """One flow per noise level. Their window keys are not needed and not saved."""
    sigmas: tuple[float, ...]
    """The noise levels in [0, 1] that the flows were read at."""
    grid: TokenGrid
    """Token grid of the reference."""
    config: AMFConfig
    """Settings that the flows were read with."""
    seed: int
    """Seed of the noise that was added to the reference."""
    fingerprint: ModelFingerprint
    """The model that the flows were read from."""
    reference: Tensor | None
    """(1, C, F, h, w), model space: the reference's latent, for flows at other noise levels and a start from it."""
    reference_hash: str
    """Identity of the reference: `hash_of_reference` of its latent, known even if the latent itself is not kept."""
    cuts: tuple[int, ...] = ()
    """Latent frames that begin a new shot of the reference, in rising order; nothing is matched across one."""
    static_bias: tuple[Tensor, ...] = ()
    """One (P, H, W, 2) per flow, or none, tokens: the displacements that the model's attention shows for a clip without
    motion. An edit carries what the flow has beyond it."""
    backward: tuple[Tensor, ...] = ()
    """One (P, H, W, 2) per flow, or none, tokens: the displacements of the reference played backwards."""
    frame_flow: Tensor | None = None
    """(2, F - 1, H, W, 2) tokens, as `trajectories.latent_steps` estimates it; None: not estimated yet."""
    half_displacement: tuple[Tensor, ...] = ()
    """One (P, H / 2, W / 2, 2) per flow, or none, tokens of that grid: the flow at half the height and width."""
    half_centres: tuple[Tensor, ...] = ()
    """One (P, tiles, 2) per flow, or none: the window centres of that."""
    mask: Tensor | None = None
    """(F, H, W) in [0, 1]: how much each token is guided; None is all of them."""
    about: About = About()
    """What a list of motions shows."""
    thumbnail: Tensor | None = None
    """(h, w, 3) uint8, a small image of the reference."""
    objective: str = FASTVMT
    """Name of the objective that the motion was read for."""
    targets: tuple[Mapping[str, Tensor], ...] = ()
    """What that objective compares besides the flows, by its own names: one mapping per flow, or none."""

    def __post_init__(self) -> None:
        if not self.flows or len(self.flows) != len(self.sigmas):
            raise ValueError(f"flows: expected one a sigma, got {len(self.flows)} for {len(self.sigmas)} sigmas.")
        if len(self.targets) not in (0, len(self.flows)):
            raise ValueError(f"targets: expected one a flow or none, got {len(self.targets)}.")
        header = self.header
        pairs = frame_pairs(self.grid.frames, self.config.temporal_span)
        for number, flow in enumerate(self.flows):
            if flow.pairs != pairs:
                raise ValueError(
                    f"flow {number} pairs: expected {len(pairs)} for {self.grid}, got {len(flow.pairs)} other pairs."
                )
        for part in PARTS:
            tensors = self._tensors(part)
            if part.owner == "motion, one per flow" and len(tensors) not in (0, len(self.flows)):
                raise ValueError(
                    f"{part.name}: expected one a flow or none, got {len(tensors)} for {len(self.flows)} flows."
                )
            for name, tensor in zip(part.names(len(self.flows)), tensors, strict=False):
                part.require(name.replace(".", " "), tensor, header)

    @property
    def header(self) -> Header:
        """What describes the motion besides its tensors."""
        described = {field.name: getattr(self, field.name) for field in dataclasses.fields(Header)}
        return Header(**{**described, "targets": shapes_of(self.targets)})

    def flow_at(self, sigma: float) -> AttentionMotionFlow:
        """The flow whose noise level is nearest to `sigma`."""
        return self.flows[self.nearest(sigma)]

    def nearest(self, sigma: float) -> int:
        """The number of the noise level nearest to `sigma`."""
        return min(range(len(self.sigmas)), key=lambda index: abs(self.sigmas[index] - sigma))

    def require_flow_alone(self) -> None:
        """Refuse a motion whose objective compares more than its flow: that cannot be edited, blended or resized.

        Raises:
            ValueError: it holds more.
        """
        if self.targets:
            names = ", ".join(name for name, _ in shapes_of(self.targets))
            raise ValueError(
                f"motion: expected one that is a flow, got one read for {self.objective}, which follows other features "
                f"({names}); edit, cut or resize the clip before Invert Motion, or read it for another objective."
            )

    def require_model(self, fingerprint: ModelFingerprint) -> None:
        """Refuse a model that the motion cannot guide.

        Raises:
            ValueError: the fingerprints differ; the message names each difference.
        """
        expected, got = self.fingerprint.differences(fingerprint)
        if expected:
            raise ValueError(
                f"model: expected {expected}, as in the model the motion was read from, got {got}; load a model of "
                "that kind, or read the motion again with Invert Motion and this model."
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the motion to `path`, whole or not at all: a reader never sees half a file.

        Raises:
            OSError: the folder is missing or full.
            ValueError: it would be larger than what `load` takes.
        """
        self.as_file().write(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MotionEmbedding:
        """The motion that `save` wrote, bit for bit, on the CPU.

        Raises:
            ValueError: the file is missing, too large, cut off, of another kind or version, or was changed; the message
                begins with its name.
        """
        with naming(path):
            return cls._of_file(MotionFile.read(path))

    def as_file(self) -> MotionFile:
        """What a file of the motion holds."""
        tensors = {
            name: part.to_file(tensor)
            for part in PARTS
            for name, tensor in zip(part.names(len(self.flows)), self._tensors(part), strict=False)
        }
        return MotionFile(self.header, {**tensors, **to_file(self.targets)})

    @classmethod
    def _of_file(cls, file: MotionFile) -> MotionEmbedding:
        header, count = file.header, len(file.header.sigmas)
        tensors = {part: [file.tensors.get(name) for name in part.names(count)] for part in PARTS}
        in_flows = {part.name: tensors[part] for part in PARTS if part.owner == "flow"}
        flows = tuple(
            AttentionMotionFlow(
                pairs=frame_pairs(header.grid.frames, header.config.temporal_span),
                temporal_span=header.config.temporal_span,
                **{name: of_flows[number] for name, of_flows in in_flows.items()},
            )
            for number in range(count)
        )
        per_flow = {
            part.name: tuple(tensor for tensor in tensors[part] if tensor is not None)
            for part in PARTS
            if part.owner == "motion, one per flow"
        }
        single = {part.name: tensors[part][0] for part in PARTS if part.owner == "motion"}
        described = {field.name: getattr(header, field.name) for field in dataclasses.fields(header)}
        described["targets"] = of_file(file.tensors, header.targets, count)
        return cls(flows=flows, **per_flow, **single, **described)

    def _tensors(self, part: Part) -> list[Tensor]:
        """The tensors of a part, in the order of the flows; empty if the motion has none."""
        if part.owner == "flow":
            return [getattr(flow, part.name) for flow in self.flows]
        value = getattr(self, part.name)
        if part.owner == "motion":
            return [] if value is None else [value]
        return list(value)
