"""The matrix's rows that need a card: flags of the server that it takes on no other machine.

Run by scripts/test_gpu.sh; pytest does not find this file by itself.
"""

import importlib.util

import pytest

from tests.matrix.conftest import knows, matrix_server
from tests.matrix.matrix import refused, supported
from tests.matrix.page import NOT_RUN
from tests.matrix.rows import FLAGGED
from tools.host.client import Client


@pytest.mark.gpu
@pytest.mark.parametrize("flagged", FLAGGED, ids=lambda flagged: flagged.row.key)
def test_row(record, flagged):
    record[flagged.row.key] = NOT_RUN
    if flagged.package and importlib.util.find_spec(flagged.package) is None:
        pytest.skip(f"{flagged.package} is not installed")
    if flagged.needs_flag and not knows(flagged.needs_flag):
        pytest.skip(f"this host has no {flagged.needs_flag}")
    record[flagged.row.key] = "failed"
    with matrix_server(*flagged.flags, streamed=bool(flagged.needs_flag)) as server, Client(server.url) as client:
        result = refused(client, flagged.row) if flagged.row.refused else supported(client, flagged.row)
    record[flagged.row.key] = result
