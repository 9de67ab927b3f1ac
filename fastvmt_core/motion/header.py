"""What describes a motion besides its tensors, checked, and as the JSON object that a motion file holds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..checks import require_seed
from ..config import AMFConfig
from ..grid import TokenGrid
from .about import About
from .fingerprint import ModelFingerprint
from .targets import TargetShapes, require_target_shapes

FORMAT = "fastvmt-motion"
VERSION = 2
"""The newest; written only where a field of `_LATER` is, so that an older FastVMT reads all other files: they are 1."""
FASTVMT = "FastVMT"
"""The objective of a motion that names none."""
MOST_OBJECTIVE = 60
"""Characters of an objective's name."""
MOST_SIGMAS = 1000
"""Noise levels; a file that names more is refused before anything is counted by them."""
_REQUIRED = frozenset(
    ("format", "version", "grid", "sigmas", "config", "seed", "fingerprint", "reference_hash", "checksum")
)
_OPTIONAL = frozenset(("cuts", "about"))
_LATER = frozenset(("objective", "targets"))
"""Fields that came with version 2."""


@dataclass(frozen=True)
class Header:
    """What describes a motion besides its tensors; the fields are those of `MotionEmbedding`.

    Raises:
        ValueError: a field holds a value that no motion can have; the message names it.
    """

    sigmas: tuple[float, ...]
    grid: TokenGrid
    config: AMFConfig
    seed: int
    fingerprint: ModelFingerprint
    reference_hash: str
    cuts: tuple[int, ...] = ()
    about: About = About()
    objective: str = FASTVMT
    targets: TargetShapes = ()

    def __post_init__(self) -> None:
        if len(self.sigmas) > MOST_SIGMAS:
            raise ValueError(f"sigmas: expected at most {MOST_SIGMAS} noise levels, got {len(self.sigmas)}.")
        for sigma in self.sigmas:
            if not isinstance(sigma, (int, float)) or not 0 <= sigma <= 1:
                raise ValueError(f"sigmas: expected numbers from 0 to 1, got {sigma!r}.")
        require_seed("seed", self.seed)
        if not isinstance(self.reference_hash, str) or not self.reference_hash:
            raise ValueError(f"reference_hash: expected a text that names the reference, got {self.reference_hash!r}.")
        frames = isinstance(self.cuts, tuple) and all(
            type(cut) is int and 0 < cut < self.grid.frames for cut in self.cuts
        )
        if not frames or list(self.cuts) != sorted(set(self.cuts)):
            raise ValueError(
                f"cuts: expected rising numbers of frames after the first of {self.grid}, got {self.cuts!r}."
            )

        if not isinstance(self.objective, str) or not 0 < len(self.objective) <= MOST_OBJECTIVE:
            raise ValueError(f"objective: expected the name of one, got {self.objective!r:.200}.")
        require_target_shapes(self.targets, len(self.sigmas))

    def to_json(self) -> dict[str, Any]:
        """The JSON object of a file, without its checksum; optional fields that are empty are left out."""
        later = self.objective != FASTVMT or bool(self.targets)
        fields = {"format": FORMAT, "version": VERSION if later else 1, **dataclasses.asdict(self)}
        optional = {"cuts": fields, "more_blocks": fields["fingerprint"]}
        for name, owner in optional.items():
            if not owner[name]:
                del owner[name]
        if self.about == About():
            del fields["about"]
        for name in () if later else _LATER:
            del fields[name]
        # Tuples become lists now, so that the checksum is of what a file holds.
        return json.loads(json.dumps(fields))

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Header:
        """The checked header of a file's JSON object; every constructor refuses what it cannot be.

        Raises:
            ValueError: a field is missing, unknown, of another kind or out of its range.
        """
        try:
            sigmas = fields["sigmas"]
            if not isinstance(sigmas, list):
                raise ValueError(f"sigmas: expected a list of numbers, got {sigmas!r}.")
            config, fingerprint = dict(fields["config"]), dict(fields["fingerprint"])
            about = fields.get("about", {})
            if not isinstance(about, dict):
                raise ValueError(f"about: expected name, note and size, got {about!r:.80}; save the motion again.")
            config["tile"] = tuple(config["tile"])
            fingerprint["more_blocks"] = tuple(fingerprint.get("more_blocks", ()))
            return cls(
                sigmas=tuple(sigmas),
                grid=TokenGrid(**fields["grid"]),
                config=AMFConfig(**config),
                seed=fields["seed"],
                fingerprint=ModelFingerprint(**fingerprint),
                reference_hash=fields["reference_hash"],
                cuts=tuple(fields.get("cuts", ())),
                about=About(**about),
                objective=fields.get("objective", FASTVMT),
                targets=tuple((name, tuple(shape)) for name, shape in fields.get("targets", ())),
            )
        except (TypeError, KeyError, ValueError, OverflowError) as error:
            raise ValueError(f"the header was changed or damaged: {error}") from error


def parse_json(text: str) -> dict[str, Any]:
    """The JSON object of a motion file, of this format and version and with its fields; their values are unchecked.

    Raises:
        ValueError: it is none.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected a JSON header, got something else ({error}).") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise ValueError(f"expected the format {FORMAT}, got another; choose a motion file.")
    version = fields.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ValueError(
            f"expected a version of the motion format up to {VERSION}, got {version!r}; update FastVMT, or read the "
            "motion again with Invert Motion."
        )
    if set(fields) - _OPTIONAL - (_LATER if version > 1 else frozenset()) != _REQUIRED:
        raise ValueError(f"expected the header fields {sorted(_REQUIRED)}, got {sorted(map(str, fields))!s:.400}.")
    return fields
