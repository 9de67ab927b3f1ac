"""``python -m tools.build workflows``: write workflows/, assets/api/ and subgraphs/ from what a live server has."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tools.build.api_form import api_form
from tools.build.blueprint_form import blueprint_form, check_widgets
from tools.build.graphs.blueprints import blueprints
from tools.build.page_form import page_form
from tools.build.spec import ObjectInfo
from tools.build.templates import workflows
from tools.host.client import Client
from tools.host.layout import REPO
from tools.host.server import Server

PAGE = REPO / "workflows"
API = REPO / "assets" / "api"
SUBGRAPHS = REPO / "subgraphs"


def main(arguments: list[str] | None = None) -> int:
    """Write every template and blueprint; 0 on success."""
    parser = argparse.ArgumentParser(prog="python -m tools.build workflows", description=__doc__.replace("``", ""))
    parser.add_argument("--url", help="a server that runs already; without one, one is started")
    options = parser.parse_args(arguments)
    if options.url:
        return write(_object_info(options.url))
    with Server() as server:
        return write(_object_info(server.url))


def write(info: ObjectInfo, page: Path = PAGE, api: Path = API, subgraphs: Path = SUBGRAPHS) -> int:
    """0, once the templates are written in both forms, and the blueprints."""
    for folder in (page, api, subgraphs):
        folder.mkdir(parents=True, exist_ok=True)
    for workflow in workflows():
        saved = page_form(workflow, info)
        for folder, form in ((page, saved), (api, api_form(saved, info))):
            _write(folder / f"{workflow.name}.json", form)
        print(f"fastvmt: {workflow.name}: {len(workflow.nodes)} nodes")
    for blueprint in blueprints():
        check_widgets(blueprint, info)
        _write(subgraphs / f"{blueprint.workflow.name}.json", blueprint_form(blueprint, info))
        print(f"fastvmt: {blueprint.workflow.name}: {len(blueprint.workflow.nodes)} nodes")
    return 0


def _write(path: Path, form: dict[str, Any]) -> None:
    path.write_text(json.dumps(form, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _object_info(url: str) -> ObjectInfo:
    with Client(url) as client:
        return client.object_info()
