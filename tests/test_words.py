"""One vocabulary: words that stood where the field has terms are in no text of the project."""

from __future__ import annotations

import re
import subprocess

from tools.host.layout import REPO

RETIRED = {
    "nudge": "optimizer iteration, inner step",
    "nudged": "moved",
    "way": "trajectory, path, method",
    "thing": "object, subject, or the noun that is meant",
    "said": "message, text",
    "told": "is given, is sent",
    "bears": "supports",
    "rest": "static bias; remainder, the others",
}
"""What is not written (in any case, alone or with an s), and what is."""
WORD = re.compile(rf"\b({'|'.join(RETIRED)})s?\b", re.IGNORECASE)
TEXT = {".py", ".js", ".css", ".md", ".json", ".sh", ".toml", ".yml", ".txt", ""}
DATA = ("benchmarks/results/", "tests/test_words.py", "LICENSE")
"""Measurements keep the words that they were recorded with."""


def test_no_retired_word_is_written():
    listed = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True).stdout
    written = []
    for name in listed.splitlines():
        path = REPO / name
        if path.suffix not in TEXT or name.startswith(DATA) or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            written += [f"{name}:{number}: {found.group()}" for found in WORD.finditer(line)]
    assert written == []
