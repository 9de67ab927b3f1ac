"""The tests that tests/conftest.py names exist: a mark by name must not be lost when a test moves."""

import pytest

from tests import conftest


@pytest.mark.parametrize("name", sorted(conftest.SLOW))
def test_a_test_that_is_slow_by_name_exists(name):
    file, _, test = name.partition("::")
    assert f"def {test}(" in (conftest.TESTS / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("file", sorted(conftest.OWN_SERVER))
def test_a_file_with_its_own_server_exists(file):
    assert (conftest.TESTS.parent / file).is_file()
