"""Stands in for KJNodes: a block's attention replaced by object patches.

Traps kept: the patched functions run the attention themselves, outside the host's own; NAG and Enhance-A-Video write
into tensors that a gradient needs.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType

import torch
from comfy.ldm.flux.math import apply_rope
from comfy.ldm.modules.attention import optimized_attention

MODEL = ("MODEL",)


def number(value: float) -> tuple:
    """An input."""
    return ("FLOAT", {"default": value})


class _Patch:
    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "patch", "FastVMT/matrix"

    def replaced(self, model: object, part: str, forward: Callable) -> tuple:
        """A model in whose blocks one part has another forward."""
        patched = model.clone()
        for index, block in enumerate(patched.get_model_object("diffusion_model").blocks):
            bound = MethodType(forward, getattr(block, part))
            patched.add_object_patch(f"diffusion_model.blocks.{index}.{part}.forward", bound)
        return (patched,)


class WanVideoNAG(_Patch):
    """Cross-attention pushed away from a negative prompt."""

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        """Those of the pack."""
        numbers = {"nag_scale": number(11.0), "nag_alpha": number(0.25), "nag_tau": number(2.5)}
        optional = {"input_type": (["default", "batch"],), "inplace": ("BOOLEAN", {"default": False})}
        return {"required": {"model": MODEL, "conditioning": ("CONDITIONING",), **numbers}, "optional": optional}

    def patch(
        self, model: object, conditioning: list, nag_scale: float, nag_alpha: float, nag_tau: float, **_: object
    ) -> tuple:
        """The patched model."""
        negative = model.get_model_object("diffusion_model").text_embedding(conditioning[0][0].float())

        def attend(part: torch.nn.Module, q: torch.Tensor, text: torch.Tensor, options: dict) -> torch.Tensor:
            k, v = part.norm_k(part.k(text)), part.v(text)
            return optimized_attention(q, k, v, heads=part.num_heads, transformer_options=options)

        def forward(
            part: torch.nn.Module, x: torch.Tensor, context: torch.Tensor, *, transformer_options: dict, **_: object
        ):
            q = part.norm_q(part.q(x))
            toward = attend(part, q, context, transformer_options)
            away = attend(part, q, negative.to(q).expand(len(q), -1, -1), transformer_options)
            guided = (toward * nag_scale).sub_(away * (nag_scale - 1))
            length = guided.norm(p=1, dim=-1, keepdim=True)
            most = toward.norm(p=1, dim=-1, keepdim=True) * nag_tau
            # In place on a tensor whose norm was just taken: its backward finds another one.
            guided.mul_(torch.where(length > most, most / length, 1.0)).mul_(nag_alpha)
            return part.o(guided.add_(toward * (1 - nag_alpha)))

        return self.replaced(model, "cross_attn", forward)


class WanVideoEnhanceAVideoKJ(_Patch):
    """Self-attention made stronger by what frames have in common."""

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        """Those of the pack."""
        return {"required": {"model": MODEL, "latent": ("LATENT",), "weight": number(2.0)}}

    def patch(self, model: object, latent: dict, weight: float) -> tuple:
        """The patched model."""
        frames = latent["samples"].shape[2]

        def forward(
            part: torch.nn.Module, x: torch.Tensor, freqs: torch.Tensor, transformer_options: dict
        ) -> torch.Tensor:
            shape = (*x.shape[:2], part.num_heads, part.head_dim)
            q, k = (norm(project(x)).view(shape) for norm, project in ((part.norm_q, part.q), (part.norm_k, part.k)))
            q, k = apply_rope(q, k, freqs)
            q, k = (tokens.flatten(2) for tokens in (q, k))
            x = optimized_attention(q, k, part.v(x), heads=part.num_heads, transformer_options=transformer_options)
            q, k = (tokens.view(len(tokens), frames, -1, shape[-1]).transpose(1, 2) for tokens in (q, k))
            shared = (q @ k.transpose(-1, -2) / shape[-1] ** 0.5).softmax(-1).mean()
            x = part.o(x)
            x *= (shared * (frames + weight)).clamp(min=1)
            return x

        return self.replaced(model, "self_attn", forward)


NODE_CLASS_MAPPINGS = {node.__name__: node for node in (WanVideoNAG, WanVideoEnhanceAVideoKJ)}
