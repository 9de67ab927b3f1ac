"""The pack in the host in this process, for the research rows that patch it."""

import pytest

from tests.host.conftest import comfyui, pack  # noqa: F401


@pytest.fixture
def host_pack(pack):  # noqa: F811
    """Modules of the pack, its nodes loaded."""
    return pack
