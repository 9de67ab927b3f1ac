"""Stands in for ComfyUI-GGUF: weights that a tensor class hides from the host, and a patcher that leaves LoRAs to it.

Traps kept: the weight's shape is not that of its bytes; clone and detach return the weight itself; it cannot be cast
before the layer's own product; LoRAs are added when a layer is used.
"""

from __future__ import annotations

import comfy.lora
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.utils
import folder_paths
import torch

FILES = ("made_t2v_Q8_0.gguf", "made_t2v_Q4_0.gguf")


class PackedWeight(torch.Tensor):
    """int8 rows, each with the four bytes of its scale behind it; ``shape`` is that of the weight."""

    @classmethod
    def of(cls, weight: torch.Tensor, levels: int) -> PackedWeight:
        """A weight of (rows, columns), rounded to so many levels on each side of zero."""
        scale = weight.abs().amax(1, keepdim=True) / levels
        rows = torch.cat(((weight / scale).round().to(torch.int8), scale.float().view(torch.int8)), dim=1)
        packed = torch.Tensor._make_subclass(cls, rows)
        packed.weight_shape, packed.patches = weight.shape, []
        return packed

    @property
    def shape(self) -> torch.Size:
        """The weight's."""
        return getattr(self, "weight_shape", self.size())

    def to(self, *args: object, **kwargs: object) -> PackedWeight:
        """The bytes elsewhere, with all that is known of them."""
        moved = super().to(*args, **kwargs)
        moved.weight_shape, moved.patches = self.shape, list(getattr(self, "patches", []))
        return moved

    def clone(self, *args: object, **kwargs: object) -> PackedWeight:
        """Itself."""
        return self

    def detach(self) -> PackedWeight:
        """Itself."""
        return self

    def unpacked(self, dtype: torch.dtype) -> torch.Tensor:
        """The weight, with LoRAs."""
        rows = self.as_subclass(torch.Tensor)
        weight = rows[:, :-4].float() * rows[:, -4:].contiguous().view(torch.float32)
        for patches, key in self.patches:
            weight = comfy.lora.calculate_weight(patches, weight, key)
        return weight.to(dtype)


class PackedOps(comfy.ops.manual_cast):
    """The host's layers, but for linear ones that have packed weights."""

    class Linear(comfy.ops.manual_cast.Linear):
        """A linear layer that unpacks its weight at each use."""

        def _load_from_state_dict(self, state: dict, prefix: str, *others: object) -> None:
            weight = state.get(f"{prefix}weight")
            if not isinstance(weight, PackedWeight):
                super()._load_from_state_dict(state, prefix, *others)
                return
            self.weight = torch.nn.Parameter(weight, requires_grad=False)
            self.bias = torch.nn.Parameter(state[f"{prefix}bias"], requires_grad=False)

        def forward_comfy_cast_weights(self, tokens: torch.Tensor) -> torch.Tensor:
            """The product."""
            if not isinstance(self.weight, PackedWeight):
                return super().forward_comfy_cast_weights(tokens)
            weight = self.weight.to(tokens.device).unpacked(tokens.dtype)
            return torch.nn.functional.linear(tokens, weight, self.bias.to(tokens))


class PackedPatcher(comfy.model_patcher.ModelPatcher):
    """A patcher that hangs a LoRA on a packed weight."""

    def patch_weight_to_device(self, key: str, device_to: object = None, *args: object, **kwargs: object) -> None:
        """Leave the LoRA of a packed weight to its layer."""
        weight = comfy.utils.get_attr(self.model, key)
        if not isinstance(weight, PackedWeight):
            super().patch_weight_to_device(key, device_to, *args, **kwargs)
        elif key in self.patches:
            weight.patches = [(self.patches[key], key)]

    def unpatch_model(self, device_to: object = None, unpatch_weights: bool = True) -> None:
        """Take the LoRAs off again."""
        for weight in self.model.parameters() if unpatch_weights else ():
            if isinstance(weight, PackedWeight):
                weight.patches = []
        super().unpatch_model(device_to, unpatch_weights)

    def clone(self, *args: object, **kwargs: object) -> PackedPatcher:
        """A clone of this class, also of a patcher of the host's."""
        own, self.__class__ = self.__class__, PackedPatcher
        copied = super().clone(*args, **kwargs)
        copied.__class__, self.__class__ = PackedPatcher, own
        return copied


class UnetLoaderGGUF:
    """The pack's loader by name; the weights are those of another made file."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "load", "FastVMT/matrix"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        """The files of the matrix."""
        return {"required": {"unet_name": (list(FILES),)}}

    def load(self, unet_name: str) -> tuple:
        """The model."""
        state = comfy.utils.load_torch_file(folder_paths.get_full_path("diffusion_models", "made_t2v.safetensors"))
        levels = 127 if "Q8" in unet_name else 7
        for key, weight in state.items():
            if "blocks." in key and key.endswith(".weight") and weight.ndim == 2:
                state[key] = PackedWeight.of(weight, levels)
        model = comfy.sd.load_diffusion_model_state_dict(state, model_options={"custom_operations": PackedOps})
        return (PackedPatcher.clone(model),)


NODE_CLASS_MAPPINGS = {"UnetLoaderGGUF": UnetLoaderGGUF}
