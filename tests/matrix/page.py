"""Write docs/compatibility.md from what came of the matrix on each host: python -m tests.matrix.page"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.matrix.rows import FLAGGED, ROWS
from tools.host.layout import REPO

RESULTS = REPO / "benchmarks" / "results" / "matrix"
PAGE = REPO / "docs" / "compatibility.md"
NOT_RUN = "not run"

INTRODUCTION = """# What works with what

Made by `bash scripts/test_matrix.sh`; don't edit. One column for each ComfyUI that was tested (`COMFYUI_DIR=/path bash
scripts/test_matrix.sh` adds or renews one). Each row is a small model of ComfyUI's own class with random weights, in a
real server (`--cache-none`), and says *works* when

* it runs, and the first guided step's gradients are finite and its loss falls;
* an ordinary sampler on the same model gives the same latent, bit for bit, before the guided one and after it.

*Refused with a reason*: an error says what to change, and the ordinary sampler is the same before and after. *Not run*:
nobody has tried it on that machine yet.
"""


def columns(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The records of all hosts, oldest host first."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sorted(records, key=lambda record: ([int(part) for part in record["host"].split(".")], record["device"]))


def page(records: list[dict[str, Any]]) -> str:
    """The page's Markdown."""
    heads = [f"{record['host']} ({record['device']})" for record in records]
    keys = [row.key for row in ROWS] + [flagged.row.key for flagged in FLAGGED]
    lines = [INTRODUCTION]
    for group in dict.fromkeys(key.partition(": ")[0] for key in keys):
        lines += [f"## {group.capitalize()}", "", _line([group, *heads]), _line(["---"] * (1 + len(heads)))]
        for key in keys:
            if key.startswith(f"{group}: "):
                cells = [record["rows"].get(key, NOT_RUN) for record in records]
                lines.append(_line([key.partition(": ")[2], *cells]))
        lines.append("")
    versions = ", ".join(f"{head}: torch {record['torch']}" for head, record in zip(heads, records, strict=True))
    lines.append(f"Rows that need a card are run by `bash scripts/test_gpu.sh` on a machine that has one. {versions}.")
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(columns()), encoding="utf-8")
    print(f"fastvmt: wrote {PAGE.relative_to(REPO)}")


if __name__ == "__main__":
    main()
