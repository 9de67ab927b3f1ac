"""A reference's motion as one value: its flows, what they were read from, and the file that keeps them.

The file is a safetensors file; its metadata holds one JSON header under "fastvmt". Nothing in it is ever executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .amf import AttentionMotionFlow
from .config import AMFConfig
from .grid import TokenGrid
from .windows import Tiling, frame_pairs, pair_count

FORMAT = "fastvmt-motion"
VERSION = 2
"""The newest version. A file states the oldest one that can hold it, so that older readers refuse only what they must:
1 was the first, 2 added the averaged blocks."""
MAX_FILE_BYTES = 2**30
"""Larger files are refused unread; 81 frames of 480x832 with ten noise levels take about 20 MB."""

_METADATA_KEY = "fastvmt"
_REFERENCE_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
_ROUNDING = 0.01
"""Tokens that an expected position may leave the frame by, through rounding."""
_LARGEST_PATCH = 4
"""Latent pixels a token may span, each way (Wan: 2)."""
_HEADER_KEYS = frozenset(
    ("format", "version", "grid", "sigmas", "config", "seed", "fingerprint", "reference_hash", "checksum")
)


@dataclass(frozen=True)
class ModelFingerprint:
    """What two models must share for a motion to pass from one to the other.

    Weights are left out on purpose: a LoRA, another precision or the other expert of a pair keeps them comparable.

    Raises:
        ValueError: a field is empty or not positive; the message names it.
    """

    model_class: str
    """Name of the host's model class."""
    dim: int
    """Width of the transformer."""
    heads: int
    """Attention heads."""
    depth: int
    """Blocks."""
    block: int
    """Block that q and k were read from, counted from 0; the last one where several were."""
    latent_channels: int
    """Channels of the latent."""
    more_blocks: tuple[int, ...] = ()
    """Blocks before that one that were averaged with it, in rising order."""

    def __post_init__(self) -> None:
        if not isinstance(self.model_class, str) or not self.model_class:
            raise ValueError(f"fingerprint model_class: expected a name, got {self.model_class!r}.")
        for name, low in (("dim", 1), ("heads", 1), ("depth", 1), ("block", 0), ("latent_channels", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ValueError(f"fingerprint {name}: expected a whole number of at least {low}, got {value!r}.")
        if self.block >= self.depth:
            raise ValueError(f"fingerprint block: expected one of 0 .. {self.depth - 1}, got {self.block}.")
        rising = isinstance(self.more_blocks, tuple) and list(self.blocks) == sorted(set(self.blocks))
        if not rising or any(type(block) is not int or block < 0 for block in self.more_blocks):
            raise ValueError(
                f"fingerprint more_blocks: expected numbers from 0 rising to below block {self.block}, got "
                f"{self.more_blocks!r}."
            )

    @property
    def blocks(self) -> tuple[int, ...]:
        """Every block that q and k were read from, in rising order."""
        return *self.more_blocks, self.block


@dataclass(frozen=True, eq=False)
class MotionEmbedding:
    """The motion of one reference clip, ready to guide any prompt.

    Raises:
        ValueError: a field contradicts the others or holds a value that no flow can have; the message names it.
    """

    flows: tuple[AttentionMotionFlow, ...]
    """One flow a noise level. Their window keys are not needed and not saved."""
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
    """Identity of the reference: `hash_of_reference` of its latent, kept where the latent itself is not."""

    def __post_init__(self) -> None:
        if not self.flows or len(self.flows) != len(self.sigmas):
            raise ValueError(f"flows: expected one a sigma, got {len(self.flows)} for {len(self.sigmas)} sigmas.")
        for sigma in self.sigmas:
            if not isinstance(sigma, (int, float)) or not 0 <= sigma <= 1:
                raise ValueError(f"sigmas: expected numbers from 0 to 1, got {sigma!r}.")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or not 0 <= self.seed < 2**64:
            raise ValueError(f"seed: expected a whole number from 0 to 2**64 - 1, got {self.seed!r}.")
        if not isinstance(self.reference_hash, str) or not self.reference_hash:
            raise ValueError(f"reference_hash: expected a text that names the reference, got {self.reference_hash!r}.")
        for number, flow in enumerate(self.flows):
            _require_flow(number, flow, self.grid, self.config)
        _require_reference(self.reference, self.grid, self.fingerprint)

    def flow_at(self, sigma: float) -> AttentionMotionFlow:
        """The flow whose noise level is nearest to `sigma`."""
        nearest = min(range(len(self.sigmas)), key=lambda index: abs(self.sigmas[index] - sigma))
        return self.flows[nearest]

    def require_model(self, fingerprint: ModelFingerprint) -> None:
        """Refuse a model that the motion cannot guide.

        Raises:
            ValueError: the fingerprints differ; the message names each difference.
        """
        names = [field.name for field in dataclasses.fields(ModelFingerprint)]
        differing = [name for name in names if getattr(self.fingerprint, name) != getattr(fingerprint, name)]
        if differing:
            expected = ", ".join(f"{name} {getattr(self.fingerprint, name)}" for name in differing)
            got = ", ".join(f"{name} {getattr(fingerprint, name)}" for name in differing)
            raise ValueError(
                f"model: expected {expected}, as in the model the motion was extracted from, got {got}; load a model "
                "of that kind (and choose that block), or extract the motion again with this one."
            )

    def require_grid(self, grid: TokenGrid) -> None:
        """Refuse a latent of another size or length.

        Raises:
            ValueError: the grids differ; the message says which sides.
        """
        if grid != self.grid:
            raise ValueError(
                f"latent: expected {self.grid}, as in the motion's reference, got {grid}; set the latent's width, "
                "height and length to the reference's, or extract the motion again at this size."
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the motion to `path`, whole or not at all: a reader never sees half a file.

        Raises:
            OSError: the folder is missing or full.
        """
        tensors = self._tensors()
        header = self._header()
        header["checksum"] = _checksum(header, tensors)
        with _replacing(Path(path)) as temporary:
            save_file(tensors, temporary, metadata={_METADATA_KEY: json.dumps(header)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MotionEmbedding:
        """Read a motion that `save` wrote; bit for bit what was saved, on the CPU.

        Sizes are checked against the header and the header against itself before a tensor is read.

        Raises:
            ValueError: the file is missing, too large, cut off, of another kind or version, or was changed.
        """
        path = Path(path)
        with _naming(path):
            _require_size(path)
            try:
                with safe_open(path, framework="pt", device="cpu") as file:
                    header = _parsed_header(file.metadata())
                    described = _described(header)
                    _require_tensors(file, described)
                    tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
            except (SafetensorError, OSError) as error:
                raise ValueError(f"expected a motion file, got one that cannot be read ({error}).") from error
            if header["checksum"] != _checksum(header, tensors):
                raise ValueError("expected it as it was saved, got a changed file; extract again.")
            return described.embedding(tensors)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {}
        for number, flow in enumerate(self.flows):
            for part in ("displacement", "centres", "confidence"):
                held = getattr(flow, part)
                if held is not None:
                    tensors[f"flow.{number}.{part}"] = held.detach().to("cpu", torch.float32).contiguous()
        if self.reference is not None:
            tensors["reference"] = self.reference.detach().cpu().contiguous()
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def _header(self) -> dict[str, Any]:
        fingerprint = dataclasses.asdict(self.fingerprint)
        version = 2 if fingerprint["more_blocks"] else 1
        if version == 1:
            del fingerprint["more_blocks"]
        return {
            "format": FORMAT,
            "version": version,
            "grid": dataclasses.asdict(self.grid),
            "sigmas": list(self.sigmas),
            "config": dataclasses.asdict(self.config),
            "seed": self.seed,
            "fingerprint": fingerprint,
            "reference_hash": self.reference_hash,
        }


def hash_of_reference(latent: Tensor) -> str:
    """SHA-256 (hex) of a latent's shape and float32 values."""
    values = latent.detach().to("cpu", torch.float32).contiguous()
    return hashlib.sha256(repr(tuple(values.shape)).encode() + _bytes(values)).hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of everything in the file but the checksum itself."""
    said = {name: value for name, value in header.items() if name != "checksum"}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(_bytes(tensors[name]))
    return digest.hexdigest()


def _require_flow(number: int, flow: AttentionMotionFlow, grid: TokenGrid, config: AMFConfig) -> None:
    """Refuse a flow whose shape or values the grid and the settings do not allow."""
    shapes = _flow_shapes(grid, config)
    pairs = frame_pairs(grid.frames, config.temporal_span)
    if flow.pairs != pairs:
        raise ValueError(f"flow {number} pairs: expected {len(pairs)} for {grid}, got {len(flow.pairs)} other pairs.")
    size = torch.tensor((grid.width, grid.height), dtype=torch.float32)
    zero, one = torch.zeros(()), torch.ones(())
    bounds = {"displacement": (1 - size, size - 1), "centres": (zero, size - 1), "confidence": (zero, one)}
    for part, shape in shapes.items():
        tensor = getattr(flow, part)
        if tensor is None and part == "confidence":
            continue
        where = f"flow {number} {part}"
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{where}: expected shape {shape} for {grid}, got {tuple(tensor.shape)}.")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{where}: expected finite numbers, got NaN or infinity.")
        low, high = (bound.to(tensor) for bound in bounds[part])
        if bool((tensor < low - _ROUNDING).any() or (tensor > high + _ROUNDING).any()):
            raise ValueError(f"{where}: expected values inside the frame of {grid}, got some outside it.")


def _flow_shapes(grid: TokenGrid, config: AMFConfig) -> dict[str, tuple[int, ...]]:
    pairs = pair_count(grid.frames, config.temporal_span)
    tiles = Tiling(grid.height, grid.width, config.tile).count
    return {
        "displacement": (pairs, grid.height, grid.width, 2),
        "centres": (pairs, tiles, 2),
        "confidence": (pairs, grid.height, grid.width),
    }


def _require_reference(reference: Tensor | None, grid: TokenGrid, fingerprint: ModelFingerprint) -> None:
    if reference is None:
        return
    _require_reference_shape(tuple(reference.shape), grid, fingerprint)
    if reference.dtype not in _REFERENCE_DTYPES.values():
        raise ValueError(f"reference: expected float16, bfloat16 or float32, got {reference.dtype}.")
    if not bool(torch.isfinite(reference).all()):
        raise ValueError("reference: expected finite numbers, got NaN or infinity.")


def _require_reference_shape(shape: tuple[int, ...], grid: TokenGrid, fingerprint: ModelFingerprint) -> None:
    channels, frames = fingerprint.latent_channels, grid.frames
    sides = zip(grid.as_tuple[1:], shape[3:], strict=False)
    covers = all(tokens <= side <= _LARGEST_PATCH * tokens for tokens, side in sides)
    if len(shape) != 5 or shape[:3] != (1, channels, frames) or not covers:
        raise ValueError(
            f"reference: expected a latent (1, {channels}, {frames}, h, w) of one clip that covers {grid}, got {shape}."
        )


def _require_size(path: Path) -> None:
    if not path.is_file():
        raise ValueError("expected a motion file, got no file at that place; choose another.")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"expected a motion file of at most {MAX_FILE_BYTES} bytes, got {size}.")


def _parsed_header(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    if not metadata or _METADATA_KEY not in metadata:
        raise ValueError("expected a motion file, got a safetensors file of another kind.")
    try:
        header = json.loads(metadata[_METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected a JSON header, got something else ({error}).") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"expected the format {FORMAT}, got another; choose a motion file.")
    version = header.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ValueError(
            f"expected version 1 to {VERSION} of the motion format, got {version!r}; update "
            "FastVMT or extract the motion again."
        )
    if set(header) != _HEADER_KEYS:
        raise ValueError(f"expected the header fields {sorted(_HEADER_KEYS)}, got {sorted(header)}.")
    return header


@dataclass(frozen=True)
class _Described:
    """The checked header: all of an embedding but its tensors."""

    sigmas: tuple[float, ...]
    grid: TokenGrid
    config: AMFConfig
    seed: int
    fingerprint: ModelFingerprint
    reference_hash: str

    def embedding(self, tensors: Mapping[str, Tensor]) -> MotionEmbedding:
        pairs = frame_pairs(self.grid.frames, self.config.temporal_span)
        flows = tuple(
            AttentionMotionFlow(
                pairs,
                tensors[f"flow.{number}.displacement"],
                tensors[f"flow.{number}.centres"],
                confidence=tensors.get(f"flow.{number}.confidence"),
                temporal_span=self.config.temporal_span,
            )
            for number in range(len(self.sigmas))
        )
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return MotionEmbedding(flows=flows, reference=tensors.get("reference"), **fields)


def _described(header: Mapping[str, Any]) -> _Described:
    """The header as checked values; every constructor refuses what it cannot be."""
    try:
        sigmas = header["sigmas"]
        if not isinstance(sigmas, list):
            raise ValueError(f"sigmas: expected a list of numbers, got {sigmas!r}.")
        config = dict(header["config"])
        config["tile"] = tuple(config["tile"])
        grid, fingerprint = TokenGrid(**header["grid"]), dict(header["fingerprint"])
        if ("more_blocks" in fingerprint) != (header["version"] > 1):
            raise ValueError("more_blocks: expected them from version 2 on.")
        fingerprint["more_blocks"] = tuple(fingerprint.get("more_blocks", ()))
        model = ModelFingerprint(**fingerprint)
        return _Described(tuple(sigmas), grid, AMFConfig(**config), header["seed"], model, header["reference_hash"])
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"the header was changed or damaged: {error}") from error


def _require_tensors(file: safe_open, described: _Described) -> None:
    """Refuse names, shapes and dtypes that the header does not announce, from the file's index alone."""
    # The index is small whatever it claims; only once it fits the header is a tensor allocated.
    shapes = _flow_shapes(described.grid, described.config)
    numbers = range(len(described.sigmas))
    flows = {f"flow.{number}.{part}": shape for number in numbers for part, shape in shapes.items()}
    optional = {name for name in flows if name.endswith("confidence")} | {"reference"}
    names = set(file.keys())
    missing, unknown = set(flows) - optional - names, names - set(flows) - optional
    if missing or unknown:
        raise ValueError(f"expected a tensor a part, missing {sorted(missing)}, unknown {sorted(unknown)}.")
    for name in sorted(names):
        entry = file.get_slice(name)
        shape, dtype = tuple(entry.get_shape()), entry.get_dtype()
        if name == "reference":
            _require_reference_shape(shape, described.grid, described.fingerprint)
        if name in flows and shape != flows[name]:
            raise ValueError(f"{name}: expected shape {flows[name]}, got {shape}.")
        if dtype not in (_REFERENCE_DTYPES if name == "reference" else ("F32",)):
            raise ValueError(f"{name}: expected a floating-point dtype of the format, got {dtype}.")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name before what is said about it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, and vanishes otherwise."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
