"""The public API is the recorded one: removing or renaming a name or an argument needs an edit of the record."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path

import pytest

import fastvmt_core

RECORD = json.loads(Path(__file__).with_name("public_api.json").read_text(encoding="utf-8"))
"""Name -> arguments of a function, fields of a class, keys of a mapping. Extend only."""


def parts_of(value):
    """Arguments, fields, methods or keys, in order."""
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    if inspect.isclass(value):
        return [name for name in vars(value) if not name.startswith("_")]
    return (
        list(inspect.signature(value).parameters)
        if callable(value)
        else sorted(value if hasattr(value, "keys") else ())
    )


def test_every_recorded_name_is_public():
    assert set(RECORD) <= set(fastvmt_core.__all__)
    assert sorted(fastvmt_core.__all__) == fastvmt_core.__all__


@pytest.mark.parametrize("name", RECORD)
def test_its_parts_are_still_there_in_order(name):
    recorded = RECORD[name] or []
    assert [part for part in parts_of(getattr(fastvmt_core, name)) if part in recorded] == recorded


def test_a_new_public_name_is_recorded():
    assert set(fastvmt_core.__all__) == set(RECORD)
