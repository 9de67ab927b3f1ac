"""Each row of the matrix on a real server: it runs, the first guided step's loss falls, and nothing is left behind.

Run by scripts/test_matrix.sh; pytest does not find this file by itself.
"""

import hashlib
import math
import shutil

import pytest
import torch
from safetensors.torch import load

from tests.matrix.record import ABSENT, NOT_RUN, STAND_IN
from tests.matrix.row import SAVED, graph_of
from tests.matrix.rows import ROWS
from tools.demo.transfer import Recorder
from tools.host.client import JobError
from tools.host.layout import Layout


def saved(client, history, run):
    """The latent that a run saved, and its hash."""
    data = client.view(history.files(run)[0])
    latent = load(data)["latent_tensor"]
    return latent, hashlib.sha256(latent.numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_row(client, offered, record, row):
    record.leave_out_late(row.key)
    if row.needs and shutil.which(row.needs) is None:
        record.leave_out(row.key, NOT_RUN, f"there is no {row.needs} on this machine")
    parts, lacking = absent(offered, graph_of(row)), row.pack and row.pack.lacks(Layout.of())
    if parts and lacking:
        record.leave_out(row.key, NOT_RUN, lacking)
    if parts:
        record.leave_out(row.key, ABSENT, f"not in this ComfyUI: {', '.join(parts)}")
    with record.trying(row.key):
        tried(client, record, row)


def tried(client, record, row):
    """Run a row and keep what came of it."""
    outcome = refused(client, row) if row.refused else supported(client, row)
    stand_in = row.pack and row.pack.lacks(Layout.of())
    record.rows[row.key] = outcome + STAND_IN if stand_in else outcome


def absent(offered, graph):
    """The nodes, and the choices of their lists, that a graph has and this host doesn't."""
    known, replaced = offered
    parts = []
    for step in graph.values():
        kind = step["class_type"]
        if kind not in known:
            parts += [] if kind in replaced else [kind]
            continue
        for name, value in step["inputs"].items():
            choices = _choices(known[kind]["input"], name)
            parts += [f"{kind} {name} {value}"] if choices is not None and value not in _named(choices) else []
    return sorted(set(parts))


def _choices(inputs, name):
    """The choices of a node's input, in either of the forms that hosts have for it; None where it has none."""
    kind, *options = {**inputs.get("required", {}), **inputs.get("optional", {})}.get(name, [None])
    if kind == "COMBO":
        return options[0].get("options") if options else None
    return kind if isinstance(kind, list) else None


def _named(choices):
    """The choices, and those that are shown in a folder (``multistep/res_2m``) by their own name too."""
    return {*choices, *(choice.rpartition("/")[2] for choice in choices if isinstance(choice, str))}


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
