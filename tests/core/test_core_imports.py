"""The core stands without the host: torch only, relative imports, no module of ComfyUI's."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "fastvmt_core"
ALLOWED = {"__future__", "torch", "einops", "safetensors", "cv2", *sys.stdlib_module_names}


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=lambda path: path.name)
def test_imports_nothing_of_the_host(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        assert {name.split(".")[0] for name in names} <= ALLOWED


def test_imports_without_the_optional_tracker():
    code = "import fastvmt_core.fidelity, fastvmt_core.motion, sys; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CORE.parent, check=False).returncode == 0
