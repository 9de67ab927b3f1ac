"""`swapped`: attributes, class attributes and dict entries come back, and what others put there stays."""

from types import ModuleType

import pytest


class Layer:
    cast = False


@pytest.fixture
def swap(pack):
    return pack("nodes.host.swap")


def test_an_attribute_comes_back_whatever_happens(swap):
    module = ModuleType("host")
    module.training = False
    with pytest.raises(KeyError), swap.swapped(module, "training", True):
        assert module.training
        raise KeyError
    assert module.training is False


def test_the_class_s_value_counts_again(swap):
    layer = Layer()
    with swap.swapped(layer, "cast", True):
        assert layer.cast
    assert layer.cast is False and "cast" not in vars(layer)


def test_an_entry_can_be_absent_before_or_meanwhile(swap):
    entries = {"a": 1}
    with swap.swapped(entries, "a", swap.ABSENT), swap.swapped(entries, "b", 2):
        assert entries == {"b": 2}
    assert entries == {"a": 1}


def test_what_somebody_else_put_there_meanwhile_stays(swap):
    entries, theirs = {"weight": object()}, object()
    with swap.swapped(entries, "weight", object()):
        entries["weight"] = theirs
    assert entries["weight"] is theirs
