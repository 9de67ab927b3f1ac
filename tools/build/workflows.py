"""``python -m tools.build workflows``: write workflows/ and assets/api/ from the specification and a live server."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tools.build.api_form import api_form
from tools.build.page_form import page_form
from tools.build.spec import ObjectInfo
from tools.build.templates import workflows
from tools.host.client import Client
from tools.host.layout import REPO
from tools.host.server import Server

PAGE = REPO / "workflows"
API = REPO / "assets" / "api"


def main(arguments: list[str] | None = None) -> int:
    """Write every template in both forms; 0 on success."""
    parser = argparse.ArgumentParser(prog="python -m tools.build workflows", description=__doc__.replace("``", ""))
    parser.add_argument("--url", help="a server that runs already; without one, one is started")
    options = parser.parse_args(arguments)
    if options.url:
        return write(_object_info(options.url))
    with Server() as server:
        return write(_object_info(server.url))


def write(info: ObjectInfo, page: Path = PAGE, api: Path = API) -> int:
    """Write both forms; returns 0."""
    for folder in (page, api):
        folder.mkdir(parents=True, exist_ok=True)
    for workflow in workflows():
        saved = page_form(workflow, info)
        for folder, form in ((page, saved), (api, api_form(saved, info))):
            text = json.dumps(form, indent=1, ensure_ascii=False) + "\n"
            (folder / f"{workflow.name}.json").write_text(text, encoding="utf-8")
        print(f"fastvmt: {workflow.name}: {len(workflow.nodes)} nodes")
    return 0


def _object_info(url: str) -> ObjectInfo:
    with Client(url) as client:
        return client.object_info()
