"""An ordinary sampler gives the same bits before a guided run, after it, and after cancelled and failed ones."""

import pytest
import torch

from tests.server.jobs import run_for_latent, unguided
from tools.demo.transfer import node
from tools.host.client import JobError, JobInterrupted


def cancel_in_an_inner_step(client, graph):
    """Run `graph` and cancel it while the bar stands between two steps; returns where the bar stood."""
    node(graph, "Apply motion")["inputs"]["inner_steps"] = 100
    stood = []

    def on_event(kind, data):
        if kind == "progress" and data["node"] == "18" and data["value"] % 1 and not stood:
            stood.append(data["value"])
            client.interrupt()

    with pytest.raises(JobInterrupted):
        client.run(graph, on_event)
    return stood[0]


def test_an_ordinary_sampler_does_not_notice_us(client, quick_graph):
    ordinary = unguided(quick_graph)
    before, _ = run_for_latent(client, ordinary)
    guided, record = run_for_latent(client, quick_graph)
    after_guided, _ = run_for_latent(client, ordinary)
    stood = cancel_in_an_inner_step(client, quick_graph)
    after_cancelled, _ = run_for_latent(client, ordinary)
    assert torch.equal(before, after_guided)
    assert torch.equal(before, after_cancelled)
    assert not torch.equal(before, guided)
    # Between the first inner step and the denoising step that follows the last: in the middle of an inner loop.
    assert 0 < stood < 1
    assert [step["gradient_evaluations"] for step in record.steps] == [2, 2]


def test_strength_0_is_the_model_itself(client, quick_graph):
    node(quick_graph, "Apply motion")["inputs"]["strength"] = 0.0
    untouched, record = run_for_latent(client, quick_graph)
    ordinary, _ = run_for_latent(client, unguided(quick_graph))
    assert torch.equal(untouched, ordinary)
    assert record.steps == []


def test_the_same_seed_gives_the_same_latent(client, quick_graph):
    first, _ = run_for_latent(client, quick_graph)
    second, _ = run_for_latent(client, quick_graph)
    assert torch.equal(first, second)


def test_a_failed_guided_run_leaves_nothing(client, quick_graph):
    ordinary = unguided(quick_graph)
    before, _ = run_for_latent(client, ordinary)
    # A prompt that ends before the second guided step, so that the first one is over when the run fails.
    prompt = node(quick_graph, "Sample guided")["inputs"]
    quick_graph["ending"] = {
        "class_type": "ConditioningSetTimestepRange",
        "_meta": {"title": "Ending prompt"},
        "inputs": {"conditioning": prompt["positive"], "start": 0.0, "end": 0.02},
    }
    prompt["positive"] = ["ending", 0]
    steps = []
    with pytest.raises(JobError, match="positive: expected a condition that is active at sigma"):
        client.run(quick_graph, lambda kind, data: steps.append(data) if kind == "fastvmt.guided_step" else None)
    assert len(steps) == 1
    after, _ = run_for_latent(client, ordinary)
    assert torch.equal(before, after)
