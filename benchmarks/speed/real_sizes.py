"""Models of real shapes with random weights, and clips for them: shared by the benchmarks at real sizes."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.runs.in_process import Host
from benchmarks.speed.measuring import Meter, machine
from benchmarks.speed.model import TEXT, Shape
from fastvmt_core.config import InversionConfig
from tools.host import made_models
from tools.host.random_weights import random_weight

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}
RELEASED_SHARE = 20 / 30
"""Of the depth that runs in the released schedule."""
SIGMA = 0.9
CFG = 5.0


@dataclass(frozen=True)
class Preset:
    """Sizes of a model; those of Wan are the released ones, which the host detects from the weights' shapes."""

    dim: int
    ffn_dim: int
    heads: int
    depth: int
    kind: str = "t2v"
    """Of tools/host/made_models.py."""
    channels: int = 16
    """Of the latent."""
    pixels: int = 16
    """Pixels to a side of a token: the VAE's 8 or 16, times the patch's 2."""
    precision: str = "bf16"
    """Of the weights, if no other is given."""
    size: str = "480x832x81"
    """Height, width and frames, likewise."""


MODELS = {
    "wan1.3b": Preset(1536, 8960, 12, 30),
    "wan14b": Preset(5120, 13824, 40, 40, precision="fp8"),
    "wan2.2-5b": Preset(3072, 14336, 24, 30, kind="wan22_5b", channels=48, pixels=32),
    "cpu": Preset(512, 2048, 4, 16, precision="fp32", size="256x400x17"),
    "tiny": Preset(256, 512, 2, 4, precision="fp32", size="64x64x9"),
}


def token_grid(size: str, preset: Preset) -> tuple[int, int, int]:
    """Tokens (F, H, W) of a clip of HEIGHTxWIDTHxFRAMES.

    Raises:
        ValueError: the size is no such text, or the model cannot make such a clip.
    """
    parts = size.split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) for part in parts):
        raise ValueError(f"--size: expected HEIGHTxWIDTHxFRAMES such as 480x832x81, got {size!r}.")
    height, width, frames = map(int, parts)
    if height % preset.pixels or width % preset.pixels or frames % 4 != 1:
        raise ValueError(
            f"--size: expected a height and a width divisible by {preset.pixels} and 4n + 1 frames, got {size!r}."
        )
    return (frames - 1) // 4 + 1, height // preset.pixels, width // preset.pixels


def made_weights(preset: Preset, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """Random weights made on the device, one at a time, so that there is never a second copy in float32."""
    import comfy.ldm.wan.model as wan

    sizes = {"dim": preset.dim, "ffn_dim": preset.ffn_dim, "num_heads": preset.heads, "num_layers": preset.depth}
    arguments = {"model_type": "t2v", "in_dim": 16, "out_dim": 16, **made_models.KINDS[preset.kind], **sizes}
    network = wan.WanModel(**arguments, device="meta", dtype=torch.float32, operations=torch.nn)
    generator = torch.Generator(device).manual_seed(0)
    with torch.device(device):
        shapes = network.state_dict().items()
        return {name: random_weight(name, weight.shape, generator).to(dtype) for name, weight in shapes}


def made_model(preset: Preset, precision: str) -> Any:  # noqa: ANN401
    """A ModelPatcher as the loader node makes it with this weight_dtype."""
    import comfy.model_management
    import comfy.sd

    dtype, device = DTYPES[precision], comfy.model_management.get_torch_device()
    with torch.inference_mode():
        weights = made_weights(preset, dtype, device)
        return comfy.sd.load_diffusion_model_state_dict(weights, model_options={"dtype": dtype})


def latent(grid: tuple[int, int, int], seed: int, channels: int) -> Tensor:
    """Noise of the size of a token grid (F, H, W)."""
    frames, height, width = grid
    return torch.randn(1, channels, frames, 2 * height, 2 * width, generator=torch.Generator().manual_seed(seed))


def prompt(tokens: int, seed: int) -> list:
    """A CONDITIONING of so many tokens."""
    return [[torch.randn(1, tokens, 4096, generator=torch.Generator().manual_seed(seed)), {}]]


def sample(
    model: Any,  # noqa: ANN401
    function: Callable,
    noise: Tensor,
    levels: Sequence[float],
    prompts: Sequence[list],
    cfg: float,
) -> None:
    """Run a sampler function as a sampler node does, on noise (1, C, F, h, w); prompts: positive, negative."""
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.inner_set_conds(dict(zip(("positive", "negative"), prompts, strict=True)))
    guider.set_cfg(cfg)
    with torch.inference_mode():
        sampler, sigmas = comfy.samplers.KSAMPLER(function), torch.tensor(levels)
        guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=0)


@dataclass
class Bench:
    """A loaded model and a clip's size."""

    host: Host
    preset: Preset
    model: Any
    meter: Meter
    grid: tuple[int, int, int]
    precision: str
    block: int
    """The block that is read; `of` takes that of `auto`."""
    text: int = TEXT
    _motion: Any = None

    @classmethod
    def of(cls, preset: Preset, size: str, precision: str, text: int = TEXT) -> Bench:
        """A bench with the built model; the host's modules can be imported from here on."""
        grid, host = token_grid(size, preset), Host()
        model, block = made_model(preset, precision), InversionConfig().resolve_blocks(preset.depth)[0]
        return cls(host, preset, model, Meter(model.get_model_object("diffusion_model")), grid, precision, block, text)

    @classmethod
    def of_options(cls, options: argparse.Namespace) -> Bench:
        """The bench of ``arguments_of``'s options."""
        preset = preset_of(options)
        return cls.of(preset, options.size or preset.size, options.precision or preset.precision)

    def facts(self, options: argparse.Namespace) -> dict[str, Any]:
        """The part of a report that all benchmarks share: machine, model and clip."""
        return {
            "machine": machine(options.threads),
            "clock": "wall" if torch.cuda.is_available() else "process",
            "preset": options.preset,
            "size": options.size or self.preset.size,
            "weights": self.precision,
            "computed_in": str(self.dtype).removeprefix("torch."),
            "shape": {**vars(self.shape), "heads": self.preset.heads, "tokens": self.shape.tokens},
        }

    @property
    def released_blocks(self) -> int:
        """Blocks that run in the released schedule."""
        return max(self.block + 1, round(RELEASED_SHARE * self.preset.depth))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the host computes in."""
        base = self.model.model
        return base.manual_cast_dtype or base.get_dtype()

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.load_device

    @property
    def shape(self) -> Shape:
        """The shape for the counted model."""
        size = torch.empty(0, dtype=self.dtype).element_size()
        return Shape(self.preset.dim, self.preset.ffn_dim, self.preset.depth, self.grid, self.text, size)

    def noise(self, seed: int) -> Tensor:
        """A latent of that size."""
        return latent(self.grid, seed, self.preset.channels)

    def prompts(self) -> list[list]:
        """The positive and the negative prompt."""
        return [prompt(self.text, seed) for seed in (7, 8)]

    def motion(self) -> Any:  # noqa: ANN401
        """The reference's motion, read once."""
        if self._motion is None:
            invert = self.host.pack("nodes.host.reading.inversion").invert_motion
            config = self.host.pack("fastvmt_core.config").AMFConfig()
            with torch.inference_mode():
                self._motion = invert(
                    self.model, self.noise(1), self.prompts()[0], config, (self.block,), (0.3,), 5, "ignore"
                )
        return self._motion

    def run(self, function: Callable, model: Any = None) -> None:  # noqa: ANN401
        """Run a sampler function on the model or on a clone of it."""
        sample(model or self.model, function, self.noise(2), (SIGMA, 0.0), self.prompts(), CFG)


def preset_of(options: argparse.Namespace) -> Preset:
    """The preset of the options, with --depth blocks if given.

    Raises:
        ValueError: the depth is less than 2.
    """
    preset = MODELS[options.preset]
    if options.depth is None:
        return preset
    if options.depth < 2:
        raise ValueError(f"--depth: expected 2 blocks or more, got {options.depth}.")
    return dataclasses.replace(preset, depth=options.depth)


def arguments_of(description: str) -> argparse.ArgumentParser:
    """The options that benchmarks at real shapes share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=MODELS, required=True)
    parser.add_argument("--size", help="HEIGHTxWIDTHxFRAMES; default: the preset's")
    parser.add_argument("--precision", choices=DTYPES, help="of the weights; default: the preset's")
    parser.add_argument("--depth", type=int, help="another number of blocks, for a quick try")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    return parser
