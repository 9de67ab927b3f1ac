"""The one line that the host logs where the pack cannot start."""

import asyncio
import importlib.util
import sys

import pytest

from tools.host.layout import REPO


@pytest.fixture
def entry(comfyui, monkeypatch):
    """Our entry point in a package of its own, which has not imported its nodes yet."""
    name = "fastvmt_at_start"
    spec = importlib.util.spec_from_file_location(name, REPO / "__init__.py", submodule_search_locations=[str(REPO)])
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    yield module.comfy_entrypoint
    for imported in [each for each in sys.modules if each.startswith(f"{name}.")]:
        del sys.modules[imported]


@pytest.mark.parametrize("missing", ["kornia.filters", "comfy_api.latest"])
def test_a_missing_package_is_one_plain_line(entry, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match="FastVMT is switched off") as error:
        asyncio.run(entry())
    line = str(error.value)
    assert missing in line and f'-m pip install -r "{REPO / "requirements.txt"}"' in line and "\n" not in line


def test_a_whole_host_gets_the_nodes(entry):
    nodes = asyncio.run(asyncio.run(entry()).get_node_list())
    assert "FastVMTApplyMotion" in {node.define_schema().node_id for node in nodes}
