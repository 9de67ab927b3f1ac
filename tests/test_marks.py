"""What tests/conftest.py sets reaches the tests: marks by name, and the profiles of hypothesis."""

import re

import pytest

from tests import conftest


@pytest.mark.parametrize("name", sorted(conftest.SLOW))
def test_a_test_that_is_slow_by_name_exists(name):
    file, _, test = name.partition("::")
    assert f"def {test}(" in (conftest.TESTS / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("file", sorted(conftest.OWN_SERVER))
def test_a_file_with_its_own_server_exists(file):
    assert (conftest.TESTS.parent / file).is_file()


def test_no_test_sets_a_number_of_examples_that_its_profile_does_not_change():
    own = re.compile(r"max_examples=\s*\d+[,)]")
    files = (path for path in conftest.TESTS.rglob("*.py") if path.name != "conftest.py")
    assert [path.name for path in files if own.search(path.read_text(encoding="utf-8"))] == []
