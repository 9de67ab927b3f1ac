"""Each row of the matrix on a real server: it runs, the first guided step's loss falls, and nothing is left behind.

Run by scripts/test_matrix.sh; pytest does not find this file by itself.
"""

import hashlib
import math
import shutil

import pytest
import torch
from safetensors.torch import load

from tests.matrix.page import NOT_RUN
from tests.matrix.rows import ROWS, SAVED, graph_of
from tools.demo.transfer import Recorder
from tools.host.client import JobError


def saved(client, history, run):
    """The latent that a run saved, and its hash."""
    data = client.view(history.files(run)[0])
    latent = load(data)["latent_tensor"]
    return latent, hashlib.sha256(latent.numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_row(client, record, row):
    record[row.key] = NOT_RUN
    if row.needs and shutil.which(row.needs) is None:
        pytest.skip(f"there is no {row.needs} on this machine")
    record[row.key] = "failed"
    record[row.key] = refused(client, row) if row.refused else supported(client, row)


def supported(client, row):
    graph = graph_of(row)
    run = Recorder(graph)
    history = client.run(graph, run.on_event)
    (_, before), (guided, moved), (_, after) = (saved(client, history, name) for name in SAVED)
    assert before == after, "an ordinary sampler noticed the guided run between"
    assert moved != before
    assert torch.isfinite(guided).all()
    plan = run.guidance["memory"]
    recomputed = {"fastest": 0, "smallest": plan["blocks"]}.get(row.guidance.get("memory"), plan["recomputed_blocks"])
    assert plan["recomputed_blocks"] == recomputed and plan["needed_gb"] < plan["free_gb"]
    first = run.steps[0]
    assert first["stopped"] is None
    assert first["gradient_evaluations"] == 3
    assert all(math.isfinite(norm) and norm > 0 for norm in first["gradient_norms"])
    assert first["losses"][-1] < first["losses"][0]
    return "works"


def refused(client, row):
    """The reason is given, and an ordinary sampler is the same before and after."""
    hashes = []
    for run in SAVED:
        graph = graph_of(row, only=run)
        if run == "guided":
            with pytest.raises(JobError, match=row.refused):
                client.run(graph)
        else:
            hashes.append(saved(client, client.run(graph), run)[1])
    assert hashes[0] == hashes[1]
    return "refused with a reason"
