"""Nodes that the matrix needs beside the host's: made-up inputs, and states that a graph cannot ask for."""

from __future__ import annotations

import json
from unittest import mock

import comfy.model_detection
import comfy.sd
import folder_paths
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.patcher_extension import CallbacksMP

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CLIP_TOKENS, CLIP_WIDTH = 257, 1280
PROMPTS = {
    "ltxv": (4, 64, 0, True),
    "ltx2": (4, 128, 0, False),
    "ltx23": (4, 192, 0, False),
    "hunyuan": (5, 64, 768, False),
    "hunyuan15": (5, 64, 768, False),
    "predict2": (5, 64, 0, False),
    "mochi": (5, 64, 0, True),
    "cosmos": (5, 64, 0, False),
    "kandinsky5": (5, 3584, 768, False),
}
"""Tokens, channels, channels of the pooled output (0: none) and whether there is a mask, as in made_families."""


def noise(seed: int, *shape: int) -> torch.Tensor:
    """Seeded noise."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class MatrixLoad:
    """Load Diffusion Model with any dtype for the weights, which the host would choose by the device."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "load", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"name": ("STRING", {}), "dtype": (list(DTYPES),)}}

    def load(self, name: str, dtype: str) -> tuple:
        path = folder_paths.get_full_path_or_raise("diffusion_models", name)
        return (comfy.sd.load_diffusion_model(path, model_options={"dtype": DTYPES[dtype]}),)


class MatrixLoadSmall:
    """Load Diffusion Model for a network some of whose sizes the host knows of the released models alone."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "load", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        dtypes = ["default", "fp8_e4m3fn"]
        return {"required": {"name": ("STRING", {}), "weight_dtype": (dtypes,), "sizes": ("STRING", {})}}

    def load(self, name: str, weight_dtype: str, sizes: str) -> tuple:
        path = folder_paths.get_full_path_or_raise("diffusion_models", name)
        options = {} if weight_dtype == "default" else {"dtype": torch.float8_e4m3fn}
        detect, small = comfy.model_detection.detect_unet_config, json.loads(sizes)

        def detect_small(*args: object, **kwargs: object) -> dict:
            return {**detect(*args, **kwargs), **small}

        with mock.patch.object(comfy.model_detection, "detect_unet_config", detect_small):
            return (comfy.sd.load_diffusion_model(path, model_options=options),)


class MatrixPartialLoad:
    """A model of which only so many bytes are loaded, as on a card that is too small: the others are cast at use."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "limit", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"model": ("MODEL",), "bytes": ("INT", {"min": 1, "max": 2**62})}}

    def limit(self, model: object, bytes: int) -> tuple:  # noqa: A002
        limited = model.clone()

        def load_less(patcher: object, device_to: object, lowvram: int, force: bool, full: bool) -> None:
            if lowvram != bytes:
                patcher.unpatch_model(patcher.offload_device)
                patcher.patch_model(device_to, lowvram_model_memory=bytes)
                if not 0 < patcher.loaded_size() < patcher.model_size():
                    raise RuntimeError(f"expected part of the model to be loaded, got {patcher.loaded_size()} bytes")

        limited.add_callback(CallbacksMP.ON_LOAD, load_less)
        return (limited,)


class MatrixLatent:
    """A smooth random clip's latent that moves to the right."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("LATENT",), "make", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        sides = {name: ("INT", {"default": 8}) for name in ("channels", "frames", "height", "width", "seed")}
        return {"required": sides}

    def make(self, channels: int, frames: int, height: int, width: int, seed: int) -> tuple:
        still = torch.nn.functional.avg_pool2d(noise(seed, 1, channels, height, width), 3, 1, 1) * 2
        return ({"samples": torch.stack([still.roll(2 * frame, -1) for frame in range(frames)], dim=2)},)


class MatrixSoundLatent:
    """The latent of a random sound, as LTX-2 has it."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("LATENT",), "make", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {name: ("INT", {"default": 8}) for name in ("channels", "length", "bands", "seed")}}

    def make(self, channels: int, length: int, bands: int, seed: int) -> tuple:
        return ({"samples": noise(seed, 1, channels, length, bands)},)


class MatrixFirstFrameKept:
    """A latent whose first frame is kept, as the 5B model's start image is."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("LATENT",), "keep", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"latent": ("LATENT",)}}

    def keep(self, latent: dict) -> tuple:
        mask = torch.ones_like(latent["samples"][:, :1])
        mask[:, :, 0] = 0
        return ({**latent, "noise_mask": mask},)


class MatrixFrames:
    """A random clip."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "make", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {name: ("INT", {"default": 8}) for name in ("frames", "height", "width", "seed")}}

    def make(self, frames: int, height: int, width: int, seed: int) -> tuple:
        return (noise(seed, frames, height, width, 3).sigmoid(),)


class MatrixTwoShots(MatrixFrames):
    """A clip of two smooth images that drift to the right, the second from its second half on."""

    def make(self, frames: int, height: int, width: int, seed: int) -> tuple:
        coarse = noise(seed, 2, 3, 4, 4).mul(2).sigmoid()
        images = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
        shown = [images[int(time > frames // 2)].roll(time, -1) for time in range(frames)]
        return (torch.stack(shown).permute(0, 2, 3, 1),)


class MatrixWithCut:
    """The motion as it came, which must have a cut."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("FASTVMT_MOTION",), "require", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"motion": ("FASTVMT_MOTION",)}}

    def require(self, motion: object) -> tuple:
        if not motion.cuts:
            raise RuntimeError("expected a motion with a cut, got one without")
        return (motion,)


class MatrixMask:
    """A mask whose right half is 1."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MASK",), "make", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {name: ("INT", {"default": 8}) for name in ("height", "width")}}

    def make(self, height: int, width: int) -> tuple:
        mask = torch.zeros(1, height, width)
        mask[..., width // 2 :] = 1
        return (mask,)


class MatrixClipVision:
    """What CLIP vision makes of an image, made up: the smallest encoder that loaders know has 600 MB."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP_VISION_OUTPUT",), "make", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"seed": ("INT", {"default": 0})}}

    def make(self, seed: int) -> tuple:
        import comfy.clip_vision

        output = comfy.clip_vision.Output()
        output["penultimate_hidden_states"] = noise(seed, 1, CLIP_TOKENS, CLIP_WIDTH)
        return (output,)


class MatrixSound:
    """What an audio encoder makes of a second of sound, made up: layers of (1, 50, channels)."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("AUDIO_ENCODER_OUTPUT",), "make", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {name: ("INT", {"max": 4096}) for name in ("layers", "channels", "seed")}}

    def make(self, layers: int, channels: int, seed: int) -> tuple:
        encoded = list(noise(seed, layers, 1, 50, channels))
        return ({"encoded_audio_all_layers": encoded, "encoded_audio": encoded[-1], "audio_samples": 16000},)


class MatrixTalkPatch:
    """InfiniteTalk's patch with random weights and as few blocks as the made models have."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL_PATCH",), "make", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"dim": ("INT", {"max": 8192}), "blocks": ("INT", {})}}

    def make(self, dim: int, blocks: int) -> tuple:
        import comfy.model_management
        import comfy.model_patcher
        import comfy.ops
        from comfy_extras.nodes_model_patch import MultiTalkModelPatch

        cpu, sizes = torch.device("cpu"), {"in_dim": dim, "intermediate_dim": 32, "out_dim": 80, "num_layers": blocks}
        patch = MultiTalkModelPatch(**sizes, device=cpu, dtype=torch.float32, operations=comfy.ops.manual_cast)
        state = {
            name: noise(7, *each.shape) / max(1, each[0].numel()) ** 0.5 for name, each in patch.state_dict().items()
        }
        patch.load_state_dict(state)
        load = comfy.model_management.get_torch_device()
        return (comfy.model_patcher.ModelPatcher(patch, load_device=load, offload_device=cpu),)


class MatrixAudio:
    """A second of noise, as a loader of sound gives it."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("AUDIO",), "make", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"seed": ("INT", {})}}

    def make(self, seed: int) -> tuple:
        return ({"waveform": noise(seed, 1, 1, 16000) / 4, "sample_rate": 16000},)


class MatrixPyTorchAttention:
    """A model with the attention that a machine with a card has.

    A CPU's own asks how much memory is free. Compiled for one shape after the other (dynamic: off), it is compiled anew
    for each answer, until torch's limit is reached and the model goes on uncompiled, rounded otherwise, guided or not.
    """

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "patch", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"model": ("MODEL",)}}

    def patch(self, model: object) -> tuple:
        patched = model.clone()
        patched.model_options["transformer_options"]["optimized_attention_override"] = _by_pytorch
        return (patched,)


def _by_pytorch(_: object, *args: object, **kwargs: object) -> torch.Tensor:
    return attention_pytorch(*args, **{**kwargs, "_inside_attn_wrapper": True})


class MatrixPrompt:
    """A made-up prompt of another family than Wan."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("CONDITIONING",), "make", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"kind": (list(PROMPTS),), "seed": ("INT", {"default": 0})}}

    def make(self, kind: str, seed: int) -> tuple:
        tokens, channels, pooled, masked = PROMPTS[kind]
        extra = {"pooled_output": noise(seed, 1, pooled)} if pooled else {}
        if masked:
            extra["attention_mask"] = torch.ones(1, tokens, dtype=torch.int64)
        return ([[noise(seed, 1, tokens, channels), extra]],)


class MatrixAfter:
    """The model as it came, once the latent is there: puts one sampler after another."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "wait", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"model": ("MODEL",), "latent": ("LATENT",)}}

    def wait(self, model: object, latent: dict) -> tuple:
        return (model,)


_NODES = (
    MatrixLoad,
    MatrixLoadSmall,
    MatrixPartialLoad,
    MatrixLatent,
    MatrixSoundLatent,
    MatrixFirstFrameKept,
    MatrixFrames,
    MatrixTwoShots,
    MatrixWithCut,
    MatrixMask,
    MatrixPyTorchAttention,
    MatrixClipVision,
    MatrixSound,
    MatrixAudio,
    MatrixTalkPatch,
    MatrixPrompt,
    MatrixAfter,
)
NODE_CLASS_MAPPINGS = {node.__name__: node for node in _NODES}


def _replace_an_old_node() -> None:
    """Register a node id of old graphs that Apply Motion stands for, where the host has NodeReplace."""
    try:
        from comfy_api.latest import io
        from server import PromptServer

        inputs = ("model", "motion", "weights", "preset", "strength", "inner_steps", "lr_start", "lr_end",
                  "gradient_interval", "end_percent")  # fmt: skip
        mapping = [{"new_id": name, "old_id": name} for name in inputs]
        old = io.NodeReplace("FastVMTApplyMotion", "MatrixOldApplyMotion", input_mapping=mapping)
        PromptServer.instance.node_replace_manager.register(old)
    except (ImportError, AttributeError):
        pass


_replace_an_old_node()
