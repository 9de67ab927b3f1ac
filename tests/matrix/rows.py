"""The rows of the compatibility matrix: what people combine with us."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastvmt_core.motion.header import FASTVMT
from fastvmt_core.objectives.registry import METHODS
from tests.matrix import packs, parts, windows
from tests.matrix.family_rows import FAMILIES
from tests.matrix.parts import chain, file, in_dtype, lora, node, text_to_video
from tests.matrix.row import Row
from tests.matrix.wan_rows import RELATIVES

SAMPLERS = ("euler", "euler_ancestral", "heun", "dpmpp_2m", "dpmpp_sde", "uni_pc", "res_multistep", "lcm")
SCHEDULERS = ("simple", "beta", "sgm_uniform")

_WEIGHTS = (
    Row("weights", "float32", file("made_t2v")),
    Row("weights", "bfloat16", in_dtype("made_t2v_bf16", "bf16")),
    Row("weights", "float16", in_dtype("made_t2v_fp16", "fp16")),
    Row("weights", "bfloat16, computed in bfloat16 (ModelComputeDtype)", file("made_t2v_bf16"),
        before=node("ModelComputeDtype", dtype="bf16")),
    Row("weights", "fp8_e4m3fn by the loader's weight_dtype", file("made_t2v_fp16", "fp8_e4m3fn")),
    Row("weights", "fp8 scaled (scale_weight)", file("made_t2v_fp8_scaled")),
    Row("weights", "fp8 scaled (quantised tensors)", file("made_t2v_fp8_quantised")),
    Row("weights", "LoRA before Apply Motion", before=lora),
    Row("weights", "LoRA after Apply Motion", after=lora),
    Row("weights", "LoRA on fp8 scaled (quantised tensors)", file("made_t2v_fp8_quantised"), before=lora),
    *(
        Row("weights", name, file(f"made_t2v_{weights}"))
        for name, weights in (
            ("nvfp4", "nvfp4"),
            ("nvfp4 with AWQ smoothing", "nvfp4_awq"),
            ("mxfp8", "mxfp8"),
            ("int8", "int8"),
            ("int8, ConvRot", "int8_convrot"),
            ("ConvRot W4A4", "convrot_w4a4"),
            ("W4A8", "w4a8"),
        )
    ),
    Row("weights", "LoRA on nvfp4", file("made_t2v_nvfp4"), before=lora),
    Row("weights", "LoRA on int8", file("made_t2v_int8"), before=lora),
    Row("weights", "GGUF Q8_0 (ComfyUI-GGUF)", parts.gguf("made_t2v_Q8_0"), pack=packs.GGUF),
    Row("weights", "GGUF Q4_0 (ComfyUI-GGUF)", parts.gguf("made_t2v_Q4_0"), pack=packs.GGUF),
    Row("weights", "LoRA on GGUF Q4_0 (ComfyUI-GGUF)", parts.gguf("made_t2v_Q4_0"), before=lora, pack=packs.GGUF),
    Row("weights", "half of the model loaded (lowvram_model_memory)", file("made_t2v_fp16"),
        before=node("MatrixPartialLoad", bytes=8_000_000)),
    Row("weights", "half of the model loaded, LoRA", file("made_t2v_fp16"),
        before=chain(lora, node("MatrixPartialLoad", bytes=8_000_000))),
)  # fmt: skip
_MODELS = (
    Row("models", "Wan 2.1 text to video"),
    Row("models", "Wan 2.1 image to video (CLIP vision)", file("made_i2v"), parts.image_to_video),
    Row("models", "Wan 2.1 first and last frame", file("made_flf2v"), parts.first_and_last_frame),
    Row("models", "Wan 2.1 VACE, control video", file("made_vace"), parts.vace),
    Row("models", "Wan 2.1 VACE, reference image", file("made_vace"), parts.vace_with_reference),
    Row("models", "Wan Fun-Control, reference image", file("made_fun_control"), parts.fun_control),
    Row("models", "Wan Phantom, subject images", scene=parts.phantom),
    Row("models", "Wan 2.2 14B image to video", file("made_wan22_i2v"), parts.image_to_video_without_vision),
    Row("models", "Wan 2.2 14B pair: motion from the low-noise model", motion_from=file("made_t2v_low")),
    Row("models", "Wan 2.2 5B", file("made_wan22_5b"), parts.five_billion, channels=48),
    Row("models", "Wan 2.2 5B, start image", file("made_wan22_5b"), parts.five_billion_with_start, channels=48),
)  # fmt: skip
_PATCHES = (
    Row("patches", "EasyCache",
        before=node("EasyCache", reuse_threshold=0.3, start_percent=0.0, end_percent=1.0, verbose=False)),
    Row("patches", "EasyCache after Apply Motion",
        after=node("EasyCache", reuse_threshold=0.3, start_percent=0.0, end_percent=1.0, verbose=False)),
    Row("patches", "LazyCache",
        before=node("LazyCache", reuse_threshold=0.3, start_percent=0.0, end_percent=1.0, verbose=False)),
    Row("patches", "ModelSamplingSD3", before=node("ModelSamplingSD3", shift=5.0)),
    Row("patches", "ModelSamplingSD3 after Apply Motion", after=node("ModelSamplingSD3", shift=5.0)),
    Row("patches", "SkipLayerGuidanceDiT",
        before=node("SkipLayerGuidanceDiT", double_layers="1", single_layers="", scale=3.0, start_percent=0.0,
                    end_percent=1.0, rescaling_scale=0.0)),
    Row("patches", "TorchCompileModel", before=node("TorchCompileModel", backend="inductor"), needs="g++"),
    Row("patches", "RescaleCFG", before=node("RescaleCFG", multiplier=0.7)),
    Row("patches", "CFGZeroStar", before=node("CFGZeroStar")),
    *windows.ROWS,
    Row("patches", "Place Subject", before=parts.placed),
    Row("patches", "Place Subject after Apply Motion, NAGuidance",
        after=chain(parts.placed, node("NAGuidance", nag_scale=5.0, nag_alpha=0.5, nag_tau=1.5))),
    Row("patches", "Place Subject, image to video", file("made_i2v"), parts.image_to_video, before=parts.placed),
    Row("patches", "Place Subject, TorchCompileModel",
        before=chain(parts.placed, node("TorchCompileModel", backend="inductor")), needs="g++"),
    Row("patches", "Place Subject, two videos in a batch", scene=lambda b: text_to_video(b, 2), before=parts.placed),
    Row("patches", "NAGuidance", before=node("NAGuidance", nag_scale=5.0, nag_alpha=0.5, nag_tau=1.5)),
    Row("patches", "WanVideoNAG (KJNodes)", before=parts.negative_attention, pack=packs.KJ_NODES),
    Row("patches", "WanVideoEnhanceAVideoKJ (KJNodes)", before=parts.enhanced, pack=packs.KJ_NODES),
    Row("patches", "TorchCompileModelWanVideoV2 (KJNodes)",
        before=chain(node("MatrixPyTorchAttention"),
                     node("TorchCompileModelWanVideoV2", backend="inductor", fullgraph=False, mode="default",
                          dynamic=False, compile_transformer_blocks_only=True, dynamo_cache_size_limit=64)),
        pack=packs.KJ_NODES, needs="g++"),
    Row("patches", "TeaCache (ComfyUI-TeaCache)",
        before=node("TeaCache", model_type="wan2.1_t2v_1.3B", rel_l1_thresh=0.4, start_percent=0.0, end_percent=1.0,
                    cache_device="cpu"),
        pack=packs.TEA_CACHE),
    Row("patches", "MagCache (ComfyUI-MagCache)",
        before=node("MagCache", model_type="wan2.1_t2v_1.3B", magcache_thresh=0.06, retention_ratio=0.2, magcache_K=2,
                    start_step=0, end_step=-1),
        pack=packs.MAG_CACHE),
)  # fmt: skip
_GRAPHS = (
    Row("graphs", "frames through a node with an intermediate output", clip=parts.cropped),
    Row("graphs", "a node that the host replaces (NodeReplace)",
        renamed={"FastVMTApplyMotion": "MatrixOldApplyMotion"}),
)  # fmt: skip
_SCENES = (
    Row("latents", "batch of 2", scene=parts.batch_of_two),
    Row("latents", "SetLatentNoiseMask", scene=parts.inpainted),
    Row("latents", "start from a latent, denoise 0.75", scene=parts.from_a_latent, sampling={"denoise": 0.75},
        guidance={"end_percent": 0.6}),
    Row("latents", "cfg 1, four steps, lcm, LoRA", before=lora,
        sampling={"cfg": 1.0, "sampler_name": "lcm", "steps": 4}),
)  # fmt: skip
_MEMORY = tuple(
    Row("memory", f"{level}, {name}", file(model), scene, guidance={"memory": level})
    for level in ("fastest", "auto", "smallest")
    for name, model, scene in (
        ("fp8 scaled (quantised tensors)", "made_t2v_fp8_quantised", text_to_video),
        ("VACE", "made_vace", parts.vace),
    )
)
_SAMPLERS = tuple(
    Row("samplers", f"{sampler}, {scheduler}", sampling={"sampler_name": sampler, "scheduler": scheduler})
    for sampler in SAMPLERS
    for scheduler in SCHEDULERS
)
_OBJECTIVES = tuple(Row("objectives", name, objective=name) for name in METHODS if name != FASTVMT)
CLOWN = {"eta": 0.5, "steps_to_run": -1, "sampler_mode": "standard", "bongmath": True}
_OTHER_SAMPLERS = tuple(
    Row("samplers", f"{name} (RES4LYF)", sampler=node_name, sampling=sampling, scene=scene,
        model=file(model), pack=packs.RES4LYF)
    for name, node_name, sampling, model, scene in (
        ("res_2m, bong_tangent", "KSampler", {"sampler_name": "res_2m", "scheduler": "bong_tangent"},
         "made_t2v", text_to_video),
        ("res_2s, beta57", "KSampler", {"sampler_name": "res_2s", "scheduler": "beta57"}, "made_t2v", text_to_video),
        ("ClownsharKSampler, res_2m", "ClownsharKSampler_Beta",
         {**CLOWN, "sampler_name": "res_2m", "scheduler": "beta57"}, "made_t2v", text_to_video),
        ("ClownsharKSampler, res_2s", "ClownsharKSampler_Beta",
         {**CLOWN, "sampler_name": "res_2s", "scheduler": "beta57"}, "made_t2v", text_to_video),
        ("ClownsharKSampler, res_2m, VACE", "ClownsharKSampler_Beta",
         {**CLOWN, "sampler_name": "res_2m", "scheduler": "beta57"}, "made_vace", parts.vace),
    )
)  # fmt: skip
WITH_A_CUT = (
    "models: Wan 2.1 text to video",
    "models: Wan 2.1 image to video (CLIP vision)",
    "models: Wan 2.1 VACE, reference image",
    "models: Wan Phantom, subject images",
    "patches: EasyCache",
    "patches: SkipLayerGuidanceDiT",
    "patches: TorchCompileModel",
    "latents: batch of 2",
    "samplers: heun, simple",
)
"""Rows that are tried with a reference of two shots too."""
_CUTS = tuple(
    replace(row, group="a cut in the reference", name=f"{row.name}, two shots", clip=parts.two_shots, cut=True)
    for row in (*_MODELS, *_PATCHES, *_SCENES, *_SAMPLERS)
    if row.key in WITH_A_CUT
)
ROWS: tuple[Row, ...] = (
    *_WEIGHTS,
    *_MODELS,
    *RELATIVES,
    *FAMILIES,
    *_PATCHES,
    *_SCENES,
    *_GRAPHS,
    *_CUTS,
    *_OBJECTIVES,
    *_MEMORY,
    *_SAMPLERS,
    *_OTHER_SAMPLERS,
)


@dataclass(frozen=True)
class Flagged:
    """A row that is run on a server of its own, on a machine with a card."""

    row: Row
    flags: tuple[str, ...] = ()
    knows: tuple[str, ...] = ()
    """Words of the host's help beside the flags: a host without them has nothing to try."""
    package: str = ""
    """A Python package that must be there."""


_STREAMS = ("--disable-dynamic-vram",)
"""Hosts that know it stream weights through a card (dynamic VRAM) unless it is given."""
FLAGGED = (
    Flagged(Row("weights", "dynamic VRAM"), knows=_STREAMS),
    Flagged(Row("weights", "dynamic VRAM, LoRA", file("made_t2v_fp16"), before=lora), knows=_STREAMS),
    Flagged(Row("weights", "dynamic VRAM switched off", file("made_t2v_fp16"), before=lora), _STREAMS),
    Flagged(Row("weights", "--lowvram", file("made_t2v_fp16"), before=lora), ("--lowvram",)),
    Flagged(Row("weights", "--novram", file("made_t2v_fp16"), before=lora), ("--novram",)),
    Flagged(Row("weights", "--async-offload", file("made_t2v_fp16"), before=lora), ("--async-offload", "--novram")),
    Flagged(Row("weights", "fp8 matrix multiplication", file("made_t2v_fp8_quantised")), ("--fast", "fp8_matrix_mult")),
    Flagged(Row("weights", "cuBLAS products in float16", file("made_t2v_fp16")), ("--fast", "cublas_ops")),
    Flagged(Row("patches", "SageAttention"), ("--use-sage-attention",), package="sageattention"),
    Flagged(Row("patches", "FlashAttention"), ("--use-flash-attention",), package="flash_attn"),
    Flagged(Row("patches", "SageAttention, image to video", file("made_i2v"), parts.image_to_video),
            ("--use-sage-attention",), package="sageattention"),
)  # fmt: skip
"""Rows that only a machine with a card can run."""
