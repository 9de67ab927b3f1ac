"""Putting something of the host's in another's place for a while. Trap: other packs swap the same names, so only
what is still ours is put back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

ABSENT: Any = object()
"""As a value: nothing, the entry is taken away."""

Swap = tuple[object, str, object]
"""(holder, name, value): an object with attributes of its own, or a dict; the attribute, or the entry's key; what
stands there meanwhile, ABSENT for nothing."""


@contextmanager
def swapped_all(swaps: Iterable[Swap]) -> Iterator[None]:
    """Give holders other values for a while: attributes of objects and modules, and entries of dicts.

    An attribute that came from the object's class counts again afterwards. Whoever replaced a value in the meantime
    (the host's offloading, another pack's hook) keeps what it put there.

    Args:
        swaps: made one by one, each as the former ones have left the holders.
    """
    done = []
    try:
        for holder, name, value in swaps:
            entries = holder if isinstance(holder, dict) else vars(holder)
            done.append((entries, name, value, entries.get(name, ABSENT)))
            _put(entries, name, value)
        yield
    finally:
        for entries, name, value, before in reversed(done):
            if entries.get(name, ABSENT) is value:
                _put(entries, name, before)


def swapped(holder: object, name: str, value: object) -> AbstractContextManager[None]:
    """Give one holder another value for a while; see `Swap`."""
    return swapped_all([(holder, name, value)])


def _put(entries: dict[str, Any], name: str, value: object) -> None:
    if value is ABSENT:
        entries.pop(name, None)
    else:
        entries[name] = value
