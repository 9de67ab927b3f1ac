"""``python -m tools.build workflows``: workflows/ and subgraphs/ brought up to date with a live server's nodes, and
assets/api/ made of the workflows."""

from __future__ import annotations

import json

from tools.build.saved import api_form, refreshed
from tools.build.signature import ObjectInfo
from tools.host.layout import REPO

PAGE, API, SUBGRAPHS = REPO / "workflows", REPO / "assets" / "api", REPO / "subgraphs"


def made(info: ObjectInfo) -> dict[str, str]:
    """The text of each file by its path in the repository: every template in both forms, and the blueprints."""
    files = {}
    for path in sorted([*PAGE.glob("*.json"), *SUBGRAPHS.glob("*.json")]):
        forms = {path: refreshed(json.loads(path.read_text(encoding="utf-8")), info)}
        if path.parent == PAGE:
            forms[API / path.name] = api_form(forms[path], info)
        for file, form in forms.items():
            files[str(file.relative_to(REPO))] = json.dumps(form, indent=1, ensure_ascii=False) + "\n"
    return files


def make(info: ObjectInfo) -> None:
    """Write every file."""
    for path, text in made(info).items():
        (REPO / path).write_text(text, encoding="utf-8")
        print(f"fastvmt: {path}")
