"""What nothing in the installed pack may do: run text as code, read pickles, start programs, use the network."""

from __future__ import annotations

import ast
import re

import pytest

from tools.host.layout import REPO

SOURCES = [
    REPO / "__init__.py",
    *sorted((REPO / "fastvmt_core").rglob("*.py")),
    *sorted((REPO / "nodes").rglob("*.py")),
]
SCRIPTS = sorted((REPO / "web").rglob("*.js"))
MODULES = frozenset(
    "aiohttp ctypes dill ftplib http huggingface_hub marshal multiprocessing pickle pty requests shelve smtplib socket "
    "subprocess urllib webbrowser xmlrpc".split()
)
CALLS = frozenset(("eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "torch.hub.load"))
IN_A_SCRIPT = re.compile(
    r"\beval\(|new Function\(|\.(inner|outer)HTML\b|insertAdjacentHTML|document\.write|\bfetch\(|XMLHttpRequest|"
    r"import\(|(src|href) = "
)


def dotted(node: ast.expr) -> str:
    """'os.system' of such an expression; '' of others."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def faults_of(text: str) -> list[str]:
    """What a Python source imports or calls of what is forbidden."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] in MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Call) and dotted(node.func) in CALLS:
            found.append(dotted(node.func))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPO).as_posix())
def test_a_source_runs_no_text_and_reaches_nothing(path):
    assert faults_of(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_of_the_page_shows_text_as_text_and_reaches_nothing(path):
    assert IN_A_SCRIPT.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from urllib.request import urlopen", "eval('1')", "import os\nos.system('x')", "torch.load(p)"],
)
def test_what_is_forbidden_is_found(text):
    assert faults_of(text)


def test_the_sources_are_there():
    assert len(SOURCES) > 60 and len(SCRIPTS) > 5
