"""The matrix's rows that need a card: flags of the server that it takes on no other machine.

Run by scripts/bench_gpu.sh --matrix; pytest does not find this file by itself.
"""

import importlib.util

import pytest

from tests.matrix.conftest import flags_of_the_host, matrix_server
from tests.matrix.matrix import tried
from tests.matrix.record import ABSENT, NOT_RUN
from tests.matrix.rows import FLAGGED
from tools.host.client import Client


@pytest.mark.gpu
@pytest.mark.parametrize("flagged", FLAGGED, ids=lambda flagged: flagged.row.key)
def test_row(record, models, flagged):
    key = flagged.row.key
    record.leave_out_late(key)
    if flagged.package and importlib.util.find_spec(flagged.package) is None:
        record.leave_out(key, NOT_RUN, f"{flagged.package} is not installed")
    unknown = [flag for flag in (*flagged.flags, *flagged.knows) if flag not in flags_of_the_host()]
    if unknown:
        record.leave_out(key, ABSENT, f"this host has no {' '.join(unknown)}")
    with record.trying(key):
        with matrix_server(models, *flagged.flags) as server, Client(server.url) as client:
            tried(client, record, flagged.row)
