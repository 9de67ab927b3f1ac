"""Templates of the tiny model. Their settings come from the demo's graph, which the measurements are about."""

from __future__ import annotations

from tools.build.graphs.parts import (
    BLUE,
    BROWN,
    DESCRIBED,
    GREEN,
    GREY,
    PANEL,
    PICTURES,
    PLAYER,
    REPORT,
    TEXT_SHOWN,
    UPLOAD,
    VIOLET,
    demo_widgets,
    empty_latent,
    invert,
    save_video,
    shown,
    video,
)
from tools.build.graphs.tiny_parts import (
    FRAMES,
    frames,
    ksampler,
    prompts_and_motion,
    reference,
    sampler,
    start,
    tiny_model,
    tiny_prompt,
    tiny_video,
    weights,
)
from tools.build.spec import From, Group, Node, Note, Workflow

BLACK, WHITE = 0, 0xFFFFFF
SHIPPED_MOTION = "tiny_arc.safetensors"
"""Made by ``python -m tools.build motion``."""


def tiny_demo() -> Workflow:
    note = Note(
        "## First motion transfer\n"
        "Nothing to download: the tiny model comes with FastVMT. Press **Run**.\n\n"
        "The reference shows a **red circle on an arc**. The prompt asks for a **blue square**; it will move on "
        "the same "
        "arc. Watch the loss fall in *Sample guided*: dots are fresh gradients, ticks are reused ones. "
        "Blue arrows are the reference's motion, orange ones the new video's.\n\n"
        "**Try**\n"
        "- another prompt: `yellow circle plain`, `green square stripes`\n"
        "- `strength` 0 in *Sample guided*: the same seed without guidance\n"
        "- another clip: *Load Video* into `video` of *Encode reference*",
        height=390,
    )
    sampling = (empty_latent(), sampler("guided", From("Invert motion", "motion")))
    save = save_video("reference", From("Tiny Wan", "reference"))
    return Workflow(
        "00_tiny_demo",
        "Runs anywhere: a tiny model that comes with the pack follows a reference clip. No download, no GPU.",
        (
            (Group("Start here", (note,), GREY, 340), *start()),
            prompts_and_motion(),
            (Group("4  Sample along the motion", sampling, BROWN, 360),),
            (Group("5  Reference and result", (save, *tiny_video("guided")), GREY, 320),),
        ),
    )


def tiny_side_by_side() -> Workflow:
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
        **demo_widgets("Apply motion"),
    }
    return Workflow(
        "01_tiny_side_by_side",
        "Runs anywhere: the same seed with and without the motion, through Apply Motion and ordinary KSamplers.",
        (
            (Group("Note", (note,), GREY, 320), *start()),
            prompts_and_motion(),
            (
                Group(
                    "4  Guided",
                    (
                        empty_latent(),
                        Node("FastVMTApplyMotion", "Apply motion", applied, extra=PANEL),
                        ksampler("guided", From("Apply motion", "MODEL")),
                    ),
                    BROWN,
                    360,
                ),
            ),
            (
                Group(
                    "5  Result",
                    video("guided", From("Sample guided", "LATENT"), From("Tiny Wan", "VAE")),
                    GREY,
                ),
                Group("Reference", (save_video("reference", From("Tiny Wan", "reference")),), GREY),
            ),
            (
                Group("4  Not guided", (ksampler("unguided", From("Shift", "MODEL")),), BROWN),
                Group(
                    "5  Result",
                    video("unguided", From("Sample unguided", "LATENT"), From("Tiny Wan", "VAE")),
                    GREY,
                ),
            ),
        ),
    )


def tiny_edit_and_blend() -> Workflow:
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
        "- **FastVMT Mask Motion** before the sampler: only a part of the image is guided",
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
        "Runs anywhere: mirror a motion, reverse it, and blend the two: along the same path, and back.",
        (
            (Group("Start here", (note,), GREY, 340), *start()),
            prompts_and_motion("green circle plain"),
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
                        _plain_image("First half", BLACK),
                        _plain_image("Second half", WHITE),
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
                    (empty_latent(), sampler("guided", From("Refresh motion", "motion"), seed=3)),
                    BROWN,
                    360,
                ),
            ),
            (
                Group("8  Result", tiny_video("guided"), GREY, 320),
                Group("9  Preview", (Node("FastVMTPreviewMotion", "Preview", shown, extra=PICTURES),), GREY, 320),
            ),
        ),
    )


def _plain_image(name: str, colour: int) -> Node:
    return Node("EmptyImage", name, {"width": 128, "height": 128, "batch_size": 1, "color": colour})


def tiny_motion_library() -> Workflow:
    note = Note(
        "## Save once, load many\n"
        "*Load motion* brings a motion that was read before: **no clip, no reading**. Here one file serves two prompts "
        "and seeds: square and circle move alike. `tiny_arc` comes with FastVMT.\n\n"
        "On the right, *Save motion* keeps the demo's motion as `my_motion` in `models/fastvmt_motion`. Press **R** "
        "after a run, and *Load motion* lists it.\n\n"
        "**Try**\n"
        "- *Load Video* with a clip of yours into *Encode reference*, then its motion in *Load motion*\n"
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
    size = {
        name: value for name, value in demo_widgets("Encode reference").items() if name in ("width", "height", "length")
    }
    return Workflow(
        "03_tiny_motion_library",
        "Runs anywhere: keep a motion in a file, and use it with any prompt and seed, without its clip.",
        (
            (Group("Start here", (note,), GREY, 340), Group("1  Model", tiny_model(), BLUE)),
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
                        tiny_prompt("Prompt one", "blue square plain"),
                        tiny_prompt("Prompt two", "green circle plain"),
                        tiny_prompt("Empty prompt", ""),
                        weights(),
                        Node("EmptyHunyuanLatentVideo", "Empty latent", {**size, "batch_size": 1}),
                    ),
                    GREEN,
                ),
            ),
            (
                Group("4  One", (sampler("one", motion, "Prompt one"),), BROWN, 360),
                Group("5  Result", tiny_video("one"), GREY),
            ),
            (
                Group("4  Two", (sampler("two", motion, "Prompt two", seed=1),), BROWN, 360),
                Group("5  Result", tiny_video("two"), GREY),
            ),
            (
                Group(
                    "Save, once",
                    (
                        *reference(),
                        frames(),
                        invert(From("Shift", "MODEL"), demo_widgets("Invert motion")),
                        Node("FastVMTSaveMotion", "Save motion", kept, extra=DESCRIBED),
                    ),
                    BLUE,
                ),
            ),
        ),
    )


def text_node(name: str, text: From) -> Node:
    """A text on the canvas."""
    return Node("PreviewAny", name, {"source": text}, extra=TEXT_SHOWN)


def tiny_fidelity_report() -> Workflow:
    note = Note(
        "## How well does it follow?\n"
        "The same prompt and seed twice, **guided** and **unguided**, each compared with the reference: points that "
        "move are followed through both clips, and their paths compared. 1 is alike, 0 has nothing in common. *Video "
        "tracks* shows the paths: the reference to the left, the new video to the right.\n\n"
        "**This one needs OpenCV**, which ComfyUI does not bring: `pip install opencv-python-headless` in ComfyUI's "
        "Python environment, then restart.\n\n"
        "**Try**\n"
        "- another `seed` in both samplers: a single run proves little\n"
        "- fewer `inner_steps` in *Sample guided*, and watch the figure",
        height=430,
    )
    return Workflow(
        "04_tiny_fidelity_report",
        "Runs anywhere: judge a guided and an unguided video against the reference. Needs OpenCV.",
        (
            (
                Group("Start here", (note,), GREY, 340),
                *start(),
                Group("Reference, to compare with", (frames(),), BLUE),
            ),
            prompts_and_motion(),
            (
                Group(
                    "4  Guided",
                    (empty_latent(), sampler("guided", From("Invert motion", "motion"))),
                    BROWN,
                    360,
                ),
                Group("5  Not guided", (ksampler("unguided", From("Shift", "MODEL")),), BROWN, 360),
            ),
            (
                Group("6  Guided video", tiny_video("guided"), GREY),
                Group(
                    "6  Unguided video",
                    video("unguided", From("Sample unguided", "LATENT"), From("Tiny Wan", "VAE")),
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
        text_node(f"Report {name}", From(f"Fidelity {name}", "report")),
        *shown(f"tracks {name}", From(f"Fidelity {name}", "tracks")),
    )
