"""The floor plan: imports run downward only, the core stands without the host, and files stay small."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]

FLOORS = ("fastvmt_core", "nodes", "tools", "benchmarks", "tests")
"""Folders, lowest first: a file imports from its own folder and from lower ones."""
ROOMS = {
    "fastvmt_core": (
        ("checks",),
        ("config", "grid", "typed_text", "tiny_prompt"),
        ("presets",),
        ("video",),
        ("attention",),
        ("motion",),
        ("drawing",),
        ("objectives",),
        ("guidance",),
        ("budget",),
        ("viz",),
        ("metrics",),
        ("provenance",),
        ("__init__",),
    ),
    "nodes/host": (
        ("swap",),
        ("page",),
        ("models",),
        ("files",),
        ("gradient",),
        ("attention",),
        ("reading",),
        ("sampling",),
    ),
}
"""Rooms of a folder, lowest first; those of one line do not import each other."""
CORE_PACKAGES = {
    "__future__",
    "torch",
    "einops",
    "safetensors",
    "kornia",
    "cv2",
    "PIL",
    "numpy",
    "c2pa",
    "cryptography",
    *sys.stdlib_module_names,
}
"""What the core may import; those from cv2 on are optional, and are imported only in the functions that use them."""
OPTIONAL = {"cv2", "c2pa", "cryptography"}
HOST_PACKAGES = {
    "comfyui_nodes",
    "comfy",
    "comfy_extras",
    "comfy_api_nodes",
    "folder_paths",
    "server",
    "execution",
    "latent_preview",
}
"""ComfyUI's internals, for nodes/host alone; `comfy_api` is its public face, for every node. `comfyui_nodes` stands for
its module `nodes`, which our own folder of that name is not."""
TOO_LONG = 350
"""Lines of a file of code."""
MOST_PRODUCT_LINES = 13_850
"""Lines of code of all that a user's ComfyUI loads, blank lines and documentation left out. Raised for a new capability
alone."""


def sources(folder: str) -> list[Path]:
    """Every Python file below a folder of the repository."""
    return sorted((REPO / folder).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


@cache
def imports(path: Path) -> tuple[tuple[str, int, bool], ...]:
    """(module, line, at run time) of every import of a file; relative ones from the repository's root.

    A name that is itself a module counts as that module. What stands under ``if TYPE_CHECKING`` is not at run time.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, id(node) not in typing_only) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(REPO).parts[: -node.level or None] if node.level else ()
            module = ".".join((*package, *(node.module or "").split("."))).strip(".")
            if module == "nodes" and not node.level:
                module = "comfyui_nodes"
            for alias in node.names:
                inner = f"{module}.{alias.name}".strip(".")
                name = inner if _file_of(inner) else module
                found.append((name, node.lineno, id(node) not in typing_only))
    return tuple(found)


def _file_of(module: str) -> Path | None:
    path = REPO.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def _place(name: str, order: tuple[tuple[str, ...], ...]) -> int | None:
    return next((place for place, rooms in enumerate(order) if name in rooms), None)


def arrows(folder: str) -> Iterator[tuple[Path, str, int]]:
    """(file, imported module of the repository, line) of every import below a folder."""
    for path in sources(folder):
        for module, line, _ in imports(path):
            if module.split(".")[0] in FLOORS:
                yield path, module, line


@pytest.mark.parametrize("folder", FLOORS)
def test_imports_run_downward(folder):
    allowed = FLOORS[: FLOORS.index(folder) + 1]
    upward = [
        f"{relative(path)}:{line} {name}" for path, name, line in arrows(folder) if name.split(".")[0] not in allowed
    ]
    assert upward == []


@pytest.mark.parametrize("folder", ROOMS)
def test_rooms_import_lower_rooms_alone(folder):
    order, root = ROOMS[folder], folder.replace("/", ".")
    upward = []
    for path in sources(folder):
        room = path.relative_to(REPO / folder).parts[0].removesuffix(".py")
        if room == "__init__" and folder != "fastvmt_core":
            continue
        place = _place(room, order)
        assert place is not None, f"{relative(path)}: {room} has no place in the order of rooms"
        for module, line, _ in imports(path):
            if not module.startswith(f"{root}."):
                continue
            other = module.removeprefix(f"{root}.").split(".")[0]
            other_place = _place(other, order)
            if other_place is None or other_place > place or (other_place == place and other != room):
                upward.append(f"{relative(path)}:{line} {module}")
    assert upward == []


def test_no_circle_of_files():
    graph = {
        path: {file for module, _, at_run_time in imports(path) if at_run_time and (file := _file_of(module))}
        for folder in FLOORS
        for path in sources(folder)
    }
    done: set[Path] = set()

    def visit(path: Path, path_so_far: tuple[Path, ...]) -> None:
        assert path not in path_so_far, (
            f"a circle: {' -> '.join(map(relative, (*path_so_far[path_so_far.index(path) :], path)))}"
        )
        if path in done:
            return
        for other in sorted(graph.get(path, ())):
            if other != path:
                visit(other, (*path_so_far, path))
        done.add(path)

    for path in graph:
        visit(path, ())


def test_the_core_imports_nothing_of_the_host():
    for path in sources("fastvmt_core"):
        for module, line, _ in imports(path):
            assert module.split(".")[0] in {*CORE_PACKAGES, "fastvmt_core"}, f"{relative(path)}:{line} {module}"


def test_the_hosts_internals_are_behind_one_door():
    reached = [
        f"{relative(path)}:{line} {module}"
        for path in [REPO / "__init__.py", *sources("nodes"), *sources("fastvmt_core")]
        if "nodes/host/" not in relative(path)
        for module, line, at_run_time in imports(path)
        if at_run_time and module.split(".")[0] in HOST_PACKAGES
    ]
    assert reached == []


def test_optional_packages_are_imported_only_where_they_are_used():
    for path in sources("fastvmt_core") + sources("nodes"):
        top = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.Import)]
        assert not OPTIONAL & {alias.name for node in top for alias in node.names}, relative(path)


def test_ray_is_imported_where_it_is_used_and_in_one_file():
    users = {
        relative(path)
        for folder in FLOORS[:-1]
        for path in sources(folder)
        if any(module.split(".")[0] == "ray" for module, _, _ in imports(path))
    }
    assert users == {"tools/batch/pool.py"}
    tree = ast.parse((REPO / "tools/batch/pool.py").read_text(encoding="utf-8"))
    assert not [node for node in tree.body if isinstance(node, ast.Import) and node.names[0].name == "ray"]


def test_files_are_small_and_say_what_they_own():
    for folder in FLOORS:
        for path in sources(folder):
            text = path.read_text(encoding="utf-8")
            assert len(text.splitlines()) <= TOO_LONG, f"{relative(path)}: {len(text.splitlines())} lines"
            if text.strip():
                assert ast.get_docstring(ast.parse(text)), f"{relative(path)} has no first line"


def code_lines(path: Path) -> int:
    """Lines of a file that are not blank, comment or docstring."""
    text = path.read_text(encoding="utf-8")
    left_out: set[int] = set()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                left_out |= set(range(node.lineno, node.end_lineno + 1))
    lines = (line.strip() for line in text.splitlines())
    return sum(
        bool(line) and number not in left_out and not line.startswith(("#", "//", "/*"))
        for number, line in enumerate(lines, start=1)
    )


def test_product_code_stays_small():
    kinds = {".py", ".js", ".css"}
    files = [path for folder in ("fastvmt_core", "nodes", "web") for path in (REPO / folder).rglob("*.*")]
    assert sum(code_lines(path) for path in files if path.suffix in kinds) < MOST_PRODUCT_LINES
