"""The templates. Settings of the tiny model come from the demo's graph, which the measurements are about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.build.spec import From, Group, Model, Node, Note, Value, Workflow

DEMO_GRAPH = Path(__file__).resolve().parents[2] / "assets" / "api" / "tiny_motion_transfer.json"

GREEN, BLUE, VIOLET, BROWN, GREY = "#3f6b4f", "#3f789e", "#66548c", "#8c6b3f", "#555555"

WAN21 = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files"
WAN22 = "https://huggingface.co/Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files"


def _file(repository: str, directory: str, name: str) -> Model:
    return Model(name, directory, f"{repository}/{directory}/{name}")


T2V = _file(WAN21, "diffusion_models", "wan2.1_t2v_1.3B_fp16.safetensors")
I2V = _file(WAN21, "diffusion_models", "wan2.1_i2v_480p_14B_fp8_scaled.safetensors")
HIGH = _file(WAN22, "diffusion_models", "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors")
LOW = _file(WAN22, "diffusion_models", "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors")
HIGH_LORA = _file(WAN22, "loras", "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors")
LOW_LORA = _file(WAN22, "loras", "wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise.safetensors")
UMT5 = _file(WAN21, "text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors")
VAE = _file(WAN21, "vae", "wan_2.1_vae.safetensors")
CLIP_VISION = _file(WAN21, "clip_vision", "clip_vision_h.safetensors")

POSITIVE = "A red fox runs through fresh snow, birch forest behind it, soft winter light, film look"
NEGATIVE = "blurry, static, deformed, low quality, watermark, text"
SMALL_CARD = "**12 GB**: `length` 49 or less in *Encode reference*, and `memory` on `smallest`."
PLAYER = 330
"""For a picture or a video player."""
PICTURES = 430
"""For pictures of a motion, which are taller, with a legend below; one at a time fills the node's width."""
PANEL = 360
"""Pixels of a node's height for the live panel and the line of progress below it."""
REPORT = 90
"""For a text that a node shows once it has run."""
TEXT_SHOWN = 150
"""For the text in Preview as Text."""
UPLOAD = 29
"""For the button that the page puts below the list of motions."""
DESCRIBED = 220
"""For what a motion's file says of itself."""
CURVE = 150
"""For the curve of Loss Weights."""
FRAMES = From("Reference frames", "images")
BLACK, WHITE = 0, 0xFFFFFF
SHIPPED_MOTION = "tiny_arc.safetensors"
"""Made by ``python -m tools.workflows.shipped_motion``."""


def workflows() -> list[Workflow]:
    """Every template, the one that runs anywhere first."""
    return [
        _tiny_demo(),
        _tiny_side_by_side(),
        _tiny_edit_and_blend(),
        _tiny_motion_library(),
        _tiny_fidelity_report(),
        _text_to_video(),
        _from_reference(),
        _image_to_video(),
        _wan22_pair(),
        _four_steps(),
    ]


def _demo(title: str) -> dict[str, Any]:
    """Widgets of a node of the demo's graph."""
    graph = json.loads(DEMO_GRAPH.read_text(encoding="utf-8"))
    inputs = next(node["inputs"] for node in graph.values() if node["_meta"]["title"] == title)
    return {name: value for name, value in inputs.items() if not isinstance(value, list)}


# --- The tiny model


def _tiny_start() -> tuple[Group, ...]:
    return (Group("1  Model and reference", (*_tiny_model(), *_tiny_reference()), BLUE),)


def _tiny_model() -> tuple[Node, ...]:
    return (
        Node("TinyWanLoader", "Tiny Wan"),
        Node("ModelSamplingSD3", "Shift", {"model": From("Tiny Wan", "MODEL"), **_demo("Shift")}),
    )


def _tiny_reference() -> tuple[Node, ...]:
    clip = {"vae": From("Tiny Wan", "VAE"), "frames": FRAMES, "source_fps": From("Reference frames", "fps")}
    return (
        Node("GetVideoComponents", "Reference frames", {"video": From("Tiny Wan", "reference")}),
        Node("FastVMTEncodeReference", "Encode reference", {**clip, **_demo("Encode reference")}, extra=REPORT),
    )


def _tiny_prompts_and_motion(prompt: str = "blue square plain") -> tuple[Group, ...]:
    return (
        Group("2  Prompt", (_tiny_prompt("Prompt", prompt), _tiny_prompt("Empty prompt", "")), GREEN),
        Group("3  Motion", (_invert(From("Shift", "MODEL"), _demo("Invert motion")), _tiny_weights()), VIOLET),
    )


def _tiny_prompt(name: str, text: str) -> Node:
    return Node("TinyWanPrompt", name, {"prompt": text})


def _tiny_weights() -> Node:
    return Node("FastVMTLossWeights", "Loss weights", _demo("Loss weights"), extra=CURVE)


def _tiny_sampler(name: str, motion: From, prompt: str = "Prompt", seed: int = 0) -> Node:
    """The sampler of the demo, along a motion."""
    sample = {
        "model": From("Shift", "MODEL"),
        "motion": motion,
        "positive": From(prompt, "CONDITIONING"),
        "negative": From("Empty prompt", "CONDITIONING"),
        "latent_image": From("Empty latent", "LATENT"),
        "weights": From("Loss weights", "weights"),
        **_demo("Sample guided"),
        **_demo("Apply motion"),
        "seed": seed,
    }
    return Node("FastVMTSampler", f"Sample {name}", sample, extra=PANEL)


def _tiny_video(name: str) -> tuple[Node, ...]:
    """What a node of ``_tiny_sampler`` made."""
    return _video(name, From(f"Sample {name}", "latent"), From("Tiny Wan", "VAE"))


def _invert(model: From, widgets: dict[str, Any] | None = None, conditions: From | None = None) -> Node:
    """Read the reference's motion; the node shows what it found."""
    sources = {
        "model": model,
        "reference": From("Encode reference", "reference"),
        "empty_prompt": conditions or From("Empty prompt", "CONDITIONING"),
    }
    return Node("FastVMTInvertMotion", "Invert motion", {**sources, **(widgets or {})}, extra=PICTURES)


def _empty_latent() -> Node:
    size = {name: From("Encode reference", name) for name in ("width", "height", "length")}
    return Node("EmptyHunyuanLatentVideo", "Empty latent", {**size, "batch_size": 1})


def _video(name: str, latent: From, vae: From) -> tuple[Node, ...]:
    """Decode, and save with a player on the node."""
    return (
        Node("VAEDecode", f"Decode {name}", {"samples": latent, "vae": vae}),
        *_shown(name, From(f"Decode {name}", "IMAGE")),
    )


def _shown(name: str, images: From) -> tuple[Node, ...]:
    """Pictures as a video with a player."""
    return (
        Node("CreateVideo", f"Create {name}", {"images": images, "fps": 16.0}),
        _save(name, From(f"Create {name}", "VIDEO")),
    )


def _save(name: str, video: From) -> Node:
    widgets = {"filename_prefix": f"fastvmt/{name.replace(' ', '_')}", "format": "mp4", "codec": "h264"}
    return Node("SaveVideo", f"Video {name}", {"video": video, **widgets}, extra=PLAYER)


def _tiny_demo() -> Workflow:
    note = Note(
        "## First motion transfer\n"
        "Nothing to download: the tiny model comes with FastVMT. Press **Run**.\n\n"
        "The reference shows a **red circle on an arc**. The prompt asks for a **blue square**; it will move on "
        "the same "
        "arc. Watch the loss fall in *Sample guided*: dots are gradients the model was asked for, ticks are "
        "reused ones. "
        "Blue arrows are the reference's motion, orange ones the new video's.\n\n"
        "**Try**\n"
        "- another prompt: `yellow circle plain`, `green square stripes`\n"
        "- `strength` 0 in *Sample guided*: the same seed without guidance\n"
        "- another clip: *Load Video* in place of *Tiny Wan*'s reference",
        height=390,
    )
    sampling = (_empty_latent(), _tiny_sampler("guided", From("Invert motion", "motion")))
    save = _save("reference", From("Tiny Wan", "reference"))
    return Workflow(
        "00_tiny_demo",
        "Runs anywhere: a tiny model that comes with the pack follows a reference clip. No download, no GPU.",
        (
            (Group("Start here", (note,), GREY, 340), *_tiny_start()),
            _tiny_prompts_and_motion(),
            (Group("4  Sample along the motion", sampling, BROWN, 360),),
            (Group("5  Reference and result", (save, *_tiny_video("guided")), GREY, 320),),
        ),
    )


def _tiny_side_by_side() -> Workflow:
    note = Note(
        "## With and without\n"
        "The same model, prompt and seed twice: left as it comes, right with **Apply Motion** before the KSampler. Any "
        "sampler, LoRA or patch works downstream of *Apply Motion*.\n\n"
        "To guide some steps more than others, drag the points of *Loss weights*' curve: it scales the strength of "
        "each guided step.",
        height=300,
    )
    applied = {
        "model": From("Shift", "MODEL"),
        "motion": From("Invert motion", "motion"),
        "weights": From("Loss weights", "weights"),
        **_demo("Apply motion"),
    }
    return Workflow(
        "01_tiny_side_by_side",
        "Runs anywhere: the same seed with and without the motion, through Apply Motion and ordinary KSamplers.",
        (
            (Group("Note", (note,), GREY, 320), *_tiny_start()),
            _tiny_prompts_and_motion(),
            (
                Group(
                    "4  Guided",
                    (
                        _empty_latent(),
                        Node("FastVMTApplyMotion", "Apply motion", applied, extra=PANEL),
                        _tiny_ksampler("guided", From("Apply motion", "MODEL")),
                    ),
                    BROWN,
                    360,
                ),
            ),
            (
                Group(
                    "5  Result",
                    _video("guided", From("Sample guided", "LATENT"), From("Tiny Wan", "VAE")),
                    GREY,
                ),
                Group("Reference", (_save("reference", From("Tiny Wan", "reference")),), GREY),
            ),
            (
                Group("4  Not guided", (_tiny_ksampler("unguided", From("Shift", "MODEL")),), BROWN),
                Group(
                    "5  Result",
                    _video("unguided", From("Sample unguided", "LATENT"), From("Tiny Wan", "VAE")),
                    GREY,
                ),
            ),
        ),
    )


def _tiny_edit_and_blend() -> Workflow:
    note = Note(
        "## A motion is footage\n"
        "The reference's motion is **mirrored**. A copy of that is **reversed**. *Blend motion* puts the two together "
        "in time: the first half from one, the second half from the other. So the green circle goes along the mirrored "
        "arc and **comes back**.\n\n"
        "*Refresh motion* lets the model read what came of the edits; the video then follows them better. The arrows "
        "of *Preview* are the motion, drawn over the new video.\n\n"
        "**Try**\n"
        "- another `edit` in *Mirror*: `mirror up and down`, `amplify` with `amount` 0.5,\n  `freeze` from 4 to 12\n"
        "- another mask in *Blend motion*: a painted one blends left and right, or here and there\n"
        "- **FastVMT Mask Motion** before the sampler: only a part of the picture is guided",
        height=460,
    )
    reverse = {"motion": From("Mirror", "motion"), "edit": "reverse"}
    both = {"motion_a": From("Mirror", "motion"), "motion_b": From("Reverse", "motion")}
    blend = {**both, "blend": "mask", "weight": 1.0, "feather": 0.0, "mask": From("First a, then b", "MASK")}
    halves = {"image1": From("First half", "IMAGE"), "image2": From("Second half", "IMAGE")}
    again = {"model": From("Shift", "MODEL"), "empty_prompt": From("Empty prompt", "CONDITIONING")}
    shown = {"motion": From("Refresh motion", "motion"), "frames": From("Decode guided", "IMAGE")}
    return Workflow(
        "02_tiny_edit_and_blend",
        "Runs anywhere: mirror a motion, reverse it, and blend the two: the same way there and back.",
        (
            (Group("Start here", (note,), GREY, 340), *_tiny_start()),
            _tiny_prompts_and_motion("green circle plain"),
            (
                Group(
                    "4  Edit",
                    (
                        Node(
                            "FastVMTEditMotion",
                            "Mirror",
                            {"motion": From("Invert motion", "motion"), "edit": "mirror left and right"},
                        ),
                        Node("FastVMTEditMotion", "Reverse", reverse),
                    ),
                    VIOLET,
                ),
                Group(
                    "5  Blend: first a, then b",
                    (
                        _plain_picture("First half", BLACK),
                        _plain_picture("Second half", WHITE),
                        Node("ImageBatch", "One after the other", halves),
                        Node(
                            "ImageToMask",
                            "First a, then b",
                            {"image": From("One after the other", "IMAGE"), "channel": "red"},
                        ),
                        Node("FastVMTBlendMotion", "Blend motion", blend),
                    ),
                    VIOLET,
                ),
            ),
            (
                Group(
                    "6  Refresh",
                    (
                        Node(
                            "FastVMTRefreshMotion",
                            "Refresh motion",
                            {**again, "motion": From("Blend motion", "motion")},
                        ),
                    ),
                    VIOLET,
                    360,
                ),
                Group(
                    "7  Sample",
                    (_empty_latent(), _tiny_sampler("guided", From("Refresh motion", "motion"), seed=3)),
                    BROWN,
                    360,
                ),
            ),
            (
                Group("8  Result", _tiny_video("guided"), GREY, 320),
                Group("9  Look", (Node("FastVMTPreviewMotion", "Preview", shown, extra=PICTURES),), GREY, 320),
            ),
        ),
    )


def _plain_picture(name: str, colour: int) -> Node:
    return Node("EmptyImage", name, {"width": 128, "height": 128, "batch_size": 1, "color": colour})


def _tiny_motion_library() -> Workflow:
    note = Note(
        "## Save once, load many\n"
        "*Load motion* brings a motion that was read before: **no clip, no reading**. Here one file serves two prompts "
        "and seeds: square and circle move alike. `tiny_arc` comes with FastVMT.\n\n"
        "On the right, *Save motion* keeps the demo's motion as `my_motion` in `models/fastvmt_motion`. Press **R** "
        "after a run, and *Load motion* lists it.\n\n"
        "**Try**\n"
        "- *Load Video* with a clip of yours before *Reference frames*, then its motion in *Load motion*\n"
        "- another size or length in *Empty latent*: the motion is resampled to it\n"
        "- `keep_reference` off, before you give a file away: whoever has the latent can decode the clip",
        height=430,
    )
    motion = From("Load motion", "motion")
    kept = {
        "motion": From("Invert motion", "motion"),
        "name": "my_motion",
        "note": "A red circle on an arc.",
        "frames": FRAMES,
        "fps": From("Reference frames", "fps"),
    }
    size = {name: value for name, value in _demo("Encode reference").items() if name in ("width", "height", "length")}
    return Workflow(
        "03_tiny_motion_library",
        "Runs anywhere: keep a motion in a file, and use it with any prompt and seed, without its clip.",
        (
            (Group("Start here", (note,), GREY, 340), Group("1  Model", _tiny_model(), BLUE)),
            (
                Group(
                    "2  Load",
                    (
                        Node("FastVMTLoadMotion", "Load motion", {"motion": SHIPPED_MOTION}, extra=UPLOAD + DESCRIBED),
                        Node("PreviewImage", "Thumbnail", {"images": From("Load motion", "thumbnail")}, extra=PLAYER),
                    ),
                    VIOLET,
                ),
                Group(
                    "3  Prompts",
                    (
                        _tiny_prompt("Prompt one", "blue square plain"),
                        _tiny_prompt("Prompt two", "green circle plain"),
                        _tiny_prompt("Empty prompt", ""),
                        _tiny_weights(),
                        Node("EmptyHunyuanLatentVideo", "Empty latent", {**size, "batch_size": 1}),
                    ),
                    GREEN,
                ),
            ),
            (
                Group("4  One", (_tiny_sampler("one", motion, "Prompt one"),), BROWN, 360),
                Group("5  Result", _tiny_video("one"), GREY),
            ),
            (
                Group("4  Two", (_tiny_sampler("two", motion, "Prompt two", seed=1),), BROWN, 360),
                Group("5  Result", _tiny_video("two"), GREY),
            ),
            (
                Group(
                    "Save, once",
                    (
                        *_tiny_reference(),
                        _invert(From("Shift", "MODEL"), _demo("Invert motion")),
                        Node("FastVMTSaveMotion", "Save motion", kept, extra=DESCRIBED),
                    ),
                    BLUE,
                ),
            ),
        ),
    )


def _said(name: str, text: From) -> Node:
    """A text on the canvas."""
    return Node("PreviewAny", name, {"source": text}, extra=TEXT_SHOWN)


def _tiny_fidelity_report() -> Workflow:
    note = Note(
        "## How well does it follow?\n"
        "The same prompt and seed twice, **guided** and **unguided**, each compared with the reference: points that "
        "move are followed through both clips, and their ways compared. 1 is alike, 0 has nothing in common. *Video "
        "tracks* shows the ways: the reference to the left, the new video to the right.\n\n"
        "**This one needs OpenCV**, which ComfyUI does not bring: `pip install opencv-python-headless` in ComfyUI's "
        "Python environment, then restart.\n\n"
        "**Try**\n"
        "- another `seed` in both samplers: one run says little\n"
        "- fewer `inner_steps` in *Sample guided*, and watch the figure",
        height=430,
    )
    return Workflow(
        "04_tiny_fidelity_report",
        "Runs anywhere: judge a guided and an unguided video against the reference. Needs OpenCV.",
        (
            (Group("Start here", (note,), GREY, 340), *_tiny_start()),
            _tiny_prompts_and_motion(),
            (
                Group(
                    "4  Guided",
                    (_empty_latent(), _tiny_sampler("guided", From("Invert motion", "motion"))),
                    BROWN,
                    360,
                ),
                Group("5  Not guided", (_tiny_ksampler("unguided", From("Shift", "MODEL")),), BROWN, 360),
            ),
            (
                Group("6  Guided video", _tiny_video("guided"), GREY),
                Group(
                    "6  Unguided video",
                    _video("unguided", From("Sample unguided", "LATENT"), From("Tiny Wan", "VAE")),
                    GREY,
                ),
            ),
            (
                Group("7  Guided, judged", _judged("guided"), GREY),
                Group("7  Unguided, judged", _judged("unguided"), GREY),
            ),
        ),
    )


def _judged(name: str) -> tuple[Node, ...]:
    clips = {"generated": From(f"Decode {name}", "IMAGE"), "reference": FRAMES, "spacing": 8}
    return (
        Node("FastVMTMotionFidelity", f"Fidelity {name}", clips, extra=REPORT),
        _said(f"Report {name}", From(f"Fidelity {name}", "report")),
        *_shown(f"tracks {name}", From(f"Fidelity {name}", "tracks")),
    )


def _tiny_ksampler(name: str, model: From) -> Node:
    prompts = {"positive": From("Prompt", "CONDITIONING"), "negative": From("Empty prompt", "CONDITIONING")}
    latent = {"latent_image": From("Empty latent", "LATENT")}
    return Node("KSampler", f"Sample {name}", {"model": model, **prompts, **latent, **_demo(f"Sample {name}")})


# --- Wan 2.1 and 2.2


def _loader(name: str, model: Model) -> Node:
    return Node("UNETLoader", name, {"unet_name": model.name, "weight_dtype": "default"}, (model,))


def _shift(name: str, model: From, shift: float) -> Node:
    return Node("ModelSamplingSD3", name, {"model": model, "shift": shift})


def _text_and_vae() -> tuple[Node, ...]:
    return (
        Node("CLIPLoader", "Text encoder", {"clip_name": UMT5.name, "type": "wan", "device": "default"}, (UMT5,)),
        Node("VAELoader", "VAE", {"vae_name": VAE.name}, (VAE,)),
    )


def _reference(length: int = 81) -> Group:
    size: dict[str, Value | From] = {"width": 832, "height": 480, "length": length}
    clip = {
        "vae": From("VAE", "VAE"),
        "frames": From("Reference frames", "images"),
        "source_fps": From("Reference frames", "fps"),
    }
    return Group(
        "2  Reference clip",
        (
            Node("LoadVideo", "Reference video", {"file": "reference.mp4"}, extra=PLAYER),
            Node("GetVideoComponents", "Reference frames", {"video": From("Reference video", "VIDEO")}),
            Node("FastVMTEncodeReference", "Encode reference", {**clip, **size}, extra=REPORT),
        ),
        BLUE,
    )


def _prompts() -> Group:
    def prompt(name: str, text: str) -> Node:
        clip = From("Text encoder", "CLIP")
        return Node("CLIPTextEncode", name, {"clip": clip, "text": text})

    return Group(
        "3  Prompt",
        (prompt("Prompt", POSITIVE), prompt("Negative prompt", NEGATIVE), prompt("Empty prompt", "")),
        GREEN,
    )


def _motion(model: From) -> Group:
    return Group("4  Motion", (_invert(model),), VIOLET)


def _sampling_notes(extra: str) -> str:
    return (
        "## Before the first run\n"
        "1. Load the models that the boxes name (the page offers the downloads).\n"
        "2. Choose your own clip in *Reference video*.\n"
        "3. Write the prompt. It says what is seen; the motion comes from the clip.\n\n"
        "*Empty prompt* stays empty: the motion is read without words.\n\n" + extra
    )


def _result(latent: From, number: int = 6) -> Group:
    return Group(f"{number}  Result", _video("guided", latent, From("VAE", "VAE")), GREY)


def _ksampler_inputs(**changes: object) -> dict[str, Any]:
    widgets = {"seed": 0, "steps": 30, "cfg": 6.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    prompts = {"positive": From("Prompt", "CONDITIONING"), "negative": From("Negative prompt", "CONDITIONING")}
    return {**widgets, **prompts, **changes}


def _text_to_video() -> Workflow:
    note = _sampling_notes(
        "**Weaker or stronger**: `inner_steps`, `lr_start`, `end_percent`. **Faster**: a higher `gradient_interval`. "
        "**Out of memory** (12 GB): `memory` on `smallest`; fewer frames or a smaller size in *Encode reference*, and "
        "everything follows."
    )
    sample = _ksampler_inputs(
        model=From("Shift", "MODEL"),
        motion=From("Invert motion", "motion"),
        latent_image=From("Empty latent", "LATENT"),
    )
    return Workflow(
        "10_text_to_video",
        "Wan 2.1 1.3B: a new video from text that moves like your clip.",
        (
            (
                Group("Read me", (Note(note, 420),), GREY),
                Group(
                    "1  Models",
                    (_loader("Model", T2V), _shift("Shift", From("Model", "MODEL"), 8.0), *_text_and_vae()),
                ),
            ),
            (_reference(),),
            (_prompts(), _motion(From("Shift", "MODEL"))),
            (
                Group(
                    "5  Sample along the motion",
                    (_empty_latent(), Node("FastVMTSampler", "Sample guided", sample, extra=PANEL)),
                    BROWN,
                    360,
                ),
            ),
            (_result(From("Sample guided", "latent")),),
        ),
    )


def _from_reference() -> Workflow:
    note = _sampling_notes(
        "This one starts from the **reference itself**, noised (`denoise` 0.75), instead of from noise alone: "
        "layout and "
        "colours of the clip shine through. `end_percent` is 0.45, because it counts from pure noise and such a "
        "start is "
        "already part of the way. For another look altogether take *Text to video* instead."
    )
    sample = _ksampler_inputs(
        model=From("Shift", "MODEL"),
        motion=From("Invert motion", "motion"),
        latent_image=From("Encode reference", "reference"),
        denoise=0.75,
        end_percent=0.45,
    )
    return Workflow(
        "11_start_from_reference",
        "Wan 2.1 1.3B: start from the noised reference, to keep its layout as well as its motion.",
        (
            (
                Group("Read me", (Note(note, 480),), GREY),
                Group(
                    "1  Models",
                    (_loader("Model", T2V), _shift("Shift", From("Model", "MODEL"), 8.0), *_text_and_vae()),
                ),
            ),
            (_reference(),),
            (_prompts(), _motion(From("Shift", "MODEL"))),
            (
                Group(
                    "5  Sample along the motion",
                    (Node("FastVMTSampler", "Sample guided", sample, extra=PANEL),),
                    BROWN,
                    360,
                ),
            ),
            (_result(From("Sample guided", "latent")),),
        ),
    )


def _image_to_video() -> Workflow:
    note = _sampling_notes(
        "**The first frame is yours**: *First frame* gives the look, the clip gives the motion. Choose a picture whose "
        "subject stands where the clip's does, or the two will pull in different directions.\n\n"
        "The motion is read with the same image model, under the picture's own conditions.\n\n" + SMALL_CARD
    )
    size = {name: From("Encode reference", name) for name in ("width", "height", "length")}
    empty = {
        "positive": From("Empty prompt", "CONDITIONING"),
        "negative": From("Empty prompt", "CONDITIONING"),
        "vae": From("VAE", "VAE"),
        **size,
        "clip_vision_output": From("See first frame", "CLIP_VISION_OUTPUT"),
        "start_image": From("First frame", "IMAGE"),
    }
    conditions = {
        **empty,
        "positive": From("Prompt", "CONDITIONING"),
        "negative": From("Negative prompt", "CONDITIONING"),
    }
    sample = _ksampler_inputs(
        model=From("Shift", "MODEL"),
        motion=From("Invert motion", "motion"),
        positive=From("Image to video", "positive"),
        negative=From("Image to video", "negative"),
        latent_image=From("Image to video", "latent"),
    )
    see = {"clip_vision": From("CLIP vision", "CLIP_VISION"), "image": From("First frame", "IMAGE"), "crop": "none"}
    return Workflow(
        "12_image_to_video",
        "Wan 2.1 I2V 14B: your picture as first frame, moving like your clip.",
        (
            (
                Group("Read me", (Note(note, 480),), GREY),
                Group(
                    "1  Models",
                    (
                        _loader("Model", I2V),
                        _shift("Shift", From("Model", "MODEL"), 8.0),
                        *_text_and_vae(),
                        Node("CLIPVisionLoader", "CLIP vision", {"clip_name": CLIP_VISION.name}, (CLIP_VISION,)),
                    ),
                ),
            ),
            (_reference(),),
            (
                _prompts(),
                Group(
                    "First frame",
                    (
                        Node("LoadImage", "First frame", {"image": "example.png"}, extra=PLAYER),
                        Node("CLIPVisionEncode", "See first frame", see),
                    ),
                    BLUE,
                ),
            ),
            (
                Group(
                    "4  Motion",
                    (
                        Node("WanImageToVideo", "Image to video (empty prompt)", empty),
                        _invert(From("Shift", "MODEL"), conditions=From("Image to video (empty prompt)", "positive")),
                    ),
                    VIOLET,
                ),
            ),
            (
                Group(
                    "5  Sample along the motion",
                    (
                        Node("WanImageToVideo", "Image to video", conditions),
                        Node("FastVMTSampler", "Sample guided", sample, extra=PANEL),
                    ),
                    BROWN,
                    360,
                ),
            ),
            (_result(From("Sample guided", "latent")),),
        ),
    )


def _pair(
    name: str, says: str, note: str, steps: int, split: int, cfg: float, shift: float, loras: bool, **guidance: float
) -> Workflow:
    """High- and low-noise expert: the motion is read with the low one and guides the high one."""

    def expert(kind: str, model: Model, lora: Model) -> tuple[Node, ...]:
        source = From(f"{kind} noise", "MODEL")
        added: tuple[Node, ...] = ()
        if loras:
            widgets = {"lora_name": lora.name, "strength_model": 1.0}
            added = (Node("LoraLoaderModelOnly", f"{kind} LoRA", {"model": source, **widgets}, (lora,)),)
            source = From(f"{kind} LoRA", "MODEL")
        return _loader(f"{kind} noise", model), *added, _shift(f"{kind} shift", source, shift)

    def sampler(kind: str, model: From, latent: From, first: int, last: int, fresh: bool) -> Node:
        widgets = {
            "add_noise": "enable" if fresh else "disable",
            "noise_seed": 0,
            "steps": steps,
            "cfg": cfg,
            "sampler_name": "euler",
            "scheduler": "simple",
            "start_at_step": first,
            "end_at_step": last,
            "return_with_leftover_noise": "enable" if fresh else "disable",
        }
        prompts = {"positive": From("Prompt", "CONDITIONING"), "negative": From("Negative prompt", "CONDITIONING")}
        return Node(
            "KSamplerAdvanced", f"Sample {kind}", {"model": model, "latent_image": latent, **prompts, **widgets}
        )

    applied = {"model": From("High shift", "MODEL"), "motion": From("Invert motion", "motion"), **guidance}
    guidance = (_empty_latent(), Node("FastVMTApplyMotion", "Apply motion", applied, extra=PANEL))
    samplers = (
        sampler("high", From("Apply motion", "MODEL"), From("Empty latent", "LATENT"), 0, split, True),
        sampler("low", From("Low shift", "MODEL"), From("Sample high", "LATENT"), split, 10000, False),
    )
    models = (*expert("High", HIGH, HIGH_LORA), *expert("Low", LOW, LOW_LORA), *_text_and_vae())
    return Workflow(
        name,
        says,
        (
            (Group("Read me", (Note(_sampling_notes(note), 480),), GREY), Group("1  Models", models, BLUE)),
            (_reference(),),
            (_prompts(), _motion(From("Low shift", "MODEL"))),
            (Group("5  Guide the high-noise model", guidance, BROWN, 360),),
            (Group("6  Sample: high, then low noise", samplers, BROWN),),
            (_result(From("Sample low", "LATENT"), 7),),
        ),
    )


def _wan22_pair() -> Workflow:
    return _pair(
        "20_wan22_high_low",
        "Wan 2.2 14B: motion read with the low-noise model, applied to the high-noise one.",
        "**Two models**: the high-noise one draws layout and motion, the low-noise one the detail. The motion is read "
        "from the **low-noise** model, because the other never saw a clip with little noise, and steers the "
        "**high-noise** one. The second sampler is an ordinary one.\n\n" + SMALL_CARD,
        steps=20,
        split=10,
        cfg=3.5,
        shift=8.0,
        loras=False,
    )


def _four_steps() -> Workflow:
    return _pair(
        "21_wan22_four_steps",
        "Wan 2.2 14B with 4-step LoRAs: the quickest way to a guided video at full size.",
        "**Four steps**: two with each model, `cfg` 1. Only the first steps decide the motion, so each is guided "
        "longer: `inner_steps` 20, `end_percent` 0.5 (the first two). Too stiff? Lower `inner_steps`. Not enough? "
        "Raise `lr_start` and `lr_end` together. A run takes 4 to 6 times as long as without guidance.\n\n"
        + SMALL_CARD,
        steps=4,
        split=2,
        cfg=1.0,
        shift=5.0,
        loras=True,
        inner_steps=20,
        end_percent=0.5,
    )
