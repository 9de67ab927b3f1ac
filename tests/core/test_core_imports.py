"""The core stands without the host: torch only, relative imports, no module of ComfyUI's."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "fastvmt_core"
ALLOWED = {"__future__", "torch", "einops", "safetensors", "kornia", "cv2", *sys.stdlib_module_names}


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=lambda path: path.name)
def test_imports_nothing_of_the_host(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        assert {name.split(".")[0] for name in names} <= ALLOWED


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=lambda path: path.name)
def test_optional_packages_are_imported_only_where_they_are_used(path):
    top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import)]
    assert "cv2" not in {alias.name for node in top for alias in node.names}
