"""Templates of Wan 2.1 and 2.2."""

from __future__ import annotations

from tools.build.graphs.parts import (
    BLUE,
    BROWN,
    CLIP_VISION,
    GREY,
    I2V,
    PANEL,
    PLAYER,
    SMALL_CARD,
    T2V,
    VIOLET,
    empty_latent,
    invert,
)
from tools.build.graphs.wan_parts import (
    ksampler_inputs,
    loader,
    motion,
    notes,
    prompts,
    reference,
    result,
    shifted,
    text_and_vae,
)
from tools.build.spec import From, Group, Node, Note, Workflow


def text_to_video() -> Workflow:
    note = notes(
        "**Weaker or stronger**: `strength`. For more, set `preset` to `custom` and change `inner_steps`, `lr_start` "
        "and `end_percent`. **Faster**: `custom` with a higher `gradient_interval`. **Out of memory** (12 GB): "
        "`memory` on `smallest`; fewer frames or a smaller size in *Encode reference*, and everything follows."
    )
    sample = ksampler_inputs(
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
                    (loader("Model", T2V), shifted("Shift", From("Model", "MODEL"), 8.0), *text_and_vae()),
                ),
            ),
            (reference(),),
            (prompts(), motion(From("Shift", "MODEL"))),
            (
                Group(
                    "5  Sample along the motion",
                    (empty_latent(), Node("FastVMTSampler", "Sample guided", sample, extra=PANEL)),
                    BROWN,
                    360,
                ),
            ),
            (result(From("Sample guided", "latent")),),
        ),
    )


def from_reference() -> Workflow:
    note = notes(
        "This one starts from the **reference itself**, noised (`denoise` 0.75), instead of from noise alone: "
        "layout and "
        "colours of the clip shine through. `preset` is `custom` with the paper's numbers, but `end_percent` "
        "0.45: it counts from pure noise, and such a start begins later in the schedule. For another appearance "
        "altogether take *Text to video* instead."
    )
    sample = ksampler_inputs(
        model=From("Shift", "MODEL"),
        motion=From("Invert motion", "motion"),
        latent_image=From("Encode reference", "reference"),
        denoise=0.75,
        preset="custom",
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
                    (loader("Model", T2V), shifted("Shift", From("Model", "MODEL"), 8.0), *text_and_vae()),
                ),
            ),
            (reference(),),
            (prompts(), motion(From("Shift", "MODEL"))),
            (
                Group(
                    "5  Sample along the motion",
                    (Node("FastVMTSampler", "Sample guided", sample, extra=PANEL),),
                    BROWN,
                    360,
                ),
            ),
            (result(From("Sample guided", "latent")),),
        ),
    )


def image_to_video() -> Workflow:
    note = notes(
        "**The first frame is yours**: *First frame* gives the appearance, the clip gives the motion. Choose an image "
        "whose subject stands where the clip's does, or the two will pull in different directions.\n\n"
        "The motion is read with the same image model, under the image's own conditions.\n\n" + SMALL_CARD
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
    sample = ksampler_inputs(
        model=From("Shift", "MODEL"),
        motion=From("Invert motion", "motion"),
        positive=From("Image to video", "positive"),
        negative=From("Image to video", "negative"),
        latent_image=From("Image to video", "latent"),
    )
    see = {"clip_vision": From("CLIP vision", "CLIP_VISION"), "image": From("First frame", "IMAGE"), "crop": "none"}
    return Workflow(
        "12_image_to_video",
        "Wan 2.1 I2V 14B: your image as first frame, moving like your clip.",
        (
            (
                Group("Read me", (Note(note, 480),), GREY),
                Group(
                    "1  Models",
                    (
                        loader("Model", I2V),
                        shifted("Shift", From("Model", "MODEL"), 8.0),
                        *text_and_vae(),
                        Node("CLIPVisionLoader", "CLIP vision", {"clip_name": CLIP_VISION.name}, (CLIP_VISION,)),
                    ),
                ),
            ),
            (reference(),),
            (
                prompts(),
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
                        invert(From("Shift", "MODEL"), conditions=From("Image to video (empty prompt)", "positive")),
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
            (result(From("Sample guided", "latent")),),
        ),
    )
