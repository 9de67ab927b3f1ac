"""Data in a page of HTML: one file, with nothing to fetch."""

from __future__ import annotations

import json
from pathlib import Path


def page_with(template: Path, place: str, data: object) -> str:
    """The template's HTML with ``data`` as JSON where it names ``place``, inside a script element.

    Raises:
        ValueError: a number of the data is not finite.
    """
    # A text that holds a tag must not end the script element that it is in.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return template.read_text(encoding="utf-8").replace(place, text)
