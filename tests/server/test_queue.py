"""Two jobs at once, one model in two guided branches, and a server that is killed with jobs in its queue."""

import os
import signal

import pytest
import torch

from tests.server.jobs import latent_of, run_for_latent
from tools.demo.transfer import node
from tools.host.client import Client
from tools.host.layout import REPO
from tools.host.server import Server


def other_seed(graph):
    """The same job with another seed."""
    other = {identity: {**each, "inputs": dict(each["inputs"])} for identity, each in graph.items()}
    node(other, "Sample guided")["inputs"]["seed"] = 1
    return other


def test_two_jobs_queued_at_once_give_what_each_gives_alone(server, client, quick_graph):
    alone = [run_for_latent(client, graph)[0] for graph in (quick_graph, other_seed(quick_graph))]
    with Client(server.url) as second:
        first, queued = client.queue(quick_graph), second.queue(other_seed(quick_graph))
        client.follow(first)
        second.follow(queued)
        together = [latent_of(client, client.history(first)), latent_of(second, second.history(queued))]
    assert all(torch.equal(*each) for each in zip(alone, together, strict=True))
    assert not torch.equal(*alone)


def test_one_model_feeds_two_guided_branches(client, quick_graph):
    """Each branch is as if the other were not there, and the model itself stays as it is."""
    alone, _ = run_for_latent(client, quick_graph)
    both = {**quick_graph}
    both["apply 2"] = {**both["11"], "inputs": {**both["11"]["inputs"], "strength": 2.0}}
    both["sample 2"] = {**both["18"], "inputs": {**both["18"]["inputs"], "model": ["apply 2", 0]}}
    both["sample plain"] = {**both["18"], "inputs": {**both["18"]["inputs"], "model": both["11"]["inputs"]["model"]}}
    for name in ("sample 2", "sample plain"):
        both[f"save {name}"] = {**both["save"], "inputs": {"samples": [name, 0], "filename_prefix": name}}
    history = client.run(both)
    names = ("save", "save sample 2", "save sample plain")
    first, second, plain = (latent_of(client, history, name) for name in names)
    assert torch.equal(first, alone)
    assert not torch.equal(second, first) and not torch.equal(plain, first)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_server_killed_with_a_queue_starts_again_and_gives_the_same(client, quick_graph, tmp_path):
    """The host forgets its queue with its process; what was saved is whole, and the next start runs as before."""
    alone, _ = run_for_latent(client, quick_graph)
    base = tmp_path / "base"
    with Server(extra=["--cache-none"], base=base) as doomed, Client(doomed.url) as connected:
        connected.upload_input(REPO / "assets" / "reference.mp4")
        connected.queue(quick_graph)
        connected.queue(other_seed(quick_graph))
        os.kill(doomed.pid, signal.SIGKILL)
    with Server(extra=["--cache-none"], base=base) as again, Client(again.url) as connected:
        queue = connected._get("/queue").json()
        assert queue == {"queue_running": [], "queue_pending": []}
        found, _ = run_for_latent(connected, quick_graph)
    assert torch.equal(found, alone)
