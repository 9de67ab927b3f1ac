"""The real host in this process: ComfyUI's modules on the CPU, our pack loaded as it loads one, the demo's model."""

import importlib.util
import sys

import pytest
import torch

from tools.host.layout import REPO, Layout

PACK = "fastvmt_pack"


@pytest.fixture(scope="session", autouse=True)
def comfyui():
    """Import ComfyUI with --cpu, before anything asks it for a device."""
    layout = Layout.of()
    # First, or our own nodes/ would shadow the host's module of that name.
    sys.path.insert(0, str(layout.comfyui))
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    # Early, as main.py does: a module of the host puts comfy/ on the path, whose utils.py would be found instead.
    importlib.import_module("utils.install_util")
    return layout


@pytest.fixture(scope="session")
def pack(comfyui):
    """Our pack as a package; its modules are imported from `fastvmt_pack`."""
    spec = importlib.util.spec_from_file_location(PACK, REPO / "__init__.py", submodule_search_locations=[str(REPO)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = module
    spec.loader.exec_module(module)
    return lambda name: importlib.import_module(f"{PACK}.{name}")


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
