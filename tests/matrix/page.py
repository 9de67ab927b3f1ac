"""Write docs/compatibility.md from what came of the matrix on each host: python -m tests.matrix.page"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.matrix.packs import PACKS
from tests.matrix.record import NOT_RUN, RESULTS
from tests.matrix.rows import FLAGGED, ROWS
from tools.host.layout import REPO

PAGE = REPO / "docs" / "compatibility.md"
NEEDS_A_CARD = "needs a card"

INTRODUCTION = """# What works with what

Made by `bash scripts/test_matrix.sh`; don't edit. One column for each ComfyUI that was tested (`COMFYUI_DIR=/path bash
scripts/test_matrix.sh` adds or renews one). Each row is a small model of ComfyUI's own class with random weights, in a
real server (`--cache-none`), and says *works* when

* it runs, and the first guided step's gradients are finite and its loss falls;
* an ordinary sampler on the same model gives the same latent, bit for bit, before the guided one and after it.

| a cell | what it reports |
| --- | --- |
| refused with a reason | an error names what to change, and the ordinary sampler is the same before and after |
| not in this ComfyUI | this version has no such node or format, or the other pack does not load in it |
| works (stand-in) | tried with nodes of ours that take hold of a model where those of the other pack do |
| needs a card | `bash scripts/bench_gpu.sh --matrix` tries it on a machine with an NVIDIA card |
| not run | that machine lacks the other pack or program. What an earlier run came to stays |
"""


def columns(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The records of all hosts, oldest host first."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sorted(records, key=lambda record: ([int(part) for part in record["host"].split(".")], record["device"]))


def page(records: list[dict[str, Any]]) -> str:
    """The page's Markdown."""
    heads = [f"{record['host']} ({record['device']})" for record in records]
    on_a_card = {flagged.row.key for flagged in FLAGGED}
    keys = [*(row.key for row in ROWS), *(flagged.row.key for flagged in FLAGGED)]
    lines = [INTRODUCTION]
    for group in dict.fromkeys(key.partition(": ")[0] for key in keys):
        lines += [f"## {group.capitalize()}", "", _line([group, *heads]), _line(["---"] * (1 + len(heads)))]
        for key in keys:
            if key.startswith(f"{group}: "):
                cells = [_cell(record, key, on_a_card) for record in records]
                lines.append(_line([key.partition(": ")[2], *cells]))
        lines.append("")
    versions = ", ".join(f"{head}: torch {record['torch']}" for head, record in zip(heads, records, strict=True))
    lines += [f"{versions}.", "", _OTHER_PACKS, "```bash", *(pack.get(Path(".host/packs")) for pack in PACKS)]
    packages = " ".join(dict.fromkeys(word for pack in PACKS for word in pack.packages.split()))
    lines += [f".venv/bin/python -m pip install {packages}", "```"]
    return "\n".join(lines) + "\n"


_OTHER_PACKS = """## Other people's packs

Rows that name a pack in brackets were tried with these commits. `scripts/test_matrix.sh` looks for them in
`.host/packs`, or where `FASTVMT_PACKS` points:
"""


def _cell(record: dict[str, Any], key: str, on_a_card: set[str]) -> str:
    outcome = record["rows"].get(key, NOT_RUN)
    return NEEDS_A_CARD if outcome == NOT_RUN and key in on_a_card and record["device"] == "CPU" else outcome


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(columns()), encoding="utf-8")
    print(f"fastvmt: wrote {PAGE.relative_to(REPO)}")


if __name__ == "__main__":
    main()
