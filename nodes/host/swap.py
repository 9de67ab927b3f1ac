"""Putting something of the host's in another's place for a while. Trap: other packs swap the same names, so only
what is still ours is put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ABSENT: Any = object()
"""As a value: nothing, the entry is taken away."""


@contextmanager
def swapped(holder: object, name: str, value: object) -> Iterator[None]:
    """Give `holder` another `name` for a while: an attribute of an object or a module, or an entry of a dict.

    An attribute that came from the object's class counts again afterwards. Whoever replaced the value in the meantime
    (the host's offloading, another pack's hook) keeps what it put there.

    Args:
        holder: an object with attributes of its own, or a dict.
        name: of the attribute, or the entry's key.
        value: what stands there meanwhile; ABSENT for nothing.
    """
    entries = holder if isinstance(holder, dict) else vars(holder)
    before = entries.get(name, ABSENT)
    _put(entries, name, value)
    try:
        yield
    finally:
        if entries.get(name, ABSENT) is value:
            _put(entries, name, before)


def _put(entries: dict[str, Any], name: str, value: object) -> None:
    if value is ABSENT:
        entries.pop(name, None)
    else:
        entries[name] = value
