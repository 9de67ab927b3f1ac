"""Writes a small model file of one of the host's own classes, with random weights; runs with ComfyUI on its path."""

from __future__ import annotations

import sys

import torch
from safetensors.torch import save_file


def image_model() -> torch.nn.Module:
    """The smallest Stable Diffusion 3 that the host's loader knows: an image model with blocks unlike Wan's."""
    from comfy.ldm.modules.diffusionmodules.mmdit import OpenAISignatureMMDITWrapper

    return OpenAISignatureMMDITWrapper(
        input_size=None,
        in_channels=16,
        depth=1,
        patch_size=2,
        adm_in_channels=2048,
        pos_embed_max_size=8,
        context_embedder_config={"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 64}},
        qkv_bias=True,
        dtype=torch.float32,
        operations=torch.nn,
        device="cpu",
    )


def wider_model() -> torch.nn.Module:
    """A Wan 2.1 DiT of 6 blocks like the demo's, but with 3 heads instead of 2."""
    from comfy.ldm.wan.model import WanModel

    return WanModel(dim=384, ffn_dim=512, num_heads=3, num_layers=6, dtype=torch.float32, operations=torch.nn)


def main() -> None:
    """Usage: other_models.py COMFYUI CLASS FILE."""
    comfyui, kind, path = sys.argv[1:]
    sys.path.insert(0, comfyui)
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    torch.manual_seed(0)
    model = {"image_model": image_model, "wider_model": wider_model}[kind]()
    weights = {name: torch.randn(tensor.shape).mul(0.02).half() for name, tensor in model.state_dict().items()}
    save_file(weights, path)


if __name__ == "__main__":
    main()
