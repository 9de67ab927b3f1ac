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

from ..attention.flow import AttentionMotionFlow
from ..attention.windows import Tiling, frame_pairs, pair_count
from ..config import PIXELS_PER_TOKEN, WIDE_LATENT_CHANNELS, AMFConfig
from ..grid import TokenGrid

FORMAT = "fastvmt-motion"
VERSION = 2
"""The newest version. A file states the oldest one that can hold it, so that older readers refuse only what they must:
1 was the first, 2 added averaged blocks and cuts, and with them all that is optional: rest, both directions of time,
steps, mask, thumbnail, and what a list shows."""
MAX_FILE_BYTES = 2**30
"""Larger files are refused unread; 81 frames of 480x832 with ten noise levels take about 20 MB."""

MAX_HEADER_BYTES = 2**20
"""Files whose index claims to be longer are refused before it is parsed; ten noise levels take about 8 kB."""
MOST_NAME, MOST_NOTE = 200, 4000
"""Characters."""
MOST_PIXELS, MOST_FPS = 65536, 1000
MOST_THUMBNAIL = 512
"""Pixels a side."""

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

    def differences(self, other: ModelFingerprint) -> tuple[str, str]:
        """What differs, in words: as here, and as there; both empty where the two are alike."""
        names = [
            field.name for field in dataclasses.fields(self) if getattr(self, field.name) != getattr(other, field.name)
        ]
        mine, theirs = (", ".join(f"{name} {getattr(model, name)}" for name in names) for model in (self, other))
        return mine, theirs

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

    @property
    def pixels_per_token(self) -> int:
        """Pixels a side that one token stands for."""
        return PIXELS_PER_TOKEN * (2 if self.latent_channels == WIDE_LATENT_CHANNELS else 1)


@dataclass(frozen=True)
class About:
    """What a list of motions shows of one.

    Raises:
        ValueError: a field is of another kind, too long or out of its range; the message names it.
    """

    name: str = ""
    """What the user calls it."""
    note: str = ""
    """What the user wants to remember of it."""
    width: int = 0
    """Pixels of the reference; 0: unknown."""
    height: int = 0
    """Likewise."""
    fps: float = 0.0
    """Its frames a second; 0: unknown."""

    def __post_init__(self) -> None:
        for name, most in (("name", MOST_NAME), ("note", MOST_NOTE)):
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > most:
                raise ValueError(f"{name}: expected a text of at most {most} characters, got {text!r:.80}.")
        for name in ("width", "height"):
            side = getattr(self, name)
            if type(side) is not int or not 0 <= side <= MOST_PIXELS:
                raise ValueError(f"{name}: expected pixels from 0 to {MOST_PIXELS}, got {side!r:.80}.")
        if type(self.fps) not in (int, float) or not 0 <= self.fps <= MOST_FPS:
            raise ValueError(f"fps: expected frames a second from 0 to {MOST_FPS}, got {self.fps!r:.80}.")


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
    cuts: tuple[int, ...] = ()
    """Latent frames that begin a new shot of the reference, in rising order; nothing is matched across one."""
    static_bias: tuple[Tensor, ...] = ()
    """One (P, H, W, 2) a flow, or none, tokens: what the model's attention says of a clip in which nothing moves. An
    edit carries what the flow has beyond it."""
    backward: tuple[Tensor, ...] = ()
    """One (P, H, W, 2) a flow, or none, tokens: the displacements of the reference played backwards."""
    frame_flow: Tensor | None = None
    """(2, F - 1, H, W, 2) as `tracks.latent_steps` gives them, where the reference is not kept; None: not yet known."""
    mask: Tensor | None = None
    """(F, H, W) in [0, 1]: how much each token is guided; None is all of them."""
    about: About = About()
    """What a list of motions shows."""
    thumbnail: Tensor | None = None
    """(h, w, 3) uint8, a small picture of the reference."""

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
        _require_cuts(self.cuts, self.grid)
        _require_extras(self)

    def flow_at(self, sigma: float) -> AttentionMotionFlow:
        """The flow whose noise level is nearest to `sigma`."""
        return self.flows[self.nearest(sigma)]

    def nearest(self, sigma: float) -> int:
        """The number of the noise level nearest to `sigma`."""
        return min(range(len(self.sigmas)), key=lambda index: abs(self.sigmas[index] - sigma))

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
        tensors = self._tensors()
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        if size > MAX_FILE_BYTES - MAX_HEADER_BYTES:
            raise ValueError(
                f"motion: expected one of at most {MAX_FILE_BYTES - MAX_HEADER_BYTES} bytes to save, got {size}; read "
                "it at fewer sigmas or with a smaller temporal_span, or at a smaller size."
            )
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
                raise ValueError("expected it as it was saved, got a changed file; save the motion again.")
            return described.embedding(tensors)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {}
        for number, flow in enumerate(self.flows):
            for part in ("displacement", "centres", "confidence"):
                held = getattr(flow, part)
                if held is not None:
                    tensors[f"flow.{number}.{part}"] = held.detach().to("cpu", torch.float32).contiguous()
        for part in ("static_bias", "backward"):
            for number, held in enumerate(getattr(self, part)):
                tensors[f"flow.{number}.{part}"] = held.detach().to("cpu", torch.float32).contiguous()
        for part in ("reference", "frame_flow", "mask", "thumbnail"):
            held = getattr(self, part)
            if held is not None:
                tensors[part] = held.detach().cpu().contiguous()
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def _header(self) -> dict[str, Any]:
        header = {
            "format": FORMAT,
            "version": VERSION,
            "grid": dataclasses.asdict(self.grid),
            "sigmas": list(self.sigmas),
            "config": dataclasses.asdict(self.config),
            "seed": self.seed,
            "fingerprint": dataclasses.asdict(self.fingerprint),
            "reference_hash": self.reference_hash,
            "cuts": list(self.cuts),
        }
        extras = (self.frame_flow, self.mask, self.thumbnail)
        if self.about != About():
            header["about"] = dataclasses.asdict(self.about)
        plain = (
            self.about == About() and all(held is None for held in extras) and not (self.static_bias or self.backward)
        )
        if plain and not self.cuts and not self.fingerprint.more_blocks:
            header["version"] = 1
            del header["cuts"], header["fingerprint"]["more_blocks"]
        return header


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


_SINGLE = ("reference", "frame_flow", "mask", "thumbnail")
"""Tensors of which a motion holds at most one."""


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
        if tensor is not None or part != "confidence":
            _require_field(f"flow {number} {part}", tensor, shape, bounds[part], grid)


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


def _require_cuts(cuts: tuple[int, ...], grid: TokenGrid) -> None:
    inside = isinstance(cuts, tuple) and all(type(cut) is int and 0 < cut < grid.frames for cut in cuts)
    if not inside or list(cuts) != sorted(set(cuts)):
        raise ValueError(f"cuts: expected rising numbers of frames after the first of {grid}, got {cuts!r}.")


def _frame_flow_shape(grid: TokenGrid) -> tuple[int, ...]:
    return 2, grid.frames - 1, grid.height, grid.width, 2


def _require_extras(motion: MotionEmbedding) -> None:
    """Refuse what stands beside the flows where its shape or values are not theirs."""
    grid = motion.grid
    size = torch.tensor((grid.width, grid.height), dtype=torch.float32)
    inside, share = (1 - size, size - 1), (torch.zeros(()), torch.ones(()))
    for part in ("static_bias", "backward"):
        held = getattr(motion, part)
        if not isinstance(held, tuple) or len(held) not in (0, len(motion.flows)):
            raise ValueError(f"{part}: expected one a flow or none, got {len(held)} for {len(motion.flows)} flows.")
        for number, tensor in enumerate(held):
            shape = tuple(motion.flows[number].displacement.shape)
            _require_field(f"flow {number} {part}", tensor, shape, inside, grid)
    if motion.frame_flow is not None:
        _require_field("frame_flow", motion.frame_flow, _frame_flow_shape(grid), inside, grid)
    if motion.mask is not None:
        _require_field("mask", motion.mask, grid.as_tuple, share, grid)
    if motion.thumbnail is not None:
        _require_thumbnail_shape(tuple(motion.thumbnail.shape))
        if motion.thumbnail.dtype != torch.uint8:
            raise ValueError(f"thumbnail: expected uint8, got {motion.thumbnail.dtype}.")


def _require_field(
    where: str, tensor: Tensor, shape: tuple[int, ...], bounds: tuple[Tensor, Tensor], grid: TokenGrid
) -> None:
    """Refuse a tensor of another shape or dtype, or with values outside its bounds."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{where}: expected shape {shape} for {grid}, got {tuple(tensor.shape)}.")
    if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{where}: expected finite numbers, got NaN, infinity or {tensor.dtype}.")
    low, high = (bound.to(tensor) for bound in bounds)
    if bool((tensor < low - _ROUNDING).any() or (tensor > high + _ROUNDING).any()):
        raise ValueError(f"{where}: expected values inside the frame of {grid}, got some outside it.")


def _require_thumbnail_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[2] != 3 or not all(1 <= side <= MOST_THUMBNAIL for side in shape[:2]):
        raise ValueError(f"thumbnail: expected a picture (h, w, 3) of at most {MOST_THUMBNAIL} a side, got {shape}.")


def _require_size(path: Path) -> None:
    if not path.is_file():
        raise ValueError("expected a motion file, got no file at that place; choose another.")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"expected a motion file of at most {MAX_FILE_BYTES} bytes, got {size}.")
    with path.open("rb") as file:
        index = int.from_bytes(file.read(8), "little")
    if index > MAX_HEADER_BYTES:
        raise ValueError(
            f"expected a motion file, got one that cannot be read (an index of {index} bytes, at most "
            f"{MAX_HEADER_BYTES} are taken)."
        )


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
            "FastVMT, or read the motion again with Invert Motion."
        )
    keys = _HEADER_KEYS if version == 1 else _HEADER_KEYS | {"cuts"}
    optional = frozenset() if version == 1 else frozenset(("about",))
    if set(header) - optional != keys:
        raise ValueError(f"expected the header fields {sorted(keys)}, got {sorted(map(str, header))!s:.400}.")
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
    cuts: tuple[int, ...]
    about: About
    version: int

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
        names = [field.name for field in dataclasses.fields(self) if field.name != "version"]
        fields = {name: getattr(self, name) for name in names}
        for part in ("static_bias", "backward"):
            held = (tensors.get(f"flow.{number}.{part}") for number in range(len(self.sigmas)))
            fields[part] = tuple(tensor for tensor in held if tensor is not None)
        single = {part: tensors.get(part) for part in _SINGLE}
        return MotionEmbedding(flows=flows, **single, **fields)


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
        cuts = tuple(header.get("cuts", ()))
        _require_cuts(cuts, grid)
        hashed = header["reference_hash"]
        about, version = About(**header.get("about", {})), header["version"]
        return _Described(tuple(sigmas), grid, AMFConfig(**config), header["seed"], model, hashed, cuts, about, version)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise ValueError(f"the header was changed or damaged: {error}") from error


def _require_tensors(file: safe_open, described: _Described) -> None:
    """Refuse names, shapes and dtypes that the header does not announce, from the file's index alone."""
    # The index is small whatever it claims; only once it fits the header is a tensor allocated.
    expected, optional = _expected_tensors(described)
    names = set(file.keys())
    missing, unknown = set(expected) - optional - names, names - set(expected)
    if missing or unknown:
        raise ValueError(
            f"expected a tensor a part, missing {sorted(missing)!s:.200}, unknown {sorted(unknown)!s:.200}."
        )
    for name in sorted(names):
        entry, part = file.get_slice(name), name.rpartition(".")[2]
        shape, dtype = tuple(entry.get_shape()), entry.get_dtype()
        if name == "reference":
            _require_reference_shape(shape, described.grid, described.fingerprint)
        elif name == "thumbnail":
            _require_thumbnail_shape(shape)
        elif shape != expected[name]:
            raise ValueError(f"{name}: expected shape {expected[name]}, got {shape}.")
        if dtype not in {"reference": tuple(_REFERENCE_DTYPES), "thumbnail": ("U8",)}.get(part, ("F32",)):
            raise ValueError(f"{name}: expected a dtype of the format, got {dtype}.")


def _expected_tensors(described: _Described) -> tuple[dict[str, tuple[int, ...]], set[str]]:
    """Shapes by name, () where they are checked otherwise, and the names of those that may be missing."""
    shapes = _flow_shapes(described.grid, described.config)
    if described.version > 1:
        shapes |= dict.fromkeys(("static_bias", "backward"), shapes["displacement"])
    numbers = range(len(described.sigmas))
    expected = {f"flow.{number}.{part}": shape for number in numbers for part, shape in shapes.items()}
    single = {"reference": ()}
    if described.version > 1:
        single |= {"frame_flow": _frame_flow_shape(described.grid), "mask": described.grid.as_tuple, "thumbnail": ()}
    needed = ("displacement", "centres")
    optional = {name for name in expected if name.rpartition(".")[2] not in needed}
    return expected | single, optional | set(single)


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
