"""Templates of Wan 2.2 14B, whose high-noise and low-noise models share the work."""

from __future__ import annotations

from tools.build.graphs.parts import (
    BLUE,
    BROWN,
    GREY,
    HIGH,
    HIGH_LORA,
    LOW,
    LOW_LORA,
    PANEL,
    SMALL_CARD,
    empty_latent,
)
from tools.build.graphs.wan_parts import (
    loader,
    motion,
    notes,
    prompts,
    reference,
    result,
    shifted,
    text_and_vae,
)
from tools.build.spec import From, Group, Model, Node, Note, Workflow


def _pair(
    name: str,
    purpose: str,
    note: str,
    steps: int,
    split: int,
    cfg: float,
    shift: float,
    loras: bool,
    **guidance: str | float,
) -> Workflow:
    """High- and low-noise expert: the motion is read with the low one and guides the high one."""

    def expert(kind: str, model: Model, lora: Model) -> tuple[Node, ...]:
        source = From(f"{kind} noise", "MODEL")
        added: tuple[Node, ...] = ()
        if loras:
            widgets = {"lora_name": lora.name, "strength_model": 1.0}
            added = (Node("LoraLoaderModelOnly", f"{kind} LoRA", {"model": source, **widgets}, (lora,)),)
            source = From(f"{kind} LoRA", "MODEL")
        return loader(f"{kind} noise", model), *added, shifted(f"{kind} shift", source, shift)

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
    guidance = (empty_latent(), Node("FastVMTApplyMotion", "Apply motion", applied, extra=PANEL))
    samplers = (
        sampler("high", From("Apply motion", "MODEL"), From("Empty latent", "LATENT"), 0, split, True),
        sampler("low", From("Low shift", "MODEL"), From("Sample high", "LATENT"), split, 10000, False),
    )
    models = (*expert("High", HIGH, HIGH_LORA), *expert("Low", LOW, LOW_LORA), *text_and_vae())
    return Workflow(
        name,
        purpose,
        (
            (Group("Read me", (Note(notes(note), 480),), GREY), Group("1  Models", models, BLUE)),
            (reference(),),
            (prompts(), motion(From("Low shift", "MODEL"))),
            (Group("5  Guide the high-noise model", guidance, BROWN, 360),),
            (Group("6  Sample: high, then low noise", samplers, BROWN),),
            (result(From("Sample low", "LATENT"), 7),),
        ),
    )


def high_low() -> Workflow:
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


def four_steps() -> Workflow:
    return _pair(
        "21_wan22_four_steps",
        "Wan 2.2 14B with 4-step LoRAs: the quickest guided video at full size.",
        "**Four steps**: two with each model, `cfg` 1. Only the first steps decide the motion, so each is guided "
        "longer: `preset` `custom` with `inner_steps` 20, `end_percent` 0.5 (the first two). Too stiff? Lower "
        "`inner_steps`. Not enough? "
        "Raise `lr_start` and `lr_end` together. A run takes 4 to 6 times as long as without guidance.\n\n"
        + SMALL_CARD,
        steps=4,
        split=2,
        cfg=1.0,
        shift=5.0,
        loras=True,
        preset="custom",
        inner_steps=20,
        end_percent=0.5,
    )
