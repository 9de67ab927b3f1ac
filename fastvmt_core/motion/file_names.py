"""File names, typed by a user or found in a shared workflow: which are valid, and that none leaves its folder."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

LONGEST, _ENDING = 180, 75
"""Bytes, as file systems count; with an ending and a counter, for which the second leaves room, all accept them."""
COUNTED = len("._00001_.webp.part")
"""Bytes that a counter, an ending, and those of the file beside it that is being written add to a prefix."""
LONGEST_PATH = 1023
"""Bytes of a path from the root on: macOS takes no more."""

_DEVICES = frozenset(
    (
        "con",
        "prn",
        "aux",
        "nul",
        "conin$",
        "conout$",
        *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"),
    )
)
"""Names that Windows reserves for devices, with any ending."""
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


def require_file_name(widget: str, name: str, longest: int = LONGEST) -> str:
    """`name` without spaces around it, if it can name a file in a folder on every system.

    Args:
        widget: the widget that it was typed into, for the error.
        name: without a folder.
        longest: bytes in UTF-8.

    Raises:
        ValueError: it is empty or too long, leaves its folder, names a device, or has a forbidden character.
    """
    stripped = name.strip() if isinstance(name, str) else ""
    reason = None
    if not stripped or len(stripped.encode("utf-8", "surrogatepass")) > longest:
        reason = f"a name of 1 to {longest} bytes (as many plain letters, a third as many Chinese ones)"
    elif _FORBIDDEN.search(stripped):
        reason = 'a name without a folder and without any of < > : " / \\ | ? * and control characters'
    elif stripped.startswith(".") or stripped.endswith("."):
        reason = "a name that neither begins nor ends with a dot"
    elif stripped.split(".")[0].strip().lower() in _DEVICES:
        reason = "a name that is no device of Windows (CON, NUL, COM1, ...)"
    elif not stripped.isprintable():
        reason = "a name of printable characters"
    if reason is not None:
        raise ValueError(f"{widget}: expected {reason}, got {name!r:.200}; choose another.")
    return stripped


def inside(widget: str, folder: Path, name: str, added: int = 0) -> Path:
    """The path of `name` in `folder` or in a folder below it, links followed; the file need not exist.

    Args:
        widget: the widget that it was chosen in, for the error.
        folder: the folder that must not be left.
        name: with / or \\ between folders.
        added: bytes that the file's name grows by, a counter and an ending.

    Raises:
        ValueError: a part of the name is no valid name, the path is too long, or a link leads out of the folder.
    """
    parts, most = name.replace("\\", "/").split("/") if isinstance(name, str) else [""], LONGEST + _ENDING
    if len(parts) > 1 and "" in parts:
        raise ValueError(f"{widget}: expected a name without / at its ends or doubled, got {name!r:.200}; write a/b.")
    path = folder.resolve().joinpath(*(require_file_name(widget, part, most) for part in parts))
    # What is read is there already, whatever its length.
    if added and (len(os.fsencode(path.name)) > most - added or len(os.fsencode(path)) > LONGEST_PATH - added):
        expected = f"a name of at most {most - added} bytes, {LONGEST_PATH - added} with all folders"
        raise ValueError(f"{widget}: expected {expected}, got {name!r:.200}; shorten it.")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"{widget}: expected a file inside {folder.name}, got a link that leads out of it: {name!r:.200}."
        )
    return path


def free_name(folder: Path, name: str, ending: str, others: Sequence[Path] = ()) -> Path:
    """`name` in `folder` with that ending, or the first of name_2, name_3, ... that neither it nor `others` has.

    Names that differ in capitals alone, or in how an accent is stored, count as the same: Windows or macOS may put both
    into one file. A folder that cannot be read has none.
    """
    taken = {
        _compared(name)
        for each in (folder, *others)
        if each.is_dir() and os.access(each, os.R_OK)
        for name in os.listdir(each)
    }
    file, number = f"{name}{ending}", 1
    while _compared(file) in taken:
        number += 1
        file = f"{name}_{number}{ending}"
    return folder / file


def _compared(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
