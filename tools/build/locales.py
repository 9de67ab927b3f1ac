"""``python -m tools.build locales``: write locales/en/nodeDefs.json and the help pages' tables from a live server.

English comes from the nodes' schemas, Chinese from locales/zh/nodeDefs.json; the help pages' text above the tables is
written by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.build.signature import ObjectInfo
from tools.host.layout import REPO

LOCALES = REPO / "locales"
DOCS = REPO / "web" / "docs"
PREFIXES = ("FastVMT", "TinyWan")
Words = dict[str, dict[str, Any]]
"""A nodeDefs.json: node -> display_name, description, inputs, outputs."""

ON_NEWER_HOSTS = {"FastVMTLossWeights": {"host_curve"}}
"""Inputs that only hosts with a type of their own for them have: their words are written by hand in both languages."""

HEADINGS = {
    "en": ("## Inputs", "| input | what it does |", "## Outputs", "| output | what it is |"),
    "zh": ("## 输入", "| 输入 | 作用 |", "## 输出", "| 输出 | 内容 |"),
}


def make(info: ObjectInfo) -> None:
    """Write the files."""
    english = with_newer_inputs(node_words(info), read_words("en"))
    _write(LOCALES / "en" / "nodeDefs.json", json.dumps(english, indent=2, ensure_ascii=False) + "\n")
    chinese = read_words("zh")
    for name in english:
        for language, words, path in (
            ("en", english, DOCS / f"{name}.md"),
            ("zh", {**english, **chinese}, DOCS / name / "zh.md"),
        ):
            text = path.read_text(encoding="utf-8") if path.exists() else f"# {words[name]['display_name']}\n\n"
            _write(path, with_tables(text, words[name], language))
    print(f"fastvmt: words of {len(english)} nodes")


def node_words(info: ObjectInfo) -> Words:
    """The English words of our nodes, as the page reads translations."""
    return {name: _words_of(entry) for name, entry in sorted(info.items()) if name.startswith(PREFIXES)}


def read_words(language: str) -> Words:
    """The words of a language as they are kept."""
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def with_newer_inputs(words: Words, kept: Words) -> Words:
    """The words of a server, and those kept of inputs that only newer servers have."""
    for node, names in ON_NEWER_HOSTS.items():
        inputs = words[node]["inputs"]
        inputs.update({name: kept[node]["inputs"][name] for name in sorted(names - inputs.keys())})
    return words


def with_tables(text: str, words: dict[str, Any], language: str) -> str:
    """A help page with its tables made anew; the text above them stays."""
    inputs, inputs_head, outputs, outputs_head = HEADINGS[language]
    above = min((at for heading in (inputs, outputs) if (at := text.find(heading)) >= 0), default=len(text))
    parts = [text[:above].rstrip()]
    for heading, head, of in (
        (inputs, inputs_head, words.get("inputs")),
        (outputs, outputs_head, words.get("outputs")),
    ):
        if of:
            rows = [f"| {_cell(key, entry)} | {_bars(entry.get('tooltip', ''))} |" for key, entry in of.items()]
            parts.append("\n".join((heading, "", head, "| --- | --- |", *rows)))
    return "\n\n".join(parts) + "\n"


def _words_of(entry: dict[str, Any]) -> dict[str, Any]:
    words: dict[str, Any] = {"display_name": entry["display_name"], "description": entry["description"]}
    given = {**entry["input"].get("required", {}), **entry["input"].get("optional", {})}
    if given:
        words["inputs"] = {
            name: {"name": spec[1].get("display_name", name), "tooltip": spec[1]["tooltip"]}
            for name, spec in given.items()
        }
    tips = entry.get("output_tooltips") or [None] * len(entry["output_name"])
    outputs = {}
    for number, (name, tip) in enumerate(zip(entry["output_name"], tips, strict=True)):
        outputs[str(number)] = {"name": name, **({"tooltip": tip} if tip else {})}
    if outputs:
        words["outputs"] = outputs
    return words


def _cell(key: str, entry: dict[str, str]) -> str:
    """A widget's name as the page shows it, and its own where that is another."""
    name = entry.get("name", key)
    return f"`{name}`" if name == key or key.isdecimal() else f"{name} `{key}`"


def _bars(text: str) -> str:
    return text.replace("|", "\\|")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
