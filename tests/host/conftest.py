"""The real host in this process: ComfyUI's modules on the CPU, our pack loaded as it loads one, the demo's model."""

import pytest
import torch

from tests.host.loading import load_comfyui, load_pack


@pytest.fixture(scope="session", autouse=True)
def comfyui():
    """ComfyUI, on the CPU."""
    return load_comfyui()


@pytest.fixture(scope="session")
def pack(comfyui):
    """Our pack as a package; its modules are imported from `fastvmt_pack`."""
    return load_pack()


@pytest.fixture(scope="session")
def tiny_model(pack):
    """The demo's DiT as its loader node makes it: fp32 on a CPU, inference tensors throughout."""
    with torch.inference_mode():
        return pack("nodes.host.files.tiny_model").load_model()


@pytest.fixture(scope="session")
def vae(pack):
    """The demo's VAE as its loader node makes it."""
    with torch.inference_mode():
        return pack("nodes.host.files.tiny_model").load_vae()


@pytest.fixture(scope="session")
def empty_prompt(pack):
    """The CONDITIONING of the demo's empty prompt."""
    with torch.inference_mode():
        return pack("nodes.demo").TinyWanPrompt.execute("").args[0]


@pytest.fixture
def prompt():
    """A CONDITIONING as nodes hand it over: four tokens, an inference tensor."""
    with torch.inference_mode():
        return [[torch.randn(1, 4, 4096, generator=torch.Generator().manual_seed(7)), {}]]
