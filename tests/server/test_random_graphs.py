"""Random graphs on a real server: each ends in a result or a named error, and an ordinary run gives the same bits."""

import os
import re

import pytest
import torch

from tests.host.draws import NAMED
from tests.server import random_graphs
from tests.server.jobs import run_for_latent, unguided
from tools.host.client import JobError

FEW, MORE = range(20), range(20, 300 if os.environ.get("HYPOTHESIS_PROFILE") == "soak" else 60)
"""scripts/soak.sh tries all 300."""
OURS = re.compile(r"custom_nodes/fastvmt/")


@pytest.fixture(scope="module")
def info(server):
    from tools.host.client import Client

    with Client(server.url) as connected:
        return connected.object_info()


def attempt(client, graph):
    """The error that a graph ended in; None where it ran."""
    try:
        client.run(graph)
    except JobError as error:
        return error
    return None


@pytest.mark.parametrize("seeds", [FEW, pytest.param(MORE, marks=pytest.mark.slow)], ids=["few", "more"])
def test_a_random_graph_ends_in_a_result_or_a_named_error(client, quick_graph, info, seeds, capsys):
    ordinary = unguided(quick_graph)
    before, _ = run_for_latent(client, ordinary)
    ended = {"ran": 0, "refused by a node of ours": 0, "refused by the host": 0}
    for seed in seeds:
        graph = random_graphs.Chance(seed, info).build()
        error = attempt(client, graph)
        assert client.system_stats()["system"]["comfyui_version"], seed
        if error is None:
            ended["ran"] += 1
        elif NAMED.match(error.message):
            ended["refused by a node of ours"] += 1
        else:
            # Then it is an error of the host's own, which it makes without us too.
            assert "FastVMT" not in error.node_type, (seed, error, error.traceback)
            if OURS.search(error.traceback):
                assert attempt(client, random_graphs.unguided(graph)), (seed, error, error.traceback)
            ended["refused by the host"] += 1
    after, _ = run_for_latent(client, ordinary)
    assert torch.equal(before, after)
    with capsys.disabled():
        print(f"\n{len(seeds)} random graphs: {ended}")  # noqa: T201  (the figures of docs/trust.md)
    # Not everything that is drawn is refused.
    assert ended["ran"] >= len(seeds) // 10
