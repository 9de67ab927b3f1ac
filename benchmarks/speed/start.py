"""What the pack adds to ComfyUI's start: python -m benchmarks.speed.start

Imports the host's modules and its own nodes in this process, then the pack as the host loads it. Prints JSON: CPU
seconds of both and the pack's share, the packages that it alone imports, and the warnings that it gives.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path

from tools.host.layout import REPO, Layout


def main() -> int:
    """0; 1 if the host could not load the pack."""
    sys.path.insert(0, str(Layout.of().comfyui))
    began = time.process_time()
    _host()
    host = time.process_time() - began
    before, records = set(sys.modules), _records()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        began = time.process_time()
        loaded = asyncio.run(import_module("nodes").load_custom_node(str(REPO), module_parent="custom_nodes"))
        pack = time.process_time() - began
    report = {
        "host_cpu_seconds": round(host, 3),
        "pack_cpu_seconds": round(pack, 3),
        "share": round(pack / (host + pack), 4),
        "files": sum(_is_ours(name) for name in set(sys.modules) - before),
        "packages": sorted({name.partition(".")[0] for name in set(sys.modules) - before if not _is_ours(name)}),
        "warnings": [str(each.message) for each in warned] + [record.getMessage() for record in records],
    }
    print(json.dumps(report))
    return 0 if loaded else 1


def _host() -> None:
    """What ComfyUI has imported before it looks for packs."""
    import comfy.cli_args
    import torch

    comfy.cli_args.args.cpu = not torch.cuda.is_available()
    # Early, as main.py does: a module of the host puts comfy/ on the path, whose utils.py would be found instead.
    for name in ("utils.install_util", "comfy.utils", "folder_paths", "server", "execution", "nodes"):
        import_module(name)
    asyncio.run(import_module("nodes").init_builtin_extra_nodes())


def _records() -> list[logging.LogRecord]:
    """What is logged from now on as a warning or worse."""
    records: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logging.getLogger().addHandler(Keeper(logging.WARNING))
    return records


def _is_ours(name: str) -> bool:
    file = getattr(sys.modules[name], "__file__", None)
    return bool(file) and REPO in Path(file).parents and ".host" not in Path(file).parts and ".venv" not in file


if __name__ == "__main__":
    sys.exit(main())
