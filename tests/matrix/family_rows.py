"""The matrix's rows of families beside Wan."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.matrix.parts import Builder, Link, Patch, Scene, file
from tests.matrix.row import Row
from tools.host.made_families import KINDS

SIDE = 8
"""Tokens along each side of a frame."""
FRAMES = 3


def _prompt(kind: str) -> Callable[[Builder], Link]:
    return lambda b: b.link("MatrixPrompt", kind=kind, seed=1)


def _latent(kind: str, seed: int) -> Callable[[Builder], Link]:
    made = KINDS[kind]
    side = SIDE * made.scale[0]
    sides = {"channels": made.latent_channels, "frames": FRAMES, "height": side, "width": side}
    return lambda b: b.link("MatrixLatent", seed=seed, **sides)


def _scene(kind: str) -> Callable[[Builder], Scene]:
    return lambda b: Scene(_prompt(kind)(b), b.link("MatrixPrompt", kind=kind, seed=2), _latent(kind, 9)(b))


def _start_kept(kind: str) -> Callable[[Builder], Scene]:
    def scene(b: Builder) -> Scene:
        plain = _scene(kind)(b)
        return Scene(plain.positive, plain.negative, b.link("MatrixFirstFrameKept", latent=plain.latent))

    return scene


def _with_sound(kind: str, scene: Callable[[Builder], Scene]) -> Callable[[Builder], Scene]:
    """The scene with a sound's latent beside the video's."""
    sizes = dict(zip(("channels", "length", "bands"), KINDS[kind].sound, strict=True))

    def with_sound(b: Builder) -> Scene:
        silent = scene(b)
        sound = b.link("MatrixSoundLatent", seed=4, **sizes)
        both = b.link("LTXVConcatAVLatent", video_latent=silent.latent, audio_latent=sound)
        return Scene(silent.positive, silent.negative, both)

    return with_sound


def _video(b: Builder, latent: Link) -> Link:
    return b.link("LTXVSeparateAVLatent", av_latent=latent)


def _lora(kind: str) -> Patch:
    return lambda b, model: b.link(
        "LoraLoaderModelOnly", model=model, lora_name=f"made_lora_{kind}.safetensors", strength_model=1.0
    )


def _made(kind: str, weight_dtype: str = "default") -> Callable[[Builder], Link]:
    """The host's own loader on a made model, with the sizes that it cannot find out."""
    sizes, name = KINDS[kind].sizes_not_found, f"made_{kind}"
    if not sizes:
        return file(name, weight_dtype)
    small = {"name": f"{name}.safetensors", "weight_dtype": weight_dtype, "sizes": json.dumps(sizes)}
    return lambda b: b.link("MatrixLoadSmall", **small)


def _rows(kind: str, name: str) -> tuple[Row, ...]:
    how = {"scene": _scene(kind), "empty": _prompt(kind), "reference": _latent(kind, 1)}
    return (
        Row("models", name, _made(kind), **how),
        Row("models", f"{name}, fp8", _made(kind, "fp8_e4m3fn"), **how),
        Row("models", f"{name}, LoRA", _made(kind), before=_lora(kind), **how),
        Row("models", f"{name}, memory smallest", _made(kind), guidance={"memory": "smallest"}, **how),
    )


def _kept(kind: str, name: str) -> Row:
    how = {"empty": _prompt(kind), "reference": _latent(kind, 1)}
    return Row("models", f"{name}, first frame kept", _made(kind), _start_kept(kind), **how)


def _sound_rows(kind: str, name: str) -> tuple[Row, ...]:
    how = {"empty": _prompt(kind), "reference": _latent(kind, 1), "saved": _video}
    plain, kept = (_with_sound(kind, scene) for scene in (_scene(kind), _start_kept(kind)))
    return (
        Row("models", f"{name} with sound", _made(kind), plain, **how),
        Row("models", f"{name} with sound, heun", _made(kind), plain, sampling={"sampler_name": "heun"}, **how),
        Row("models", f"{name} with sound, first frame kept", _made(kind), kept, **how),
    )


FAMILIES = (
    *_rows("ltxv", "LTX-Video 0.9"),
    _kept("ltxv", "LTX-Video 0.9"),
    *_rows("ltx2", "LTX-2"),
    _kept("ltx2", "LTX-2"),
    *_sound_rows("ltx2", "LTX-2"),
    *_rows("ltx23", "LTX-2.3"),
    *_rows("hunyuan", "Hunyuan Video 1.0"),
    _kept("hunyuan", "Hunyuan Video 1.0"),
    *_rows("hunyuan15", "Hunyuan Video 1.5"),
    *_rows("predict2", "Cosmos Predict 2"),
    _kept("predict2", "Cosmos Predict 2"),
    *_rows("mochi", "Mochi"),
    *_rows("cosmos", "Cosmos 1"),
    _kept("cosmos", "Cosmos 1"),
    *_rows("kandinsky5", "Kandinsky 5"),
)
