"""ComfyUI and our pack in a process of a test's own, as the host's loader makes them."""

import importlib.util
import sys

from tools.host.layout import REPO, Layout

PACK = "fastvmt_pack"


def load_comfyui():
    """Import ComfyUI with --cpu, before anything asks it for a device; returns the layout."""
    layout = Layout.of()
    # First, or our own nodes/ would shadow the host's module of that name.
    sys.path.insert(0, str(layout.comfyui))
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    # Early, as main.py does: a module of the host puts comfy/ on the path, whose utils.py would be found instead.
    importlib.import_module("utils.install_util")
    return layout


def load_pack():
    """Our pack as a package; returns what gives its modules, which are imported from `fastvmt_pack`."""
    spec = importlib.util.spec_from_file_location(PACK, REPO / "__init__.py", submodule_search_locations=[str(REPO)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = module
    spec.loader.exec_module(module)
    return lambda name: importlib.import_module(f"{PACK}.{name}")
